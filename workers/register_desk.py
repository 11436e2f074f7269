"""What systems ask of the register through its API, and have it change: rows and keys from its book, judged by its rules.

A change is judged by the newest version and made for that version only; when somebody else was first, it is judged again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from itertools import groupby
from typing import Any, Final

from routing.amsterdam import amsterdam_day
from routing.api_keys import digest_of, short
from routing.ports import RegisterBook
from routing.register import Endpoint, Mandate, Register
from routing.register_book import RegisterMoved
from routing.register_bulk import InTurn
from routing.register_desk import Caller, EndpointChange, NewEndpoint, Result, Written
from routing.register_lookup import version_by_namespace
from routing.register_rows import read_row
from routing.register_rules import MOST_OF_SYSTEM
from routing.register_stored import without_waiting
from routing.register_wishes import Actor, AddEndpoint, ChangeEndpoint, EndEndpoint, Role, RuleBroken, Wish
from routing.work import StoreUnavailable
from schemas.faults import OurFailure
from schemas.oin import Oin
from workers.clock import Clock, micros
from workers.register_cache import RegisterCache

#: How often a change is judged again because the register moved. Each time somebody else's change was made.
TRIES: Final = 20
#: Fields of an endpoint that stand beside each other in `more`.
_MORE: Final = frozenset({"address", "at_once", "per_second"})


class RegisterDesk:
    """A `routing.ports.RegisterDesk`. For several threads."""

    def __init__(
        self, book: RegisterBook, cache: RegisterCache, clock: Clock, *, may_call: Callable[[str], bool], most: int = MOST_OF_SYSTEM
    ) -> None:
        """`may_call`: which IP addresses may stand in an endpoint's URL. `most`: endpoints that one system may have."""
        self._book, self._cache, self._clock, self._may_call, self._most = book, cache, clock, may_call, most
        self._kept = (cache.known(), without_waiting(cache.known()))

    def register(self) -> Register:
        """See the port."""
        return self._cache()

    def kept(self) -> Register:
        """See the port."""
        known = self._cache.known()
        register, kept = self._kept
        if register is not known:
            kept = without_waiting(known)
            self._kept = known, kept
        return kept

    def today(self) -> date:
        """See the port."""
        return amsterdam_day(self._clock.now())

    def owner_of_key(self, key: str) -> Caller | None:
        """See the port."""
        digest = digest_of(key)
        system = self._book.system_of_api_key(digest)
        return None if system is None else Caller(system=Oin(system), key=short(digest))

    def mandate(self, token: str) -> Mandate | None:
        """See the port."""
        return next(iter(self._mandates(key=token)), None)

    def mandates_of(self, system: str, dienst: str, *, after: str | None, limit: int) -> list[Mandate]:
        """See the port."""
        return self._mandates(system=system, dienst=dienst, after=after, limit=limit)

    def _mandates(self, **filters: Any) -> list[Mandate]:
        rows = [read_row("mandates", row) for row in self._book.rows("mandates", **filters)]
        return [row for row in rows if isinstance(row, Mandate)]

    def add_endpoint(self, wish: NewEndpoint, caller: Caller) -> Written:
        """See the port."""
        return self._one(wish, caller)

    def change_endpoint(self, change: EndpointChange, caller: Caller) -> Written:
        """See the port."""
        return self._one(change, caller)

    def _one(self, wish: NewEndpoint | EndpointChange, caller: Caller) -> Written:
        why = wish.reason or ("POST /endpoints" if isinstance(wish, NewEndpoint) else "PATCH /endpoints")
        (result,) = self._done([self._as_wish(wish, caller)], caller, why)
        if isinstance(result, Exception):
            raise result
        return result

    def write_many(self, wishes: Sequence[NewEndpoint | EndpointChange], caller: Caller) -> list[Result]:
        """See the port."""
        results: list[Result] = []
        away: Exception | None = None  # the store; some waited for it, and the others need not
        for reason, some in groupby(wishes, lambda wish: wish.reason):
            asked = [self._as_wish(wish, caller) for wish in some]
            try:
                if away is not None:
                    raise away
                results += self._done(asked, caller, reason or "POST /endpoints/bulk")
            except (StoreUnavailable, OurFailure) as error:
                away = error
                results += [error] * len(asked)
        return results

    def _as_wish(self, wish: NewEndpoint | EndpointChange, caller: Caller) -> Callable[[Register], Wish]:
        """What is asked of the rules; by the register, which may move meanwhile. What it gives raises RuleBroken."""
        if isinstance(wish, EndpointChange):
            return lambda _: _change(wish)
        id = str(uuid.uuid4())  # the same at every try
        return lambda register: self._addition(register, wish, caller, id)

    def _addition(self, register: Register, wish: NewEndpoint, caller: Caller, id: str) -> AddEndpoint:
        version = version_by_namespace(register, wish.namespace)
        if version is None:
            raise RuleBroken(
                "UNKNOWN",
                f"Geen dienstversie heeft de namespace {wish.namespace}; zie service-versions.",
                f"no service version has the namespace {wish.namespace}; see service-versions",
            )
        return AddEndpoint(
            organisation=self._organisation(register, wish.mandate_token, caller),
            dienst=version.dienst,
            versie=version.versie,
            system=caller.system,
            routeringskenmerk=wish.routing_id,
            url=wish.url,
            token=wish.mandate_token,
            attributes=wish.attributes,
            start=wish.start,
            until=wish.until,
            more=wish.more,
            id=id,
        )

    def _organisation(self, register: Register, token: str | None, caller: Caller) -> Oin:
        """Whose endpoint it is to be. Raises RuleBroken."""
        if token is None:
            if register.organisation(caller.system) is None:
                raise RuleBroken(
                    "NO_MANDATE",
                    f"mandate_token ontbreekt; alleen een organisatie die zelf aansluit laat die weg, en {caller.system} is dat niet.",
                    f"mandate_token is missing; only an organisation that connects itself leaves it out, and {caller.system} is none",
                )
            return caller.system
        mandate = self.mandate(token)
        if mandate is None:
            raise RuleBroken(
                "UNKNOWN", f"Er is geen mandaat met token {token}.", f"no mandate has the token {token}; ask for yours with school-mandates"
            )
        if mandate.system != caller.system:
            raise RuleBroken(
                "NOT_YOURS",
                f"Mandaattoken {token} is van een ander systeem dan {caller.system}.",
                f"mandate token {token} is that of another system than {caller.system}; ask for yours with school-mandates",
            )
        return mandate.organisation

    def _done(self, wishes: Sequence[Callable[[Register], Wish]], caller: Caller, why: str) -> list[Written | RuleBroken]:
        """One version of what is granted. Raises StoreUnavailable and OurFailure; then nothing was made."""
        actor = Actor(Role.SUPPLIER, caller.system)
        for _ in range(TRIES):
            register = self._cache.newest()
            turn = InTurn(register, actor, self.today(), may_call=self._may_call, most=self._most)
            results = [_judged(turn, as_wish) for as_wish in wishes]
            try:
                if turn.changes:
                    who, now_us = str(caller), micros(self._clock.now())
                    self._book.change(turn.changes, who=who, why=why, now_us=now_us, expected=register.version)
            except RegisterMoved:
                continue
            with suppress(StoreUnavailable):  # it is made, whatever happens now
                self._cache.newest()  # whoever asks here next sees it
            return results
        raise OurFailure("others are changing the register all the time")


def _judged(turn: InTurn, as_wish: Callable[[Register], Wish]) -> Written | RuleBroken:
    try:
        judged, _ = turn.judge(as_wish(turn.register))
    except RuleBroken as broken:
        return broken
    rows = [read_row("endpoints", change.row) for change in judged.changes if change.list == "endpoints" and change.row]
    return Written(next((row for row in reversed(rows) if isinstance(row, Endpoint)), None), judged.warnings)


def _change(change: EndpointChange) -> Wish:
    fields = {name: value for name, value in change.fields.items() if name not in _MORE}
    more = {name: value for name, value in change.fields.items() if name in _MORE}
    if change.fields.keys() == {"until"} and change.fields["until"] is not None and change.day is None:
        return EndEndpoint(id=change.id, until=change.fields["until"])
    return ChangeEndpoint(id=change.id, day=change.day, more=more, **fields)
