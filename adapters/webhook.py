"""Signed webhooks to contacts (Standard Webhooks: id, timestamp, HMAC-SHA256 over both and the body).

A webhook's address is a partner's, as an endpoint's is: the same rules hold for where it may lead (adapters.endpoints). Redirects are not
followed, and what is answered is not read beyond its status.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp

from adapters.endpoints import CONNECT_S, AddressNotAllowed, Network, Resolver, causes, not_allowed, retry_after
from adapters.vault import Vault, VaultError
from routing.tellings import Due, NotSent

#: Seconds for a whole call.
WHOLE_S: Final = 20.0
#: A secret has so many bytes at least, and at most (Standard Webhooks, "Signature scheme").
LEAST, MOST = 24, 64
_PREFIX: Final = "whsec_"
#: What the vault puts before a sealed text: a nonce, a key of 32 bytes and its tag.
_KEY: Final = 12 + 32 + 16


def new_secret() -> str:
    """A secret to sign with, as receivers' libraries want it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(text: str) -> bytes:
    """The secret's bytes. Raises ValueError with a sentence."""
    try:
        raw = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raw = b""
    if not LEAST <= len(raw) <= MOST:
        raise ValueError(f"The secret is not whsec_ and {LEAST} to {MOST} bytes in base64; leave it out, and one is made.")
    return raw


def seal_secret(vault: Vault, contact: str, secret: str) -> bytes:
    """A secret as the store keeps it."""
    sealed = vault.seal(f"contact {contact}", secret.encode(), b"")
    return sealed.wrapped_key + sealed.body


def open_secret(vault: Vault, contact: str, sealed: bytes) -> str:
    """The reverse. Raises VaultError."""
    return vault.open(f"contact {contact}", sealed[:_KEY], "body", sealed[_KEY:]).decode()


def signature(secret: bytes, id: str, timestamp: int, body: bytes) -> str:
    """Of version 1: `v1,` and the base64 of an HMAC-SHA256 over `id.timestamp.body`."""
    return "v1," + base64.b64encode(hmac.new(secret, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()


def body_of(due: Due) -> bytes:
    """What is posted: the same at every attempt."""
    data = dict(due.written.data) | {"party": due.contact.party, "subject": due.written.subject}
    if due.written.attachment is not None:
        data["csv"] = due.written.attachment[1]
    value = {"type": f"koppelpunt.{due.kind}", "timestamp": datetime.fromtimestamp(due.made_us / 1e6, UTC).isoformat(), "data": data}
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


class Webhook:
    """Posts them."""

    def __init__(
        self, vault: Vault, *, allowed: Sequence[Network] = (), ca: Path | None = None, now: Callable[[], float] = time.time
    ) -> None:
        """`allowed`: networks that may be called though they are not public; `ca`: instead of the CAs of this machine."""
        self._vault, self._allowed, self._ca, self._now = vault, tuple(allowed), ca, now
        self._session: aiohttp.ClientSession | None = None

    async def send(self, due: Due) -> None:
        """Posts one. Raises NotSent."""
        if (reason := not_allowed(due.contact.address, self._allowed)) is not None:
            raise NotSent(reason)
        if due.secret is None:
            raise NotSent("the contact has no secret: end it, and add it anew", final=True)
        try:
            secret = check_secret(open_secret(self._vault, due.contact.id, due.secret))
        except VaultError as error:
            raise NotSent(f"the webhook's secret cannot be opened: {error}") from error
        body, timestamp = body_of(due), int(self._now())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": due.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, due.id, timestamp, body),
        }
        try:
            async with (
                asyncio.timeout(WHOLE_S),
                self._open().post(due.contact.address, data=body, headers=headers, allow_redirects=False) as response,
            ):
                _judge(response)
        except TimeoutError as error:
            raise NotSent(f"no answer came within {WHOLE_S:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotSent(_why(error)) from error

    async def close(self) -> None:
        """Hangs up."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context(cafile=self._ca)
            connector = aiohttp.TCPConnector(ssl=context, limit=16, resolver=Resolver(self._allowed), force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "koppelpunt"},
            )
        return self._session


def _judge(response: aiohttp.ClientResponse) -> None:
    if 200 <= response.status < 300:
        return
    if response.status == 410:
        raise NotSent("the receiver wants no more of these (410): end the contact", final=True)
    said = "it redirects, which is not followed" if 300 <= response.status < 400 else "it was not taken"
    raise NotSent(f"{said} ({response.status})", after_s=retry_after(response.headers.get("Retry-After"), datetime.now(UTC)))


def _why(error: Exception) -> str:
    for one in causes(error):
        if isinstance(one, AddressNotAllowed):
            return str(one)
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"the receiver's certificate is not trusted: {one.verify_message}"
    return f"the receiver cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
