"""Changes from the portal when others change the register in the same moment: judged again, shown again, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from adapters.store import Store, open_store
from routing.people import Account, Role, new_account
from routing.register import Register
from routing.register_book import RowChange
from routing.register_changing import Otherwise
from routing.register_wishes import EndMandate, GiveMandate, RuleBroken
from schemas.faults import OurFailure
from tests.support.register_pages import DOCUMENT, EMMAUS, KLASSEN, LINDE, RIVAL, WIJZER, ZUIDER, an_endpoint
from tests.support.store import BOTH, NOW, fresh_url
from workers.clock import Clock
from workers.register_cache import RegisterCache
from workers.register_changes import TRIES, RegisterChanges

END = EndMandate(organisation=EMMAUS, token="m-emmaus-oud", until=date(2026, 6, 30))


class Stopped(Clock):
    """The fifteenth of January 2026."""

    def now_us(self) -> int:
        return NOW


class Overtaken(RegisterCache):
    """Somebody is always quicker: does something right after the register was read, as often as there is something to do."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.register)
        self.meanwhile: list[Callable[[], object]] = []

    def newest(self) -> Register:
        found = super().newest()
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return found


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(fresh_url(request.param, tmp_path))
    opened.register.save(DOCUMENT, who="beheer", why="begin", now_us=NOW - 1)
    yield opened
    opened.close()


@pytest.fixture
def cache(store: Store) -> Overtaken:
    return Overtaken(store)


@pytest.fixture
def changes(store: Store, cache: Overtaken) -> RegisterChanges:
    return RegisterChanges(store.register, cache, Stopped(), may_call=lambda _: True)


def an_account(name: str, organisation: str) -> Account:
    return new_account(name, [Role.SCHOOL], organisations=[organisation])


def write(store: Store, endpoint: dict[str, object]) -> None:
    store.register.change([RowChange("endpoints", str(endpoint["id"]), endpoint)], who="olga", why="intussen", now_us=NOW)


def test_what_somebody_else_changed_elsewhere_meanwhile_stays_and_so_does_ours(
    store: Store, cache: Overtaken, changes: RegisterChanges
) -> None:
    account = an_account("emmaus", EMMAUS)
    shown = changes.propose(account, END)
    before = store.register.newest()
    cache.meanwhile = [lambda: write(store, an_endpoint(LINDE, RIVAL, "e-linde", url="https://a.example/in"))]
    made = changes.make(account, END, why="over", digest=shown.digest)
    assert made.version == before + 2
    assert store.register.rows("mandates", key="m-emmaus-oud")[0]["until"] == "2026-06-30"
    assert store.register.rows("endpoints", key="e-linde")[0]["url"] == "https://a.example/in"


def test_an_endpoint_that_somebody_changed_meanwhile_is_not_overwritten_by_what_was_shown(
    store: Store, cache: Overtaken, changes: RegisterChanges
) -> None:
    account = an_account("emmaus", EMMAUS)
    shown = changes.propose(account, END)
    moved = an_endpoint(EMMAUS, WIJZER, "e-emmaus", url="https://b.example/in", until="2026-07-31")
    cache.meanwhile = [lambda: write(store, moved)]
    with pytest.raises(Otherwise) as told:
        changes.make(account, END, why="over", digest=shown.digest)
    assert store.register.rows("mandates", key="m-emmaus-oud")[0]["until"] == "2026-07-31"
    assert store.register.rows("endpoints", key="e-emmaus")[0]["url"] == "https://b.example/in"
    assert changes.make(account, END, why="over", digest=told.value.proposal.digest)
    assert store.register.rows("endpoints", key="e-emmaus")[0] == moved | {"until": "2026-06-30"}


def test_of_two_who_give_the_same_mandate_at_once_one_is_refused(store: Store, cache: Overtaken, changes: RegisterChanges) -> None:
    account = an_account("zuider", ZUIDER)
    wish = GiveMandate(organisation=ZUIDER, dienst="proef", system=KLASSEN)
    digest = changes.propose(account, wish).digest
    other = RegisterChanges(store.register, RegisterCache(store.register), Stopped(), may_call=lambda _: True)
    cache.meanwhile = [lambda: other.make(account, wish, why="eerst", digest=other.propose(account, wish).digest)]
    with pytest.raises(RuleBroken) as told:
        changes.make(account, wish, why="dan", digest=digest)
    assert told.value.code == "OVERLAP"
    (only,) = store.register.rows("mandates", organisation=ZUIDER, dienst="proef")
    assert store.register.history("mandates", only["token"])[-1]["why"] == "eerst"


def test_when_others_change_it_all_the_time_nothing_is_made_and_that_is_said(
    store: Store, cache: Overtaken, changes: RegisterChanges
) -> None:
    account = an_account("emmaus", EMMAUS)
    digest = changes.propose(account, END).digest
    rows = [an_endpoint(LINDE, RIVAL, "e-linde", url=f"https://a{number}.example/in") for number in range(TRIES)]
    cache.meanwhile = [lambda row=row: write(store, row) for row in rows]  # type: ignore[misc]
    with pytest.raises(OurFailure):
        changes.make(account, END, why="over", digest=digest)
    assert store.register.rows("mandates", key="m-emmaus-oud")[0]["until"] == "2026-07-31"
