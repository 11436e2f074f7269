"""A client of the register's API: certificates and API keys of some systems, and every answer held against the OpenAPI description."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests

from adapters import pki
from adapters.osr_openapi import description
from adapters.osr_shapes import BASE
from routing.api_keys import digest_of, new_api_key
from schemas.oin import Oin
from tests.support.gateways import Gateways
from tests.support.openapi import Described

DESCRIBED = Described(description(url="https://koppelpunt.example"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, JSON read."""

    status: int
    headers: Any
    said: Any


class Api:
    """For several threads; each request has a connection of its own."""

    def __init__(self, gateways: Gateways, systems: Sequence[Oin], *, strangers: Sequence[Oin] = ()) -> None:
        """`systems` have a key each."""
        self.gateways = gateways
        self.parties = {oin: pki.issue(gateways.folder, oin=oin, name=f"osr-{oin}") for oin in (*systems, *strangers)}
        self.keys = {oin: self.make_key(oin) for oin in systems}

    def make_key(self, system: Oin) -> str:
        """One more."""
        key = new_api_key()
        self.gateways.store.register.add_api_key(digest_of(key), system, "test", int(time.time() * 1e6), who="test")
        return key

    def get(self, path: str, system: Oin, *, key: bool = False, **asked: Any) -> Answer:
        """A question; `path` may have the base before it."""
        return self.ask("GET", path, system, key=key, params=asked)

    def ask(self, method: str, path: str, system: Oin | None, *, key: bool = False, **given: Any) -> Answer:
        """One request. `key`: with the system's own."""
        headers = {**given.pop("headers", {}), **({"X-Api-Key": self.keys[system]} if key and system else {})}
        party = self.parties[system] if system else None
        place = path if path.startswith(BASE) else f"{BASE}{path}"
        with requests.request(
            method,
            f"https://localhost:{self.gateways.port}{place}",
            headers=headers,
            cert=(str(party.certificate), str(party.key)) if party else None,
            verify=str(self.gateways.folder / "ca.pem"),
            timeout=30,
            **given,
        ) as answer:
            if answer.status_code != 204:
                DESCRIBED.check(method, place, answer.status_code, answer.headers, answer.content)
            return Answer(answer.status_code, answer.headers, json.loads(answer.content) if answer.content else None)
