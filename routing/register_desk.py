"""What a system asks of the register through its API, as plain values; `ports.RegisterDesk` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from routing.register_case import Sentence
from routing.register_model import Endpoint
from schemas.oin import Oin


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The system that asks: by its certificate, and an API key of its own."""

    system: Oin
    key: str  #: what people call the key by (`api_keys.short`)

    def __str__(self) -> str:
        return f"system {self.system}, API key {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """An endpoint to be made."""

    namespace: str  #: of the dienst version
    mandate_token: str | None = None  #: None: an organisation that connects itself
    routing_id: Oin | None = None
    url: str | None = None  #: None: the system's mailbox
    attributes: tuple[str, ...] = ()
    start: date | None = None  #: None: today, or the mandate's first day when that is later
    until: date | None = None  #: None: the mandate's last day
    more: Mapping[str, Any] = field(default_factory=dict)  #: address, at_once, per_second
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to be different of an endpoint. `fields` has what was named: url (None: the mailbox), attributes, start, until, address,
    at_once, per_second; None takes away."""

    id: str
    fields: Mapping[str, Any]
    day: date | None = None  #: from then on; None: as if it had always been so
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a change came to."""

    endpoint: Endpoint | None  #: as it is from then on; None: it was taken back
    warnings: tuple[Sentence, ...] = ()


#: What came of one wish of several; an exception says why nothing did.
Result = Written | Exception
