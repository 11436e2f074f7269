"""The command `sandbox`: a partner to test against. It needs no home, register, broker or store."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from adapters import soap
from adapters.errors import UsageError
from adapters.parties.behaviour import KINDS, Behaviour, Content
from adapters.parties.sandbox import Control, Received, Sandbox, signer_of
from adapters.signing import BodyPart
from schemas.envelope import Envelope
from schemas.faults import Refused
from schemas.oin import Oin, parse_oin
from schemas.privacy import plain, redact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`sandbox --oin OIN --cert C --key K --trust CA [--behave NAME[=VALUE]]`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _explained()
    add = parser.add_argument
    add("--oin", type=_oin, action="append", required=True, metavar="OIN", help="for whom it receives (wsa:To); may be repeated")
    add("--cert", type=Path, required=True, metavar="FILE", help="its certificate, for TLS and signing")
    add("--key", type=Path, required=True, metavar="FILE", help="its private key, PEM without password")
    add("--trust", type=Path, required=True, metavar="FILE", help="CA certificates of those who connect and sign")
    add(
        "--crl",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="refuse what this list revokes; read at the start; may be repeated",
    )
    add("--peer", type=_oin, action="append", default=[], metavar="OIN", help="who may connect (default: all that --trust knows)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=8444, metavar="P", help="0: any that is free (default: %(default)s)")
    add("--control-port", type=_port, metavar="P", help="plain HTTP on 127.0.0.1: GET and PUT /behaviour, GET /received (default: none)")
    add("--behave", action="append", default=[], metavar="NAME[=VALUE][*N]", help="see below; repeated: one after another (default: good)")
    add("--answer", type=Path, metavar="FILE", help="the XML element in a good answer (default: our ontvangst)")
    add("--other-cert", type=Path, metavar="FILE", help="with whose certificate the behaviour `stranger` signs (default: an unknown CA's)")
    add("--other-key", type=Path, metavar="FILE", help="its private key")
    add("--json", action="store_true", help="print a JSON object for each message, and first one with the addresses")


def _oin(text: str) -> Oin:
    try:
        return parse_oin(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a port: it must be a number from 0 to 65535")
    return int(text)


def _explained() -> str:
    names = {name: f"{name}={kind.takes}" if kind.takes else name for name, kind in KINDS.items()}
    rows = "\n".join(
        f"  {names[name]}\n      {kind.does}" + (f" (default {kind.default})" if kind.default else "") for name, kind in KINDS.items()
    )
    return (
        f"behaviours, each with *N behind it for the next N messages only:\n{rows}\n\n"
        "A message that is wrong itself is refused with a signed fault, whatever the behaviour.\n"
        'Change it while it runs: curl -X PUT localhost:CONTROL_PORT/behaviour -d \'{"behaviour": "slow=3*2"}\';\n'
        'for one message: -d \'{"by_message_id": {"urn:uuid:…": "fault=Client.DK0002"}}\'.'
    )


def run(arguments: argparse.Namespace, until_signal: Callable[[], asyncio.Event]) -> int:
    """A partner that plays a WUS endpoint, until SIGTERM or Ctrl-C. Raises as `serve`."""
    asyncio.run(serve(arguments, until_signal))
    return 0


async def serve(arguments: argparse.Namespace, until_signal: Callable[[], asyncio.Event]) -> None:
    """Runs until told to stop. Raises UsageError, PkiError, TrustError or OSError, each with a sentence."""
    if bool(arguments.other_cert) != bool(arguments.other_key):
        raise UsageError("--other-cert and --other-key go together.")
    sandbox = Sandbox(
        *dict.fromkeys(arguments.oin),
        cert=arguments.cert,
        key=arguments.key,
        trust=arguments.trust,
        crls=arguments.crl,
        peers=arguments.peer,
        content=_content(arguments.answer) if arguments.answer else None,
        other=signer_of(arguments.other_cert, arguments.other_key) if arguments.other_key else None,
        tell=_as_json if arguments.json else _as_line,
        host=arguments.host,
        port=arguments.port,
    )
    sandbox.plan = [Behaviour.of(text) for text in arguments.behave]
    control = Control(sandbox, arguments.control_port) if arguments.control_port is not None else None
    async with sandbox, control or contextlib.nullcontext():
        stopped = until_signal()
        where = {"address": sandbox.url, "control": f"http://127.0.0.1:{control.port}" if control else None}
        if arguments.json:
            _say(json.dumps(where))
        else:
            _say(f"The sandbox listens: {where['address']}" + (f", control {where['control']}" if control else ""))
        await stopped.wait()


def _content(file: Path) -> Content:
    written = file.read_bytes()
    try:
        soap.parse(written)
        BodyPart.around(written)
    except Refused as refused:
        raise UsageError(f"{file} cannot be an answer: it must hold one XML element, without XML declaration ({refused}).") from None

    def content(_message: Envelope, _now: datetime) -> bytes:
        return written

    return content


def _as_json(one: Received) -> None:
    facts = asdict(one) | {"at": one.at.isoformat(), "behaviour": str(one.behaviour)}
    foreign = {name: redact(facts[name] or "") for name in ("path", "soap_action", "content_type")}  # may hold anything
    _say(json.dumps(facts | foreign))


def _as_line(one: Received) -> None:
    """Ids only, and nothing that could move a terminal's cursor."""

    def shown(oin: Oin | None) -> str:
        return oin or "unknown"

    met = f"refused with {one.code}" if one.code else str(one.behaviour)
    people = f"from {shown(one.sender)} to {shown(one.receiver)}, signed by {shown(one.signed_by)}, over {shown(one.connected)}"
    _say(plain(f"{one.at:%H:%M:%S} {one.message_id or 'no MessageID'} {people}: {met}"))


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who no longer reads this may still be pushing
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
