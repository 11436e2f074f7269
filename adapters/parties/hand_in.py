"""Handing in files and waiting for their receipts, over AMQP or at the gateway: what `run.py send` does."""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from lxml import etree

from adapters import soap
from adapters.broker_keeper import password_file
from adapters.errors import UsageError
from adapters.home import amqp_urls
from adapters.https import LIMITS as GATEWAY_LIMITS
from adapters.pki import read_certificate
from adapters.rabbit import Consumer, Publisher
from adapters.trust import TrustStore
from adapters.verify_policy import VerifyPolicy
from adapters.wsse import Verifier
from broker_config.settings import Settings
from routing.ports import BrokerUnavailable, Incoming, Outgoing, Published
from schemas.envelope import Envelope
from schemas.faults import Fault

FAULT: Final = f"{{{soap.SOAP}}}Fault"
CONTENT_TYPE: Final = "text/xml; charset=utf-8"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`send FILE...`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="signed messages of one system")
    parser.add_argument(
        "--to",
        metavar="URL",
        help="amqp(s)://OIN:password@host/vhost, or https://host:port/wus/DIENST/VERSIE; default: the private broker of the home",
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="certificate to connect to a gateway with")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key")
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="how long to wait for receipts (default: %(default)s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandIn:
    """One file to hand in, under the MessageID its receipt will name."""

    file: str
    message_id: str
    signed: bytes


def run(arguments: argparse.Namespace, settings: Settings, *, print_json: Callable[[Any], None], print_table: Callable[..., None]) -> int:
    """Prints the receipts; exit 1 unless every message was accepted. Raises as `send`."""
    party = (arguments.cert, arguments.key) if arguments.cert and arguments.key else None
    rows = asyncio.run(send(arguments.files, settings, to=arguments.to, wait_s=arguments.wait, party=party))
    if arguments.json:
        for row in rows:
            print_json(row)
    else:
        print_table(("file", "accepted", "reference", "code", "reason", "warnings"), rows)
    return 0 if all(row["accepted"] for row in rows) else 1


async def send(
    files: Sequence[Path], settings: Settings, *, to: str | None, wait_s: float, party: tuple[Path, Path] | None = None
) -> list[dict[str, Any]]:
    """Hands in signed messages of one system, at the private broker of the home or at the address `to`; returns a receipt for each.
    `party`: its certificate and key, with which it connects to a gateway (https).

    Raises UsageError, Refused for what is not signed as it must be, and BrokerError.
    """
    if settings.trust is None:
        raise UsageError("Set KOPPELPUNT_TRUST to the CA certificates, or name a home that `run.py up` made with --home.")
    at_a_gateway = to is not None and to.startswith("https://")
    policy = VerifyPolicy(limits=GATEWAY_LIMITS) if at_a_gateway else VerifyPolicy()
    verifier = Verifier(TrustStore.from_files([settings.trust]), policy)
    read = [(file, verifier.verify(file.read_bytes(), at=None)) for file in files]
    systems = sorted({envelope.certificate_oin for _, envelope in read})
    if len(systems) > 1:
        raise UsageError(f"These files were signed by several systems ({', '.join(systems)}); send those of one system at a time.")
    if to is not None and at_a_gateway:
        if party is None:
            raise UsageError("Name the certificate and key to connect with: --cert FILE --key FILE.")
        return await at_gateway(to, [(str(file), envelope) for file, envelope in read], verifier, settings.trust, party, wait_s=wait_s)
    url = _private_url(settings, systems[0]) if to is None else to
    out = [HandIn(file=str(file), message_id=envelope.message_id, signed=envelope.xml) for file, envelope in read]
    receipts = await hand_in(url, systems[0], out, wait_s=wait_s)
    absent = {"accepted": None, "reason": "no receipt yet; send it again"}
    return [{"file": one.file, **receipts.get(one.message_id, absent)} for one in out]


def _private_url(settings: Settings, system: str) -> str:
    """The broker of the home, as this system connects to it."""
    parts, secret = urlsplit(amqp_urls(settings)[0]), password_file(settings.home, system)
    if not secret.exists():
        raise UsageError(f"There is no password for {system} in {secret}: load a register that has this system, or use --to.")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{system}:{quote(secret.read_text().strip(), safe='')}@{host}{parts.path}"


async def hand_in(url: str, system: str, files: Sequence[HandIn], *, wait_s: float = 30.0) -> dict[str, dict[str, Any]]:
    """Publishes the files as `system`, and returns the receipts by MessageID; one that did not come in time is not there.

    Receipts and outcomes of other messages go back to the queue when the connection closes. Raises BrokerError.
    """
    wanted = {one.message_id for one in files}
    found: dict[str, dict[str, Any]] = {}
    async with Consumer(url, [f"receipt.{system}"], prefetch=1000) as consumer, Publisher(url) as publisher:
        out = [
            Outgoing(exchange="intake", routing_key=system, body=one.signed, content_type=CONTENT_TYPE, message_id=one.message_id)
            for one in files
        ]
        for one, fate in zip(files, await publisher.publish_many(out), strict=True):
            if fate is not Published.CONFIRMED:
                raise BrokerUnavailable(f"The broker did not take {one.file} ({fate}); the hand-in queue may be full, try again later.")
        until = time.monotonic() + wait_s
        while len(found) < len(wanted) and time.monotonic() < until:
            done: list[Incoming] = []
            for incoming in await consumer.next_batch(200, 0.02, idle_s=0.5):
                said = json.loads(incoming.body)
                if incoming.correlation_id in wanted and "accepted" in said:
                    found[incoming.correlation_id] = said
                    done.append(incoming)
            consumer.ack(done)
    return found


async def at_gateway(
    url: str, messages: Sequence[tuple[str, Envelope]], verifier: Verifier, trust: Path, party: tuple[Path, Path], *, wait_s: float
) -> list[dict[str, Any]]:
    """Posts each message to the dienst at `url` (https://host:port/wus/dienst/versie), and reads its answer: it must be signed, and say
    which message it answers. Raises UsageError when certificate or key cannot be used, or not today."""
    certificate, key = party
    _require_current(certificate)
    try:
        context = ssl.create_default_context(cafile=trust)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"The certificate, key or CA file cannot be used: {error.strerror or error}") from None
    found = []
    timeout = aiohttp.ClientTimeout(total=wait_s)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout) as session:
        for name, message in messages:
            headers = {"Content-Type": CONTENT_TYPE, "SOAPAction": f'"{message.action}"'}
            try:
                async with session.post(url, data=message.xml, headers=headers, allow_redirects=False) as answer:
                    body, status = await answer.read(), answer.status
            except (aiohttp.ClientError, TimeoutError) as error:
                found.append({"file": name, "accepted": None, "reason": _no_answer(error)})
                continue
            found.append({"file": name, **_read_answer(body, status, message, verifier)})
    return found


def _require_current(certificate: Path) -> None:
    """Raises UsageError for one that has expired or is not valid yet; PkiError when it cannot be read."""
    found, now = read_certificate(certificate), datetime.now(UTC)
    if found.not_valid_after_utc < now:
        raise UsageError(
            f"{certificate} expired on {found.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; connect with a certificate that is valid now."
        )
    if found.not_valid_before_utc > now:
        raise UsageError(
            f"{certificate} is not valid before {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; connect with one that is valid now."
        )


def _no_answer(error: Exception) -> str:
    said = f"no answer ({str(error) or type(error).__name__}); it may have arrived: send it again"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        said += ". If it stays so, the gateway may not trust the CA of your certificate: openssl x509 -in FILE -noout -dates -issuer"
    return said


def _read_answer(body: bytes, status: int, message: Envelope, verifier: Verifier) -> dict[str, Any]:
    try:
        answer = verifier.verify(body, at=datetime.now(UTC))
    except Fault as fault:
        return {"accepted": None, "reason": f"HTTP status {status}, and an answer that cannot be trusted: {fault}"}
    related = [message_id for kind, message_id in answer.relates_to if kind == soap.REPLY]
    if answer.certificate_oin != answer.sender or related not in ([], [message.message_id]):
        return {"accepted": None, "reason": "the answer is to another message, or somebody else's; do not use it"}
    if answer.content.tag == FAULT:  # one that comes before the message was read names none
        code = (answer.content.findtext("faultcode") or "").rpartition(":")[2]
        return {"accepted": False, "code": code, "reason": answer.content.findtext("faultstring")}
    confirmed = [one.get("Value") for one in answer.content.getroottree().iter(f"{{{soap.WSSE11}}}SignatureConfirmation")]
    if status != 200 or not related or answer.receiver != message.sender or confirmed != [message.signature_value]:
        return {"accepted": None, "reason": "the answer does not say that it is to this message; do not use it"}
    said = {etree.QName(child).localname: child.text for child in answer.content if etree.QName(child).localname != "waarschuwing"}
    warnings = [child.text for child in answer.content if etree.QName(child).localname == "waarschuwing"]
    return {"accepted": True, "reference": said.get("referentie"), "received_at": said.get("ontvangenOp"), "warnings": warnings}
