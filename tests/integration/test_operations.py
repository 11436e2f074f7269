"""What an operator sees of a process: is it well, can it work, and what does it count. Real stores, real sockets."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters import metrics, operations, pki, timekeeping
from adapters.operations import Operations
from adapters.store import Store, open_store
from adapters.store.registry import StoredCrl
from broker_config.settings import Settings
from routing.work import HandInResult
from tests.support import signing as s
from tests.support.store import MAILBOX, NOW, SECOND, a_refusal, confirm, deliver, fresh_url, hand_in, lead, route, take, waiting_delivery
from workers.clock import Clock
from workers.loop import Worker

FIRST = 19_464


def settings(tmp_path: Path, **changes: str) -> Settings:
    ours = s.party("hub", oin=s.HUB)
    given = {"KOPPELPUNT_KEY": str(ours.key), "KOPPELPUNT_CERT": str(ours.certificate), "KOPPELPUNT_METRICS_PORT": str(FIRST)}
    return Settings.from_environment(given | changes, home=tmp_path)


def a_worker(store: Store, name: str = "gateway") -> Worker:
    worker = Worker(name, store.registry, Clock())
    worker.turned_at = time.monotonic()
    return worker


def load_register(store: Store) -> None:
    store.registry.save_register({}, who="test", now_us=NOW)


def get(address: str | None, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{page}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def figures(text: str) -> dict[str, float]:
    """`name{labels}` -> value."""
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}


def reasons(operations: Operations) -> dict[str, Any]:
    page = operations.readiness()
    document = json.loads(page.body)
    assert (page.status == 200) == document["ready"] == (not document["reasons"])
    operations._ready._looked_at = float("-inf")
    return dict(document["reasons"])


@pytest.fixture
def away() -> Iterator[Store]:
    """A store that nobody answers for."""
    store = open_store("postgresql+psycopg://nobody@127.0.0.1:1/none", upgrade=False)
    yield store
    store.close()


def test_a_process_that_has_everything_is_ready_and_one_that_is_told_to_stop_is_not(store: Store, tmp_path: Path) -> None:
    load_register(store)
    worker = a_worker(store)
    operations = Operations(settings(tmp_path), store, worker)
    assert reasons(operations) == {}
    worker.stop()
    assert list(reasons(operations)) == ["stopping"]


def test_each_reason_why_a_process_is_not_ready_is_named(store: Store, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    us = int(now.timestamp() * 1e6)
    operations = Operations(settings(tmp_path, KOPPELPUNT_CRL="a.pem,https://u:geheim@crl.example/b.crl"), store, a_worker(store))
    connection = SimpleNamespace(problem=None, blocked=None)
    operations.connections.append(connection)
    assert list(reasons(operations)) == ["register", "crls"]
    load_register(store)
    assert store.registry.save_crl(StoredCrl("a.pem", b"", us, us + 60 * SECOND, us), known=None)
    assert reasons(operations) == {"crls": "the CRL https://u:***@crl.example/b.crl was not fetched yet"}
    expired = StoredCrl("https://u:geheim@crl.example/b.crl", b"", us - 9 * SECOND, us - SECOND, us)
    assert store.registry.save_crl(expired, known=None)
    assert "expired on" in reasons(operations)["crls"]
    assert store.registry.save_crl(replace(expired, this_update_us=us, next_update_us=us + 60 * SECOND), known=expired)
    connection.problem = "The broker at mq did not answer."
    assert reasons(operations) == {"broker": "The broker at mq did not answer."}
    connection.problem, connection.blocked = None, "low on disk"
    assert reasons(operations) == {"broker": "the broker takes no messages now (low on disk)"}


def test_a_crl_is_seen_whatever_moment_it_was_fetched_at(store: Store) -> None:
    """Verifiers read the lists again when the stamp changes."""
    stamps = [store.registry.crl_stamp()]

    def saved(source: str, fetched: int, *, updated: int = NOW) -> None:
        known = next((crl for crl in store.registry.crls() if crl.source == source), None)
        assert store.registry.save_crl(StoredCrl(source, b"", updated, updated + 60 * SECOND, fetched), known=known)
        stamps.append(store.registry.crl_stamp())

    saved("b.pem", NOW)
    saved("a.pem", NOW - SECOND)  # its download began earlier and took longer
    saved("b.pem", NOW - 9 * SECOND)  # the clock was put back
    saved("b.pem", NOW - 9 * SECOND, updated=NOW + 1)
    assert len(set(stamps)) == len(stamps) == 5
    assert store.registry.crl_stamp() == stamps[-1]


def test_a_crl_replaces_only_the_one_it_was_compared_with(store: Store) -> None:
    known = StoredCrl("a.pem", b"1", NOW, NOW + SECOND, NOW)
    assert store.registry.save_crl(known, known=None)
    for other in (None, *(replace(known, **change) for change in ({"pem": b"2"}, {"fetched_us": NOW - 1}, {"source": "b.pem"}))):
        assert not store.registry.save_crl(replace(known, pem=b"3"), known=other)
    assert store.registry.crls() == [known]
    assert store.registry.save_crl(replace(known, pem=b"3"), known=known)
    assert store.registry.crls() == [replace(known, pem=b"3")]


@pytest.mark.parametrize(("days", "word"), [(366, "expired on"), (-400, "not valid before")])
def test_a_process_whose_certificate_is_not_valid_is_not_ready(tmp_path: Path, days: int, word: str) -> None:
    store = open_store(fresh_url("sqlite", tmp_path))
    load_register(store)
    then = datetime.now(UTC) + timedelta(days=days)
    operations = Operations(settings(tmp_path), store, a_worker(store), now=lambda: then)
    assert "certificate" not in reasons(operations), "it uses none"
    operations.watch_certificate(lambda: pki.read_certificate(s.party("hub", oin=s.HUB).certificate))
    assert word in reasons(operations)["certificate"]
    store.close()


def test_without_its_store_a_process_is_not_ready_and_still_shows_what_it_counted(away: Store, tmp_path: Path) -> None:
    worker = a_worker(away, "timetable")
    operations = Operations(settings(tmp_path), away, worker)
    worker.metrics_address = operations.start()
    try:
        status, body = get(worker.metrics_address, "/readyz")
        assert status == 503
        assert json.loads(body)["reasons"]["store"].startswith("the store is unavailable")
        assert get(worker.metrics_address, "/healthz")[0] == 200
        status, body = get(worker.metrics_address, "/metrics")
        assert (status, figures(body)["koppelpunt_store_up"]) == (200, 0)
        assert figures(body)["koppelpunt_in_hand"] == 0
        assert get(worker.metrics_address, "/targets")[0] == 503
    finally:
        operations.close()


def test_a_process_whose_event_loop_does_not_turn_is_ill_and_says_so_itself(store: Store, tmp_path: Path) -> None:
    worker = a_worker(store)
    operations = Operations(settings(tmp_path), store, worker)
    worker.metrics_address = operations.start()
    try:
        assert get(worker.metrics_address, "/healthz")[0] == 200
        worker.turned_at -= 31
        status, body = get(worker.metrics_address, "/healthz")
        assert (status, json.loads(body)["healthy"]) == (503, False)
        assert get(worker.metrics_address, "/elsewhere")[0] == 404
    finally:
        operations.close()


# -- clients that are slow -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[tuple[Operations, str]]:
    """A process and its address."""
    store = open_store(fresh_url("sqlite", tmp_path))
    operations = Operations(settings(tmp_path), store, a_worker(store))
    address = operations.start()
    assert address is not None
    yield operations, address
    operations.close()
    store.close()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def trickle_until_closed(connection: socket.socket, head: bytes) -> None:
    """A byte at a time, for as long as the other side is there."""
    connection.sendall(head)
    connection.settimeout(0.05)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            try:
                connection.sendall(b"x")
                assert connection.recv(1) == b""
            except ConnectionError:
                pass
            return
    raise AssertionError("it was listened to for ever")


@pytest.mark.parametrize("head", [b"", b"GET /healthz HTTP/1.1\r\nX: "], ids=["in its first line", "in its headers"])
def test_a_client_that_trickles_is_hung_up_on_and_others_are_served_meanwhile(
    shown: tuple[Operations, str], monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    _, address = shown
    monkeypatch.setattr(operations, "_READ_S", 2.0)
    with connect(address) as slow:
        slow.sendall(head)
        assert get(address, "/healthz")[0] == 200
        trickle_until_closed(slow, b"")
    assert get(address, "/healthz")[0] == 200


def test_clients_that_send_nothing_take_all_places_for_as_long_as_a_request_may_take(
    shown: tuple[Operations, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = shown
    monkeypatch.setattr(operations, "_READ_S", 2.0)
    silent = [connect(address) for _ in range(operations._AT_A_TIME)]
    try:
        with connect(address) as one_more, contextlib.suppress(ConnectionError):
            assert one_more.recv(1) == b""
        assert [one.recv(1) for one in silent] == [b""] * len(silent)
    finally:
        for one in silent:
            one.close()
    assert get(address, "/healthz")[0] == 200


def test_a_page_that_takes_long_to_make_is_not_cut_off(shown: tuple[Operations, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store hangs the metrics are wanted most; and the request was there in time."""
    made, address = shown
    monkeypatch.setattr(operations, "_READ_S", 0.2)

    def slow() -> operations.Page:
        time.sleep(0.6)
        return operations.Page(200, b"{}")

    made._server.pages = {"/metrics": slow}  # type: ignore[union-attr]
    assert get(address, "/metrics") == (200, "{}")


def test_nothing_of_a_request_that_was_answered_is_left(shown: tuple[Operations, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "_READ_S", 3_600.0)
    before = threading.active_count()
    for _ in range(20):
        assert get(shown[1], "/healthz")[0] == 200
    until = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < until, threading.enumerate()
        time.sleep(0.01)


def test_each_process_takes_the_next_free_port_and_says_where_the_others_are(store: Store, tmp_path: Path) -> None:
    workers = [a_worker(store, name) for name in ("intake", "route")]
    shown = [Operations(settings(tmp_path), store, worker) for worker in workers]
    try:
        for worker, operations in zip(workers, shown, strict=True):
            worker.metrics_address = operations.start()
            worker._seen()
        addresses = [worker.metrics_address for worker in workers]
        assert len(set(addresses)) == 2
        for address, worker in zip(addresses, workers, strict=True):
            assert json.loads(get(address, "/healthz")[1])["id"] == worker.id
            found = {target["labels"]["worker"]: target["targets"] for target in json.loads(get(address, "/targets")[1])}
            assert found == {"intake": [addresses[0]], "route": [addresses[1]]}
    finally:
        for operations in shown:
            operations.close()
    assert Operations(settings(tmp_path, KOPPELPUNT_METRICS_PORT="0"), store, workers[0]).start() is None


def test_a_process_that_gets_no_port_says_so_and_works_on(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert Operations(settings(tmp_path, KOPPELPUNT_METRICS_HOST="192.0.2.1"), store, a_worker(store)).start() is None
    assert [record.message for record in caplog.records] == ["metrics_cannot_listen"]


def test_what_the_gateway_answered_is_counted_by_system_and_code(store: Store, tmp_path: Path) -> None:
    worker = a_worker(store)
    operations = Operations(settings(tmp_path), store, worker)
    assert operations.requests is not None
    for code, seconds in ((None, 0.004), (None, 0.03), ("Client.DK0004", 0.2)):
        operations.requests(s.LAS, 500 if code else 200, code, seconds)
    operations.requests(None, 404, None, 0.001)
    facts: dict[str, Any] = {"reference": "r", "received_us": 1}
    results = [HandInResult(accepted=True, **facts), HandInResult(accepted=False, code="Client.DK0004", **facts)]
    worker.count_hand_ins("https", results)
    worker.counts.update([("delivery", "delivered")])
    operations.watch_certificate(lambda: pki.read_certificate(s.party("hub", oin=s.HUB).certificate))
    found = figures(operations.metrics().body.decode())
    assert found[f'koppelpunt_requests_total{{code="",status="200",system="{s.LAS}"}}'] == 2
    assert found[f'koppelpunt_requests_total{{code="Client.DK0004",status="500",system="{s.LAS}"}}'] == 1
    assert found['koppelpunt_requests_total{code="",status="404",system=""}'] == 1
    assert found['koppelpunt_request_seconds_bucket{le="0.05"}'] == 3
    assert found['koppelpunt_hand_ins_total{code="accepted",via="https"}'] == 1
    assert found['koppelpunt_hand_ins_total{code="Client.DK0004",via="https"}'] == 1
    assert found['koppelpunt_delivery_attempts_total{outcome="delivered"}'] == 1
    assert found["koppelpunt_own_certificate_left_seconds"] > 300 * 86_400
    assert not [name for name in found if name.startswith("koppelpunt_outbox")]


def test_figures_about_the_store_say_what_is_open_and_what_fell_out(store: Store, tmp_path: Path) -> None:
    load_register(store)
    lease = lead(store)
    delivered = take(store, "1", "2", "3", received_us=NOW - 100 * SECOND)
    route(store, *delivered)
    claimed = deliver(store, lease)
    confirm(store, claimed[0].id)
    confirm(store, claimed[1].id, confirmed=False, code="NOT_ENROLLED", owner="receiver", reason="not here")
    route(store, *take(store, "4", received_us=NOW - 50 * SECOND))
    route(store, *take(store, "5"), to=[waiting_delivery()])
    take(store, "6", "7", received_us=NOW - 20 * SECOND)
    hand_in(store, a_refusal())
    assert store.registry.save_crl(StoredCrl("a.pem", b"", NOW, NOW + 60 * SECOND, NOW - 5 * SECOND), known=None)
    found = store.figures()
    assert (found.unrouted, found.depth) == (2, 3)
    assert found.deliveries == {"routed": 1, "postponed": 0, "released": 0, "delivered": 1}
    assert found.waiting == {("ROUTE_NO_ENDPOINT", "receiver"): 1}
    assert found.lanes == {"routed": 1, "open": 1, "postponed": 0}
    assert found.oldest_us == NOW - 50 * SECOND
    assert found.unchained > 10
    store.journal.chain(lead(store, "audit"), now_us=NOW)
    assert store.figures().unchained == 0
    assert store.figures().failures == {("NOT_ENROLLED", "receiver"): 1, ("Client.DK0004", "supplier"): 1}
    store.registry.set_note("register_asked", json.dumps({"register": "other", "trouble": "it is away", "answered_us": NOW - 90 * SECOND}))
    of_store = metrics.OfStore(store, lambda: datetime.fromtimestamp(NOW / 1e6, UTC))
    shown = {sample.name: sample.value for family in of_store.collect() for sample in family.samples}
    assert (shown["koppelpunt_oldest_waiting_seconds"], shown["koppelpunt_crl_age_seconds"], shown["koppelpunt_crl_left_seconds"]) == (
        50,
        5,
        60,
    )
    assert (shown["koppelpunt_register_away"], shown["koppelpunt_register_answered_age_seconds"]) == (1, 90)
    assert (shown["koppelpunt_tellings_waiting"], shown["koppelpunt_tellings_failing"]) == (0, 0)
    take(store, "8")
    again = Counter({sample.name: sample.value for family in of_store.collect() for sample in family.samples})
    assert again["koppelpunt_messages_unrouted"] == 2, "figures hold for ten seconds"
    assert MAILBOX not in str(shown)


# -- the clock ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.postgres
@pytest.mark.parametrize(("ahead_s", "reason"), [(0.0, False), (0.5, False), (5.0, True), (-5.0, True)])
def test_a_clock_that_differs_from_the_database_servers_by_more_than_a_second_fails_readiness(
    tmp_path: Path, ahead_s: float, reason: bool
) -> None:
    store = open_store(fresh_url("postgresql", tmp_path))
    load_register(store)
    operations = Operations(settings(tmp_path), store, a_worker(store), now=lambda: datetime.now(UTC) + timedelta(seconds=ahead_s))
    found = reasons(operations)
    assert list(found) == (["clock"] if reason else [])
    if reason:
        assert f"differ by {'+' if ahead_s > 0 else '-'}" in found["clock"]
    ignored = Operations(settings(tmp_path, KOPPELPUNT_CLOCK="none"), store, a_worker(store), now=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    assert "clock" not in reasons(ignored)
    store.close()


def test_what_lies_within_the_round_trip_is_not_held_against_a_clock() -> None:
    assert timekeeping.Offset(1.2, 0.1).too_much
    assert timekeeping.Offset(-1.2, 0.1).too_much
    assert not timekeeping.Offset(1.2, 0.3).too_much


def test_the_kernels_word_counts_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(fresh_url("sqlite", tmp_path))
    load_register(store)
    operations = Operations(settings(tmp_path, KOPPELPUNT_CLOCK="store,kernel"), store, a_worker(store))
    real = timekeeping.kernel_offset()
    assert real is None or abs(real.seconds) < 1
    for said, reason in ((None, "no time service"), (timekeeping.Offset(0.0, 0.01), None), (timekeeping.Offset(-1.5, 0.01), "-1.50 s off")):
        monkeypatch.setattr(timekeeping, "kernel_offset", lambda said=said: said)
        assert (reason or "None") in str(reasons(operations).get("clock"))
    store.close()
