"""A system's mailboxes, as it empties them over REST: what stands in the store, made into what it would have found in its AMQP mailbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from routing.amsterdam import amsterdam_day
from routing.mandate import judge_endpoint
from routing.party import Letter, MailboxLine, Opened, Said, WordHeard
from routing.ports import Incoming, Letters
from routing.register import Endpoint, Register
from schemas.oin import Oin
from workers.clock import Clock
from workers.deliver import read_confirmation
from workers.parcel import Parcels


@dataclass(frozen=True, slots=True)
class _Mine:
    day: date
    by: tuple[object, ...]  #: what they were judged by, and whose sameness means that nothing of it changed
    endpoints: list[Endpoint]


class Postbox:
    """See `routing.ports.Postbox`. May be used by several threads at a time."""

    def __init__(self, letters: Letters, register: Callable[[], Register], parcels: Parcels, clock: Clock, *, actor: str) -> None:
        self._letters, self._register, self._parcels, self._clock, self._actor = letters, register, parcels, clock, actor
        self._known: dict[Oin, _Mine] = {}

    def mailboxes(self, system: Oin) -> list[MailboxLine]:
        """See the port."""
        register = self._register()
        piles = {pile.endpoint: pile for pile in self._letters.piles(system)}
        lines = []
        for endpoint in self._mine(register, system):
            pile = piles.get(endpoint.id)
            lines.append(
                MailboxLine(
                    organisation=endpoint.organisation,
                    name=register.organisations[endpoint.organisation].name,
                    routeringskenmerk=endpoint.routeringskenmerk,
                    dienst=endpoint.dienst,
                    versie=endpoint.versie,
                    open=pile.open if pile else 0,
                    overdue=pile.overdue if pile else 0,
                    oldest_us=pile.oldest_us if pile else None,
                )
            )
        return lines

    def letters(self, system: Oin, *, dienst: str | None, versie: str | None, receiver: str | None, limit: int) -> list[Letter]:
        """See the port."""
        wanted = [
            endpoint.id
            for endpoint in self._mine(self._register(), system)
            if dienst in (None, endpoint.dienst)
            and versie in (None, endpoint.versie)
            and receiver in (None, endpoint.organisation, endpoint.routeringskenmerk)
        ]
        found = self._letters.standing(system, wanted, limit=limit) if wanted else []
        name = self._parcels.message_id
        return [replace(one, message_id=name(one.action, one.message_id, one.delivery_id, anew=one.anew)) for one in found]

    def fetch(self, system: Oin, delivery_id: str) -> Opened | None:
        """See the port."""
        one = self._letters.sealed(system, delivery_id)
        if one is None or one.wrapped_key is None or one.body is None:
            return None
        # judged again, as at every attempt: what is to leave this mailbox stands in it for some seconds yet
        if all(endpoint.id != one.endpoint for endpoint in self._mine(self._register(), system)):
            return None
        _, mail = self._parcels.mail(one, one.wrapped_key, one.body)
        if not self._letters.fetched(one, actor=self._actor, now_us=self._clock.now_us()):
            return None
        headers = {name: str(value) for name, value in (mail.headers or {}).items()}
        return Opened(reference=one.reference, message_id=mail.message_id or "", headers=headers, body=mail.body)

    def say(self, system: Oin, delivery_id: str, *, confirmed: bool, reason: str | None) -> WordHeard:
        """See the port."""
        words = {"delivery_id": delivery_id, "outcome": "confirmed" if confirmed else "refused", "reason": reason}
        confirmation = read_confirmation(
            Incoming(
                queue="",
                tag=0,
                generation=0,
                redelivered=False,
                exchange="confirm",
                routing_key=system,
                content_type="application/json",
                correlation_id=None,
                headers={},
                body=json.dumps(words).encode(),
            )
        )
        if confirmation is None:
            raise ValueError("not a confirmation or refusal")
        standing = self._letters.sealed(system, delivery_id)
        if standing is not None and all(endpoint.id != standing.endpoint for endpoint in self._mine(self._register(), system)):
            return WordHeard(said=Said.UNKNOWN)  # its mandate is over: it goes to whoever has it now, and this system's word is not heard
        return self._letters.hear(confirmation, actor=self._actor, now_us=self._clock.now_us())

    def _mine(self, register: Register, system: Oin) -> list[Endpoint]:
        """The endpoints whose mailbox this system may empty today. Remembered until something changes by which they are judged: those who
        wait ask every second, and a large system has thousands."""
        day, parts = amsterdam_day(self._clock.now()), register.parts
        by = (parts.stamp(system), register.organisations, register.systems)
        known = self._known.get(system)
        if known is None or known.day != day or any(one is not other for one, other in zip(known.by, by, strict=True)):
            all_of_it = parts.of_system(system).endpoints
            mine = [one for one in all_of_it if one.url is None and judge_endpoint(register, one, day).outcome == "yes"]
            known = self._known[system] = _Mine(day, by, mine)
        return known.endpoints
