"""The portal's API over a store in which two partners have the same: a failure, a message that waits, a refusal, a job, an alert, a warning
and a paused mailbox each. And a client with a token."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import requests

from adapters.store import Store, open_store
from adapters.store.contents import ContentRequests
from portal.desk import Desk
from routing.actions import Action, Order, Selection
from routing.alerts import Alert, AlertState, Cause, Kind, Plan
from routing.board import ItemFilter, subject_text
from routing.contacts import Channel, Contact, ContactRole, parse_quiet
from routing.jobs import Terms
from routing.people import Scope
from routing.register import Register, read_register
from routing.warning_board import KeptWarning
from routing.warnings import Warning, WarningKind
from schemas.faults import Owner
from schemas.oin import Oin
from tests.support.board import keep
from tests.support.portal import Portal
from tests.support.store import (
    DAY,
    NOW,
    VAULT,
    YES,
    a_delivery,
    a_refusal,
    claim,
    fresh_url,
    hand_in,
    lead,
    outcome,
    route,
    run_sql,
    settle,
    take,
)
from workers.actions import ActionDesk
from workers.clock import Clock
from workers.proefs import ProefDesk

ALL: Final = Scope(everything=True)
CODE: Final = "ENDPOINT_REFUSES_US"
NUMBERS: Final = ("999999990", "999999989")


class StillClock(Clock):
    """It stands at the moment that everything was handed in, and a day."""

    def now_us(self) -> int:
        return NOW + DAY

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_us() / 1e6, UTC)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One partner, and what there is of it: everything by which it could be recognised."""

    name: str
    school: Oin
    system: Oin
    receiver: Oin
    mailbox: Oin
    failed: str  #: reference
    delivery: str  #: delivery_id of the failure
    waiting: str
    refused: str
    group: str
    job: str
    preview: str  #: not confirmed
    alert: str
    warning: str
    proef: str

    @property
    def lane(self) -> str:
        """Its receivers' mailbox."""
        return f"mailbox {self.mailbox}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What nobody else may read anywhere."""
        return (
            *(self.school, self.system, self.receiver, self.mailbox, self.failed, self.delivery, self.waiting, self.refused),
            *(self.proef, self.job, self.preview, self.alert, self.warning, f"urn:uuid:m-{self.name}", f"b-{self.name}"),
        )


class Standing:
    """Warnings that stand, as `routing.warning_board.Warnings` shows them."""

    def __init__(self) -> None:
        self.kept: list[KeptWarning] = []

    def standing(self, *, parties: Collection[str] | None = None, kinds: Collection[WarningKind] | None = None) -> list[KeptWarning]:
        """Those about these parties, of these kinds."""
        return [
            one
            for one in self.kept
            if (parties is None or {one.warning.organisation, one.warning.system} & set(parties))
            and (kinds is None or one.warning.kind in kinds)
        ]


class Client(requests.Session):
    """A program with a token."""

    def __init__(self, url: str, token: str | None) -> None:
        super().__init__()
        self.url = url
        if token is not None:
            self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, url: str, *args: Any, **named: Any) -> requests.Response:  # type: ignore[override]
        """`url`: a path under /api/v1."""
        named.setdefault("timeout", 30)
        return super().request(method, f"{self.url}/api/v1{url}", *args, **named)


class World:
    """Use as `with`."""

    def __init__(self, folder: Path, *, kind: str = "sqlite", **shell: Any) -> None:
        """`shell`: as `portal.shell.Shell`."""
        self.store: Store = open_store(fresh_url(kind, folder))
        self.register: Register = read_register(_document(), version=1)
        clock = StillClock()
        self.actions = ActionDesk(self.store.jobs, lambda: self.register, clock, approve_above=0)
        self.warnings = Standing()
        nothing: Any = None
        desk = Desk(
            board=self.store.board,
            actions=self.actions,
            register=lambda: self.register,
            lanes=self.store.outbox,
            contents=ContentRequests(self.store.database),
            views=nothing,
            index=VAULT.index,
            ordered=(("proef", "proefBericht"),),
            alerts=self.store.alerts,
            proefs=ProefDesk(self.store.proefs, lambda: self.register, clock),
        )
        ports = {"desk": desk, "warnings": self.warnings}
        self.portal = Portal(folder / "portal", store=self.store, ports=ports, **shell)
        self.portal.opens_content(VAULT)
        self._relay = lead(self.store)
        self.a, self.b = self._side("side-a", 1), self._side("side-b", 2)
        keep(self.store)
        self.portal.account("manager", "chain_manager")
        self.portal.account("operator", "operator")
        self.portal.account("reader", "reader")
        for side in (self.a, self.b):
            contact = Contact(
                id=f"{side.name}-id",
                party=side.system,
                role=ContactRole.FUNCTIONAL,
                channel=Channel.EMAIL,
                address=f"help@{side.name}.example",
                quiet=parse_quiet("za zo"),
            )
            self.store.alerts.book.add(contact, secret=None, who="anna", now_us=NOW)
            self.portal.account(f"partner-{side.name[-1]}", "partner", systems=(side.system, side.mailbox))
            self.portal.account(f"school-{side.name[-1]}", "school", organisations=(side.school, side.receiver))

    def __enter__(self) -> World:
        self.portal.__enter__()
        return self

    def __exit__(self, *gone: object) -> None:
        self.portal.__exit__(*gone)
        self.store.close()

    def client(self, name: str | None) -> Client:
        """With a token of this account; None: without one."""
        return Client(self.portal.url, None if name is None else self.portal.token(name))

    def everything(self) -> dict[str, list[Any]]:
        """Every row that a call may change."""
        tables = (
            "message",
            "delivery",
            "refusal",
            "item",
            "event",
            "lane",
            "job",
            "job_item",
            "alert",
            "group_life",
            "group_note",
            "account",
            "proef",
        )
        return {name: sorted(map(repr, run_sql(self.store, f"SELECT * FROM {name}"))) for name in tables}

    def _side(self, name: str, n: int) -> Side:
        school, system, receiver, mailbox = _parties(n)
        given = {"sender": school, "system": system, "receiver": receiver, "received_us": NOW + n}
        store = self.store
        failed, waiting = (
            take(store, one, subject=VAULT.index(subject_text(NUMBERS[n - 1])), **given)[0] for one in (name, f"{name}-waits")
        )
        to = {"receiver": receiver, "lane": f"mailbox {mailbox}", "receiver_system": mailbox, "endpoint": f"e{n}"}
        (delivery,) = route(store, failed, to=[a_delivery(**to)])
        tickets, _ = store.outbox.release_deliveries(self._relay, [(f"mailbox {mailbox}", 1)], now_us=NOW, limit=1)
        settle(store, outcome(claim(store, tickets)[0], "failed", code=CODE, owner="receiver"))
        asked = ProefDesk(store.proefs, lambda: self.register, StillClock()).ask(ALL, system=mailbox, who="anna")
        store.outbox.hold(f"mailbox {mailbox}", who="anna", now_us=NOW)
        route(store, waiting, to=[a_delivery(**to)])
        refused = hand_in(store, a_refusal(name, sender=school, system=system, dienst="proef", decisions=(YES,)))[0].reference
        keep(store)
        (item,) = store.board.items(ALL, ItemFilter(reference=failed), now_us=NOW).items
        selection, order = Selection(ids=(delivery.id,)), Order(action=Action.RETRY)
        scope = Scope(systems=frozenset({system, mailbox}))
        job = self.actions.confirm(
            scope, self.actions.preview(scope, selection, order, who="anna").id, who="anna", reason=f"mended {name}", terms=Terms()
        )
        preview = self.actions.preview(scope, selection, order, who="anna")
        warning = f"certificate-ends of {name}"
        self.warnings.kept.append(_warning(warning, school, system))
        assert item.group is not None
        return Side(
            name=name,
            school=school,
            system=system,
            receiver=receiver,
            mailbox=mailbox,
            failed=failed,
            delivery=delivery.id,
            waiting=waiting,
            refused=refused,
            group=str(item.group),
            job=job.id,
            preview=preview.id,
            alert=self._alert(name, system),
            warning=warning,
            proef=asked.id,
        )

    def _alert(self, name: str, system: str) -> str:
        one = Alert(
            cause=Cause(kind=Kind.FAILURES, partner=system, dienst="proef", code=CODE),
            state=AlertState.OPEN,
            size=1,
            since_us=NOW,
            last_us=NOW,
            opened_us=NOW,
            says=(f"Uitval van {name}", f"Failures of {name}"),
            do=("Herstel het", "Mend it"),
            role=ContactRole.TECHNICAL,
        )
        plan = Plan(changed=(one,), happened=(), letters=())
        nothing: Any = None
        self.store.alerts.look(lead(self.store, f"alerts-{name}"), (), lambda *_: plan, nothing, now_us=NOW)
        return one.id


def _parties(n: int) -> tuple[Oin, Oin, Oin, Oin]:
    """School, its system, receiver, its system."""
    return tuple(Oin(f"0000000{kind}800000{n}{last}000") for kind, last in ((1, "01"), (2, "02"), (1, "03"), (2, "04")))  # type: ignore[return-value]


def _document() -> Mapping[str, list[dict[str, Any]]]:
    sides = [_parties(n) for n in (1, 2)]
    return {
        "organisations": [{"oin": oin, "name": f"Org {oin}", "kind": "central", "roles": ["vo"]} for s in sides for oin in (s[0], s[2])],
        "systems": [{"oin": oin, "name": f"Systeem {oin}", "supplier": "BV", "channels": ["amqp"]} for s in sides for oin in (s[1], s[3])],
        "diensten": [{"dienst": "proef", "versie": "1", "namespace": "urn:x-backbone:proef:1"}],
        "mandates": [{"organisation": s[2], "dienst": "proef", "system": s[3]} for s in sides],
        "endpoints": [
            {"id": f"e{n}", "organisation": s[2], "dienst": "proef", "versie": "1", "system": s[3], "mailbox": True}
            for n, s in enumerate(sides, 1)
        ],
    }


def _warning(key: str, school: Oin, system: Oin) -> KeptWarning:
    warning = Warning(
        key=key,
        kind=WarningKind.CERTIFICATE_ENDS,
        nl=key,
        en=key,
        owner=Owner.SUPPLIER,
        organisation=school,
        system=system,
        day=date(2026, 2, 1),
        within=30,
    )
    return KeptWarning(warning=warning, since_us=NOW, seen_us=NOW)


def shown(response: requests.Response) -> str:
    """All of an answer that a client reads."""
    return f"{response.status_code} {json.dumps(dict(response.headers))} {response.text}"
