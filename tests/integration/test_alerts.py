"""People are told: from failures in the store to mails and webhooks that real servers took, on both databases."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.mail import Mail
from adapters.store import Store
from adapters.webhook import Webhook, new_secret, seal_secret
from broker_config.settings import MailServer
from routing.alerts import AlertState, CannotAcknowledge, Letter, Plan, Rules
from routing.board import GroupKey
from routing.contacts import Channel, Contact, ContactRole, parse_quiet
from routing.people import Scope
from routing.register import read_register
from routing.tellings import Due, NotSent, Sender, Written
from routing.work import LeaseLost
from schemas.events import decode
from schemas.oin import Oin
from schemas.privacy import PERSONAL_NUMBER, redact
from tests.support.board import keep
from tests.support.exchange import MovedClock
from tests.support.store import VAULT, a_message, a_refusal, deliver, hand_in, lead, route, run_sql, take
from tests.support.store import store as store
from tests.support.telling import CA, PASSWORD, Hook, Post
from workers.alert_words import Words, write_test
from workers.alerts import EVERYTHING, Sources, Teller, scope_of
from workers.loop import Leader, Worker

LAS, GEMEENTE, OURS = "00000001900000001000", "00000001900000002000", "00000099000000010000"
NETWORKS = ip_network("127.0.0.0/8"), ip_network("::1/128")


def run(act: Any) -> Any:
    return asyncio.run(act)


class Office:
    """The teller on one store, with a clock that the test moves; no loop of its own: a test says when it looks and sends."""

    def __init__(self, store: Store, folder: Path, post: Post | None = None, **more: Any) -> None:
        self.store, self.folder, self.clock = store, folder, MovedClock()
        # in the midst of a working day, so that no test depends on the hour at which it runs
        noon = datetime.combine(self.clock.now().date() + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=11)
        self.clock.ahead = noon - datetime.now(UTC)
        self.worker = Worker("timetable", store.registry, self.clock)
        self.leader = Leader(self.worker, store.registry, "alerts")
        password = folder / "password"
        password.write_text(f"{PASSWORD}\n")
        self.channels: dict[Channel, Sender] = {}
        if post is not None:
            self.channels[Channel.EMAIL] = Mail(server=post.server, sender="kp@example.nl", password=password, ca=CA)
        self.channels[Channel.WEBHOOK] = Webhook(VAULT, allowed=NETWORKS, ca=CA)
        heard = [{"name": name, "seen_us": 1 << 62} for name in ("audit", "deliver", "relay", "route")]
        sources = Sources(facts=store.alert_facts, workers=lambda: heard, scope_of=self.scope, board=store.board, **more)
        self.words = Words(portal="https://portaal.example.nl", ours=OURS, name=lambda oin: f"Systeem {oin[8:12]}" if oin != OURS else "")
        self.teller = Teller(self.worker, store.alerts, sources, self.channels, self.words, Rules(), self.leader)

    @staticmethod
    def scope(party: str) -> Scope:
        return Scope(systems=frozenset({Oin(party)}))

    def contact(self, party: str = LAS, address: str = "beheer@las.example.nl", *, secret: str | None = None, **more: Any) -> Contact:
        fields: dict[str, Any] = {"role": ContactRole.TECHNICAL, "channel": Channel.WEBHOOK if secret else Channel.EMAIL}
        one = Contact(id=f"C-{uuid.uuid4().hex[:8]}", party=party, address=address, **(fields | more))
        sealed = seal_secret(VAULT, one.id, secret) if secret else None
        self.store.alerts.book.add(one, secret=sealed, who="test", now_us=self.clock.now_us())
        return one

    async def look(self) -> Any:
        lease = await self.leader.lease()
        assert lease is not None
        return await self.teller.look(lease)

    async def daily(self) -> int:
        lease = await self.leader.lease()
        assert lease is not None
        return await self.teller.daily(lease)

    async def send(self) -> None:
        """Until nothing is due any more."""
        while self.store.alerts.due(now_us=self.clock.now_us()):
            await self.teller.send()
            await self.teller.wait()
        for channel in self.channels.values():
            await channel.close()  # type: ignore[attr-defined]

    async def look_and_send(self) -> Any:
        plan = await self.look()
        await self.send()
        return plan

    def fail(self, count: int, *, name: str = "", **refusal: Any) -> None:
        """Refused hand-ins, chained as the audit worker does."""
        at_us = self.clock.now_us()
        given = [a_refusal(f"{name}{n}", at_us=at_us, dienst="vva", **refusal) for n in range(count)]
        for start in range(0, count, 500):
            hand_in(self.store, *given[start : start + 500])
        chain(self.store, at_us)


def again(office: Office, seconds: float, post: Post | None = None, **more: Any) -> Office:
    """Another process on the same store, so many seconds later."""
    other = Office(office.store, office.folder, post, **more)
    other.clock.ahead = office.clock.ahead + timedelta(seconds=seconds)
    return other


def chain(store: Store, now_us: int) -> None:
    lease = store.registry.take_lease("audit", uuid.uuid4().hex, now_us=now_us + (1 << 50), until_us=0)
    assert lease is not None
    while store.journal.chain(lease, now_us=now_us):
        continue


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as running:
        yield running


def test_five_thousand_failures_of_one_release_are_one_mail_for_each_partner_concerned(store: Store, tmp_path: Path, post: Post) -> None:
    """A supplier's release writes wrong content; forty receiving systems reject what got through, and one of them is itself ill."""
    office = Office(store, tmp_path, post)
    office.contact()
    office.contact(GEMEENTE, "beheer@gemeente.example.nl")
    office.contact(OURS, "regie@example.nl")
    office.fail(4_000)
    at_us = office.clock.now_us()
    groups = "INSERT INTO failure_group (code, owner, dienst, system, receiver_system, count, first_us, last_us, example) VALUES "
    rejected = ", ".join(
        f"('RECEIVER_REJECTED', 'school', 'vva', '{LAS}', '000000019000{n:08}', 20, {at_us}, {at_us}, 'r')" for n in range(40)
    )
    refused = f"('RECEIVER_REFUSED', 'receiver', 'vva', '{LAS}', '{GEMEENTE}', 200, {at_us}, {at_us}, 'r')"
    run_sql(store, f"{groups} {rejected}, {refused}")

    async def act() -> None:
        for _ in range(30):
            office.clock.ahead += timedelta(minutes=1)
            await office.look()
            chain(store, office.clock.now_us())
        await office.send()

    run(act())
    assert sorted(mail["To"] for mail in post.mails) == ["beheer@gemeente.example.nl", "beheer@las.example.nl"]
    to_las = next(n for n, mail in enumerate(post.mails) if "las" in mail["To"])
    assert post.mails[to_las]["Subject"] == "[Koppelpunt] Bericht niet conform XSD (en nog 1)"
    text = post.text(to_las)
    assert "4.000 keer in het afgelopen etmaal" in text and "4,000 times in the last 24 hours" in text
    assert "800 keer" in text, "one cause, however many receivers it met"
    assert text.index("Dit vraagt uw aandacht") < text.index("This needs your attention"), "Dutch first"
    assert f"Wie is aan zet: leverancier, Systeem 9000 ({LAS})" in text
    assert "Wat te doen: Herstel dit in het verzendende systeem en lever opnieuw aan." in text
    assert f"https://portaal.example.nl/openstaand?lijst=uitval&dienst=vva&systeem={LAS}&code=Client.DK0004" in text
    assert "<h3>1. Bericht niet conform XSD</h3>" in post.html(to_las)
    opened = [json.loads(row.more)["told"] for row in run_sql(store, "SELECT more FROM alert")]
    assert len(opened) == 3


def test_mail_says_by_what_it_was_made_and_is_encrypted_on_its_way(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact(language="en")
    office.fail(10)
    run(office.look_and_send())
    (mail,) = post.mails
    assert post.encrypted == [True]
    assert mail["Subject"].startswith("[Koppelpunt] Message does not conform")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.nl>")
    assert mail["From"] == "Koppelpunt <kp@example.nl>"
    assert post.text().index("This needs your attention") < post.text().index("Dit vraagt uw aandacht")
    assert [row["sent_us"] is not None for row in store.alerts.tellings(EVERYTHING)] == [True]


def test_a_crash_between_sending_and_noting_it_sends_the_same_mail_once_more(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)

    async def act() -> None:
        await office.look()
        (due,) = store.alerts.due(now_us=office.clock.now_us())
        await office.channels[Channel.EMAIL].send(due)  # and here the process dies
        await again(office, 60, post).look_and_send()  # the dead leader's lease has ended

    run(act())
    first, second = post.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]
    assert post.text(0) == post.text(1)
    assert len(store.alerts.tellings(EVERYTHING)) == 1


def test_a_crash_in_the_midst_of_a_look_leaves_nothing_of_it(
    store: Store, tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)
    monkeypatch.setattr("workers.alerts.write_alerts", lambda letter, words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(office.look())
    assert not store.alerts.alerts(EVERYTHING)
    monkeypatch.undo()
    run(office.look_and_send())
    assert len(post.mails) == 1


def write_nothing(letter: Letter) -> Written:
    raise AssertionError(letter)


def test_what_somebody_takes_while_it_is_judged_stays_taken(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)
    run(office.look_and_send())
    (one,) = store.alerts.alerts(EVERYTHING)

    def judge(known: Any, _contacts: Any, _sent: Any) -> Plan:
        store.alerts.acknowledge(EVERYTHING, one.id, who="Anna", why="ticket 12", now_us=office.clock.now_us())
        return Plan(changed=tuple(replace(alert, size=11) for alert in known), happened=(), letters=())

    async def act() -> None:
        lease = await office.leader.lease()
        assert lease is not None
        store.alerts.look(lease, [one.id], judge, write_nothing, now_us=office.clock.now_us())

    run(act())
    (now,) = store.alerts.alerts(EVERYTHING)
    assert (now.state, now.who) == (AlertState.ACKNOWLEDGED, "Anna")


def test_who_is_not_the_leader_any_more_writes_nothing(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)

    async def act() -> None:
        lease = await office.leader.lease()
        assert lease is not None
        store.registry.take_lease("alerts", "another", now_us=lease.token + (1 << 60), until_us=1 << 61)
        with pytest.raises(LeaseLost):
            await office.teller.look(lease)
        with pytest.raises(LeaseLost):
            store.alerts.look(lease, (), lambda *_: Plan(changed=(), happened=(), letters=()), write_nothing, now_us=1)
        with pytest.raises(LeaseLost):
            store.alerts.add_once(lease, (), now_us=1)

    run(act())
    assert not store.alerts.tellings(EVERYTHING)


def test_a_mail_server_that_is_busy_is_tried_again_and_an_address_that_does_not_exist_is_not(
    store: Store, tmp_path: Path, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.contact(address="weg@las.example.nl")
    office.fail(10)
    post.answers, post.refused = ["451 4.3.0 later"], {"weg@las.example.nl"}

    run(office.look_and_send())
    assert not post.mails
    assert office.worker.counts == {("telling", "email", "put_off"): 1, ("telling", "email", "given_up"): 1}
    figures = store.alerts.figures()
    assert (figures.alerts, figures.waiting, figures.failing) == ({("failures", "open"): 1}, 1, 1)
    later = again(office, 31, post)
    run(later.send())
    assert later.worker.counts == {("telling", "email", "sent"): 1} and store.alerts.figures().waiting == 0
    assert [mail["To"] for mail in post.mails] == ["beheer@las.example.nl"]
    fates = {row["address"]: (row["attempts"], row["given_up_us"] is not None, row["error"]) for row in store.alerts.tellings(EVERYTHING)}
    assert fates["beheer@las.example.nl"] == (2, False, None)
    assert fates["weg@las.example.nl"] == (1, True, "the mail server does not take this address: 550 5.1.1 no such mailbox")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ca": None}, "certificate is not trusted"),
        ({"password": "wrong"}, "does not take our user and password"),
        ({"server": MailServer("localhost", 9, False, "")}, "cannot be used: "),
    ],
)
def test_a_mail_server_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, post: Post, change: dict[str, Any], says: str) -> None:
    office_mail = Mail(server=post.server, sender="kp@example.nl", password=tmp_path / "p", ca=CA)
    (tmp_path / "p").write_text(PASSWORD)
    (tmp_path / "wrong").write_text("wrong")
    change = {name: tmp_path / value if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(NotSent, match=says) as refused:
        run(replace(office_mail, **change).send(a_due()))
    assert not refused.value.final
    assert PASSWORD not in str(refused.value)


def test_mail_leaves_this_machine_encrypted_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "p").write_text(PASSWORD)
    with Post(tls=False) as plain:
        there = replace(plain.server, host="127.0.0.2", user="")  # not this machine, as far as the name says
        with pytest.raises(NotSent, match=r"offers no STARTTLS|cannot be used"):
            run(Mail(server=there, sender="kp@example.nl", ca=CA).send(a_due()))
        assert not plain.mails
        run(Mail(server=plain.server, sender="kp@example.nl", password=tmp_path / "p", ca=CA).send(a_due()))
        assert plain.encrypted == [False] and len(plain.mails) == 1, "a relay on this very machine"


def a_due(contact: Contact | None = None) -> Due:
    one = contact or Contact(id="c", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.EMAIL, address="a@example.nl")
    words = Words(portal="", ours=OURS, name=lambda oin: "")
    return Due(id="ABCDE-FGHJK", kind="test", contact=one, written=write_test(one, words), made_us=1_790_000_000_000_000)


def test_a_webhook_is_signed_and_tried_again_under_the_same_id(store: Store, tmp_path: Path) -> None:
    async def act() -> None:
        async with Hook(new_secret()) as hook:
            office = Office(store, tmp_path)
            office.contact(address=hook.url, secret=hook.secret)
            office.fail(10)
            hook.answers = [web.Response(status=503, headers={"Retry-After": "600"}), web.Response(status=500)]
            seen: list[str] = []
            await office.look_and_send()
            for seconds in (599, 1, 120):
                office = again(office, seconds)
                await office.send()
                seen.append(f"{len(hook.answers)} left, {len(hook.calls)} taken")
            assert seen == ["1 left, 0 taken", "0 left, 0 taken", "0 left, 1 taken"]
            ((id, value),) = hook.calls
            assert id == store.alerts.tellings(EVERYTHING)[0]["id"]
            assert hook.wrong == 0
            assert value["type"] == "koppelpunt.alert"
            (alert,) = value["data"]["alerts"]
            assert (alert["partner"], alert["code"], alert["count"]) == (LAS, "Client.DK0004", 10)
            assert value["data"]["party"] == LAS

    run(act())


@pytest.mark.parametrize(
    ("answer", "final", "says"),
    [
        (web.Response(status=410), True, "wants no more"),
        (web.Response(status=302, headers={"Location": "https://localhost:1/"}), False, "redirects, which is not followed"),
        (web.Response(status=404), False, r"not taken \(404\)"),
    ],
)
def test_what_a_webhooks_receiver_says_decides_whether_it_is_tried_again(answer: web.Response, final: bool, says: str) -> None:
    async def act() -> None:
        async with Hook(new_secret(), answers=[answer]) as hook:
            one = Contact(id="c", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.WEBHOOK, address=hook.url)
            webhook = Webhook(VAULT, allowed=NETWORKS, ca=CA)
            with pytest.raises(NotSent, match=says) as refused:
                await webhook.send(replace(a_due(one), secret=seal_secret(VAULT, "c", hook.secret)))
            assert refused.value.final is final
            await webhook.close()

    run(act())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://localhost:9/hook", "leads to an address inside this network"),
        ("https://169.254.169.254/latest", "is an address inside this network"),
        ("http://example.nl/hook", "not https"),
        ("https://user:secret@example.nl/hook", "not https"),
        ("https://0x7f000001/", "no name and no IP address"),
    ],
)
def test_a_webhook_leads_nowhere_inside_our_network(url: str, says: str) -> None:
    async def act() -> None:
        one = Contact(id="c", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.WEBHOOK, address=url)
        webhook = Webhook(VAULT)
        with pytest.raises(NotSent, match=says):
            await webhook.send(replace(a_due(one), secret=seal_secret(VAULT, "c", new_secret())))
        await webhook.close()

    run(act())


def test_a_secret_is_sealed_for_its_own_contact_and_is_in_no_repr(store: Store, tmp_path: Path) -> None:
    office, secret = Office(store, tmp_path), new_secret()
    one = office.contact(address="https://example.nl/hook", secret=secret)
    sealed = store.alerts.book.secret(one.id)
    assert sealed is not None and secret.encode() not in sealed
    with pytest.raises(NotSent, match="secret cannot be opened"):
        run(Webhook(VAULT).send(replace(a_due(replace(one, id="another")), secret=sealed)))
    assert secret not in repr(one) and "example.nl" not in repr(one)


def test_an_alert_that_somebody_took_is_told_to_nobody_else_and_the_journal_says_who(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.contact(OURS, "regie@example.nl")
    office.fail(10)
    run(office.look_and_send())
    (one,) = store.alerts.alerts(EVERYTHING)
    stranger = Scope(systems=frozenset({GEMEENTE}))  # type: ignore[arg-type]
    assert not store.alerts.alerts(stranger) and store.alerts.alert(stranger, one.id) is None
    with pytest.raises(CannotAcknowledge, match="There is no alert"):
        store.alerts.acknowledge(stranger, one.id, who="nobody", why="?", now_us=1)
    mine = Scope(systems=frozenset({LAS}))  # type: ignore[arg-type]
    taken = store.alerts.acknowledge(mine, one.id, who="Anna", why="ticket 12, leerling 999900006", now_us=office.clock.now_us())
    assert (taken.who, taken.why) == ("Anna", "ticket 12, leerling [*********]")
    with pytest.raises(CannotAcknowledge, match="was taken by Anna"):
        store.alerts.acknowledge(EVERYTHING, one.id, who="Bert", why="me too", now_us=1)
    later = again(office, 6 * 3_600, post)
    later.fail(10, name="more")
    run(later.look_and_send())
    assert len(post.mails) == 1
    assert [alert.state for alert in store.alerts.alerts(EVERYTHING)] == [AlertState.ACKNOWLEDGED]
    rows = run_sql(store, "SELECT schema, payload FROM event ORDER BY id")
    happened = [event for row in rows if (event := decode(row.payload, row.schema)).kind.startswith("alert_")]
    assert [(event.kind, event.actor.partition("-")[0]) for event in happened] == [
        ("alert_opened", "timetable"),
        ("alert_told", "timetable"),
        ("alert_acknowledged", "Anna"),
    ]


def test_what_nobody_takes_goes_on_to_the_next_contact_and_what_is_over_opens_again(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.contact(OURS, "regie@example.nl")
    told = []
    for hours in (0, 4, 3, 5, 12):
        office = again(office, hours * 3_600, post)
        if hours != 5:
            office.fail(10, name=f"{office.clock.ahead}")
        run(office.look_and_send())
        told.append([mail["To"] for mail in post.mails])
        post.mails.clear()
    assert told == [["beheer@las.example.nl"], ["regie@example.nl"], [], [], ["beheer@las.example.nl"]]
    (one,) = store.alerts.alerts(EVERYTHING)
    assert one.times == 2


def test_a_group_that_is_with_its_partner_is_not_told_until_the_agreed_day_is_over(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)
    now_us, today = office.clock.now_us(), office.clock.now().date()
    key = GroupKey(code="Client.DK0004", owner="supplier", dienst="vva", system=LAS, receiver_system="")
    store.board.with_partner(key, ticket="T-12", agreed_on=today, who="Anna", now_us=now_us)
    run(office.look_and_send())
    assert [(one.state, one.who, one.why) for one in store.alerts.alerts(EVERYTHING)] == [(AlertState.ACKNOWLEDGED, "ticket", "T-12")]
    assert not post.mails
    tomorrow = again(office, 20 * 3_600, post)
    tomorrow.fail(10, name="tomorrow")
    run(tomorrow.look_and_send())
    assert [mail["To"] for mail in post.mails] == ["beheer@las.example.nl"]


def test_a_store_that_is_older_than_its_alerts_brings_no_old_news(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    old_us = office.clock.now_us() - 40 * 86_400_000_000
    row = f"('Client.DK0004', 'supplier', 'vva', '{LAS}', '', 900000, {old_us}, {old_us}, 'r')"
    columns = "code, owner, dienst, system, receiver_system, count, first_us, last_us, example"
    run_sql(store, f"INSERT INTO failure_group ({columns}) VALUES {row}")
    run(office.look_and_send())
    assert not post.mails
    run_sql(store, "UPDATE failure_group SET count = count + 7, last_us = :at", at=office.clock.now_us())
    run(office.look())
    (one,) = store.alerts.alerts(EVERYTHING)
    assert one.size == 7


def test_what_ails_endpoints_mailboxes_and_our_own_workers_is_seen(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    now_us, day = office.clock.now_us(), 86_400_000_000
    old = now_us - 2 * day
    lease = lead(store, now_us=old)
    route(store, *take(store, "1", received_us=old), now_us=old)
    deliver(store, lease, at_us=old)
    run_sql(
        store,
        "INSERT INTO lane (lane, state, failures, probes, probe_at_us, code, at_us, who) "
        f"VALUES ('push {LAS} https://a.example', 'held', 9, 6, {now_us}, 'ENDPOINT_UNREACHABLE', {now_us}, 'push-1')",
    )
    run_sql(store, f"UPDATE event SET at_us = {old}")
    run(office.look())
    found = {(str(one.cause.kind), one.cause.partner, one.cause.about) for one in store.alerts.alerts(EVERYTHING)}
    assert found == {("paused", LAS, ""), ("unfetched", GEMEENTE, ""), ("behind", OURS, "audit")}


def test_a_partner_gets_one_digest_a_day_and_one_report_a_week_with_a_csv(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.clock.ahead += timedelta(days=(1 - office.clock.now().weekday()) % 7)  # a Tuesday
    office.contact()
    office.contact(GEMEENTE, "beheer@gemeente.example.nl")
    office.contact(LAS, "geen@las.example.nl", digest=False)
    office.fail(10, sender="0000000700025BE00000")
    keep(store, now_us=office.clock.now_us())
    monday = office.clock.now().date() - timedelta(days=1)

    async def act(one: Office) -> list[str]:
        post.mails.clear()
        for _ in range(3):
            await one.daily()
        await one.send()
        return sorted(f"{mail['To'].split('@')[1]} {mail['Subject'].split()[1]}" for mail in post.mails)

    run(office.look())
    assert run(act(office)) == ["las.example.nl Bericht", "las.example.nl Bericht", "las.example.nl Dagoverzicht"]
    digest = next(post.text(n) for n, mail in enumerate(post.mails) if "Dagoverzicht" in mail["Subject"])
    assert "Openstaand: 0; Uitval: 10" in digest and "10 x Client.DK0004: Bericht niet conform XSD" in digest
    assert "Er staan geen meldingen open" not in digest
    assert not run(act(again(office, 2 * 3_600, post))), "one a day"
    in_a_week = again(office, 6 * 86_400, post)
    assert run(act(in_a_week)) == ["las.example.nl Dagoverzicht", "las.example.nl Weekoverzicht"]
    at = next(n for n, mail in enumerate(post.mails) if "Weekoverzicht" in mail["Subject"])
    assert f"{monday:%d-%m} t/m {monday + timedelta(days=6):%d-%m-%Y}" in post.mails[at]["Subject"]
    assert "vva: aangeleverd 0, geweigerd 10, geleverd 0, uitgevallen 0" in post.text(at)
    assert "10 x Client.DK0004: Bericht niet conform XSD (vva); nog open: 10; aan zet: leverancier" in post.text(at)
    (attached,) = post.mails[at].iter_attachments()
    assert (attached.get_content_type(), str(attached.get_filename())[:11]) == ("text/csv", "koppelpunt-")
    csv = attached.get_content()
    assert f"{LAS},{monday},sent_refused,vva,,,10" in csv and f"{LAS},{monday},fallen,vva,Client.DK0004,supplier,10" in csv
    assert run(act(again(in_a_week, 86_400, post))) == ["las.example.nl Dagoverzicht"]


def test_a_share_is_of_what_was_handed_in(store: Store, tmp_path: Path, post: Post) -> None:
    """Nineteen of four hundred are no alert; of forty they are."""
    office = Office(store, tmp_path, post)
    at_us = office.clock.now_us()
    hand_in(store, *(a_message(str(n), received_us=at_us, dienst="vva") for n in range(381)))
    office.fail(19)
    keep(store, now_us=at_us)
    run(office.look())
    assert not store.alerts.alerts(EVERYTHING)
    run_sql(store, "UPDATE traffic SET handed_in = 0 WHERE handed_in > 0")
    run(office.look())
    assert [one.size for one in store.alerts.alerts(EVERYTHING)] == [19]


def test_a_digest_waits_until_quiet_hours_are_over(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact(quiet=parse_quiet("00:00-20:00"))
    office.fail(10)
    keep(store, now_us=office.clock.now_us())
    assert run(office.daily()) == 0
    assert run(again(office, 9 * 3_600, post).daily()) == 1


def test_no_mail_has_anything_of_the_shape_of_a_personal_number(store: Store, tmp_path: Path, post: Post) -> None:
    """Whatever stands in names, lanes, reasons and counts."""
    office = Office(store, tmp_path, post)
    office.words = replace(office.words, name=lambda oin: "Leerling 999900006 <b>&</b>")
    office.teller._words = office.words
    office.contact()
    office.contact(OURS, "regie@example.nl")
    office.fail(10)
    at_us = office.clock.now_us()
    columns = "code, owner, dienst, system, receiver_system, count, first_us, last_us, example"
    run_sql(
        store,
        f"INSERT INTO failure_group ({columns}) VALUES "
        f"('Client.DK0004', 'supplier', '123456782', '{LAS}', '', 123456782, {at_us}, {at_us}, '999900006')",
    )
    lane = "push x https://a.example/999900006"
    run_sql(
        store,
        "INSERT INTO lane (lane, state, failures, probes, probe_at_us, code, at_us, who) "
        f"VALUES ('{lane}', 'held', 9, 9, NULL, NULL, {at_us}, 'operator')",
    )

    async def act() -> None:
        await office.look()
        await office.daily()
        await office.send()

    run(act())
    assert len(post.mails) >= 4
    for n, mail in enumerate(post.mails):
        whole = f"{mail['Subject']}\n{post.text(n)}\n{post.html(n)}"
        whole += "".join(str(part.get_content()) for part in mail.iter_attachments())
        assert not PERSONAL_NUMBER.search(whole), redact(whole)
        assert "<b>" not in post.html(n)
    assert "[*********]" in post.text()
    for row in run_sql(store, "SELECT subject, content FROM telling"):
        assert not PERSONAL_NUMBER.search(row.subject + json.dumps(json.loads(row.content)["data"]))


def test_old_messages_lose_their_content_and_are_forgotten_after_a_year(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)
    run(office.look_and_send())
    store.alerts.forget(now_us=office.clock.now_us() + 91 * 86_400_000_000)
    assert [row.content for row in run_sql(store, "SELECT content FROM telling")] == [""]
    store.alerts.forget(now_us=office.clock.now_us() + 367 * 86_400_000_000)
    assert not store.alerts.tellings(EVERYTHING)


def test_a_contact_that_ended_is_told_nothing_more_not_even_what_waits(store: Store, tmp_path: Path, post: Post) -> None:
    office = Office(store, tmp_path, post)
    one = office.contact()
    office.fail(10)
    run(office.look())
    assert store.alerts.book.end(one.id, who="test", now_us=1) == one
    assert store.alerts.book.end(one.id, who="test", now_us=1) is None
    run(office.send())
    assert not post.mails
    assert [row["error"] for row in store.alerts.tellings(EVERYTHING)] == ["the contact has ended"]


def test_the_loop_looks_writes_and_sends_by_itself_outlives_a_mistake_and_stops_when_told(
    store: Store, tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.fail(10)
    looks: list[int] = []
    look = store.alert_facts.look

    def at_first_wrong(*given: Any, **named: Any) -> Any:
        looks.append(1)
        if len(looks) == 1:
            office.clock.ahead += timedelta(seconds=31)  # so that the next look is due
            raise ZeroDivisionError
        return look(*given, **named)

    monkeypatch.setattr(store.alert_facts, "look", at_first_wrong)

    async def act() -> None:
        running = asyncio.create_task(office.teller.run())
        async with asyncio.timeout(60):
            while not [row for row in store.alerts.tellings(EVERYTHING) if row["sent_us"]]:
                await asyncio.sleep(0.05)
        office.worker.stop()
        await running

    run(act())
    assert "alert" in [row["kind"] for row in store.alerts.tellings(EVERYTHING)]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["alerts_failed"]
    assert office.worker.handled == len(post.mails)
    assert store.registry.take_lease("alerts", "the next one", now_us=office.clock.now_us(), until_us=1 << 62), "it was given up"


def test_a_party_may_be_told_of_what_is_its_own() -> None:
    register = read_register(
        {
            "boards": [{"oin": "00000003000000010000", "name": "Bestuur"}],
            "organisations": [
                {"oin": "0000000700025BE00000", "name": "School", "kind": "school", "board": "00000003000000010000"},
                {"oin": "0000000700004XY00000", "name": "Andere", "kind": "school"},
            ],
            "systems": [{"oin": LAS, "name": "LAS", "supplier": "Een"}],
        },
        version=1,
    )
    assert scope_of(LAS, register) == Scope(systems=frozenset({Oin(LAS)}))
    school, board = Oin("0000000700025BE00000"), Oin("00000003000000010000")
    assert scope_of(school, register) == Scope(organisations=frozenset({school}))
    assert scope_of(board, register) == Scope(organisations=frozenset({school, board}))


def test_a_digest_that_cannot_be_made_keeps_nobody_else_from_theirs(
    store: Store, tmp_path: Path, post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    office = Office(store, tmp_path, post)
    office.contact()
    office.contact(OURS, "regie@example.nl")
    office.fail(10)
    keep(store, now_us=office.clock.now_us())
    tally = store.board.tally
    wrong = Scope(systems=frozenset({Oin(LAS)}))
    monkeypatch.setattr(store.board, "tally", lambda scope, *a, **kw: 1 / 0 if scope == wrong else tally(scope, *a, **kw))
    assert run(office.daily()) >= 1
    assert [row["party"] for row in store.alerts.tellings(EVERYTHING) if row["kind"] == "digest"] == [OURS]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["digest_failed"]
    assert run(office.daily()) == 0
