"""The portal's pages over a store with the traffic of two chains that have nothing in common, at a moment that the test knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from adapters.endpoints import may_call
from adapters.store import Store, open_store
from adapters.store.contents import ContentRequests
from adapters.store.report_post import ReportRows
from adapters.store.views import SavedViews
from portal.desk import Desk
from routing.alerts import Alert, AlertState, Cause, Kind, Plan
from routing.contacts import Channel, Contact, ContactRole
from routing.people import Role, Scope
from routing.tellings import Written, new_id
from schemas.oin import Oin, school_oin
from tests.support.board import fail_whole, keep
from tests.support.portal import Portal
from tests.support.store import (
    DAY,
    NOW,
    SECOND,
    VAULT,
    YES,
    a_delivery,
    a_message,
    a_refusal,
    confirm,
    deliver,
    fresh_url,
    hand_in,
    lead,
    route,
)
from workers.actions import ActionDesk
from workers.alert_words import Words
from workers.proefs import ProefDesk
from workers.register_cache import RegisterCache
from workers.register_changes import RegisterChanges
from workers.report_desk import ReportDesk

HOUR: Final = 3_600 * SECOND
SCHOOL, OTHER_SCHOOL = school_oin("01AA"), school_oin("02BB")
LAS, OTHER_LAS = Oin("00000003900000001000"), Oin("00000003900000002000")
TOWN, OTHER_TOWN = Oin("00000001800000003000"), Oin("00000001800000004000")
BOX, OTHER_BOX = Oin("00000003900000003000"), Oin("00000003900000004000")
#: No page of somebody else's may hold any of these.
OTHERS: Final = (
    "02BB",
    "De Linde",
    "Andere",
    OTHER_LAS,
    OTHER_TOWN,
    OTHER_BOX,
    "other0",
    "other1",
    "otherf",
    "otherr",
    "GEMEENTECODE_UNKNOWN",
)
#: The pupil of our own first message, whose keyed hash the board has; an invented number.
PUPIL: Final = "999990019"
SECRET: Final = "<burgerservicenummer>999990019</burgerservicenummer>"
ALL: Final = Scope(everything=True)

DOCUMENT: Final[dict[str, list[dict[str, Any]]]] = {
    "organisations": [
        {"oin": SCHOOL, "name": "De Eik", "kind": "school", "roles": ["vo"]},
        {"oin": OTHER_SCHOOL, "name": "De Linde", "kind": "school", "roles": ["mbo"]},
        {"oin": TOWN, "name": "Gemeente Dorp", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0344"}]},
        {"oin": OTHER_TOWN, "name": "Gemeente Andere", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": "0363"}]},
    ],
    "systems": [
        {"oin": oin, "name": name, "supplier": f"{name} BV", "channels": ["amqp"]}
        for oin, name in ((LAS, "Leerlingboek"), (OTHER_LAS, "Andere school-ICT"), (BOX, "Dorpsbalie"), (OTHER_BOX, "Andere balie"))
    ],
    "diensten": [{"dienst": dienst, "versie": "1", "namespace": f"urn:x-backbone:{dienst}:1"} for dienst in ("vva", "proef")],
    "mandates": [
        *(
            {"organisation": organisation, "dienst": "vva", "system": system, "token": f"mandate-{organisation[-8:]}"}
            for organisation, system in ((SCHOOL, LAS), (OTHER_SCHOOL, OTHER_LAS), (TOWN, BOX), (OTHER_TOWN, OTHER_BOX))
        ),
        *(
            {"organisation": town, "dienst": "proef", "system": box, "token": f"proef-{town[-8:]}"}
            for town, box in ((TOWN, BOX), (OTHER_TOWN, OTHER_BOX))
        ),
    ],
    "endpoints": [
        {"organisation": organisation, "dienst": dienst, "versie": "1", "system": system, "mailbox": True}
        for organisation, system in ((TOWN, BOX), (OTHER_TOWN, OTHER_BOX))
        for dienst in ("vva", "proef")
    ],
}


def an_id(name: str) -> str:
    """The reference of a message."""
    return f"{name}-id"


def traffic(store: Store, prefix: str, school: str, las: str, town: str, box: str, code: str) -> None:
    """One of everything, of one chain: `0` confirmed, `1` refused by its receiver, `2` not confirmed yet, `f` failed as a whole, `r`
    refused at hand-in."""
    run = {"sender": school, "system": las, "receiver": town, "dienst": "vva", "bericht": "mboGangerBericht"}
    for number, at_us in enumerate((NOW - 2 * HOUR, NOW - HOUR, NOW - 60 * SECOND)):
        name = f"{prefix}{number}"
        content = {"content": SECRET, "subject": VAULT.index(f"subject {PUPIL}")} if name == "mine1" else {}
        hand_in(store, a_message(name, reference=an_id(name), received_us=at_us, **run, **content))
        place = {"receiver": town, "receiver_system": box, "lane": f"mailbox {box}", "endpoint": f"e {box}"}
        route(store, an_id(name), to=[a_delivery(id=f"{name}-delivery", **place)], now_us=at_us)
    leader = lead(store)
    deliver(store, leader)
    store.registry.give_lease(leader)
    confirm(store, f"{prefix}0-delivery", system=box)
    confirm(store, f"{prefix}1-delivery", confirmed=False, system=box, code=code, owner="school", reason="not ours")
    hand_in(
        store,
        a_message(f"{prefix}f", reference=an_id(f"{prefix}f"), **run),
        a_refusal(f"{prefix}r", reference=an_id(f"{prefix}r"), code=code, sender=school, system=las, dienst="vva", decisions=(YES,)),
    )
    fail_whole(store, an_id(f"{prefix}f"), code="ROUTE_UNKNOWN_PARTY")


def mine(store: Store) -> None:
    """The chain of those whose pages are looked at."""
    traffic(store, "mine", SCHOOL, LAS, TOWN, BOX, "NOT_OUR_RESIDENT")


def many(store: Store, count: int = 11) -> None:
    """More of ours that the municipality refused for the same cause as `mine1`: `many0` and so on."""
    run = {"sender": SCHOOL, "system": LAS, "receiver": TOWN, "dienst": "vva", "bericht": "mboGangerBericht"}
    place = {"receiver": TOWN, "receiver_system": BOX, "lane": f"mailbox {BOX}", "endpoint": f"e {BOX}"}
    names = [f"many{number}" for number in range(count)]
    for name in names:
        hand_in(store, a_message(name, reference=an_id(name), received_us=NOW - HOUR, **run))
        route(store, an_id(name), to=[a_delivery(id=f"{name}-delivery", **place)], now_us=NOW - HOUR)
    leader = lead(store)
    deliver(store, leader)
    store.registry.give_lease(leader)
    why = {"code": "NOT_OUR_RESIDENT", "owner": "school", "reason": "not ours"}
    confirm(store, *(f"{name}-delivery" for name in names), confirmed=False, system=BOX, **why)


def others(store: Store) -> None:
    """Another, of which they may see nothing."""
    traffic(store, "other", OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX, "GEMEENTECODE_UNKNOWN")


#: Name of an account -> its role and whose it is.
PEOPLE: Final[dict[str, tuple[Role, dict[str, Any]]]] = {
    "anna": (Role.CHAIN_MANAGER, {}),
    "bert": (Role.CHAIN_MANAGER, {}),
    "olga": (Role.OPERATOR, {}),
    "adam": (Role.AUDITOR, {}),
    "rina": (Role.READER, {}),
    "leverancier": (Role.PARTNER, {"systems": (LAS,)}),
    "gemeente": (Role.PARTNER, {"organisations": (TOWN,)}),
    "school": (Role.SCHOOL, {"organisations": (SCHOOL,)}),
}


class Pages(Portal):
    """The portal with everything behind it, on the fifteenth of January 2026."""

    #: What the service register says.
    DOCUMENT = DOCUMENT

    def __init__(self, folder: Path, store: Store, *, approve_above: int = 1) -> None:
        super().__init__(folder, store=store)
        self.clock.ahead_us = NOW - self.clock.now_us()
        store.register.save(self.DOCUMENT, who="beheer", why="begin", now_us=NOW - DAY)
        register = RegisterCache(store.register)
        self.ports.desk = Desk(
            board=store.board,
            actions=ActionDesk(store.jobs, register, self.clock, approve_above=approve_above),
            register=register,
            lanes=store.outbox,
            contents=ContentRequests(store.database),
            views=SavedViews(store.database),
            index=VAULT.index,
            ordered=(("vva", "mboGangerBericht"),),
            alerts=store.alerts,
            reports=ReportDesk(
                ReportRows(store.database),
                store.alerts.contacts,
                store.board,
                Words(portal="", ours="00000001800000999000", name=lambda oin: getattr(register().system(oin), "name", "")),
                ready=True,
            ),
            changes=RegisterChanges(store.register, register, self.clock, may_call=lambda address: may_call(address, ())),
            proefs=ProefDesk(store.proefs, register, self.clock),
        )
        self.opens_content(VAULT)

    def __enter__(self) -> Pages:
        super().__enter__()
        for name, (role, own) in PEOPLE.items():
            self.account(name, role, **own)
        return self


def contact_of(store: Store, party: str, address: str, **more: Any) -> str:
    """A contact of this party, and its id."""
    fields: dict[str, Any] = {"role": ContactRole.FUNCTIONAL, "channel": Channel.EMAIL}
    one = Contact(id=new_id(), party=party, address=address, **(fields | more))
    store.alerts.book.add(one, secret=None, who="olga", now_us=NOW)
    return one.id


def alert_of(store: Store, partner: str, says: str) -> str:
    """An alert that this partner has, and its id."""
    made = Alert(
        cause=Cause(kind=Kind.FAILURES, partner=partner, code="NOT_OUR_RESIDENT"),
        state=AlertState.OPEN,
        size=12,
        since_us=NOW - HOUR,
        last_us=NOW,
        opened_us=NOW - HOUR,
        says=(says, says),
        do=("Controleer het woonadres.", "Check the address."),
        role=ContactRole.FUNCTIONAL,
        urgent=True,
    )
    plan = Plan(changed=(made,), happened=(), letters=())
    lease = lead(store, "alerts", "timetable-1")
    store.alerts.look(lease, [], lambda *_: plan, lambda _: Written(subject="", text="", html=None), now_us=NOW)
    store.registry.give_lease(lease)
    return made.id


@contextmanager
def pages(folder: Path, *chains: Any, **more: Any) -> Iterator[Pages]:
    """With the traffic of these chains on the board."""
    store = open_store(fresh_url("sqlite", folder))
    try:
        for chain in chains:
            chain(store)
        keep(store)
        with Pages(folder, store, **more) as running:
            yield running
    finally:
        store.close()


__all__ = ["ALL", "DAY", "NOW", "Pages", "an_id", "many", "mine", "others", "pages"]
