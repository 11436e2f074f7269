"""A hub follows another hub's register by its signed snapshots: a real gateway hands them out, over mutual TLS."""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import run as program
from adapters import pki
from adapters.errors import UsageError
from adapters.snapshot import maker
from adapters.snapshot_http import PATH
from adapters.store import Store
from adapters.store.followed import write_followed
from broker_config.settings import Settings
from routing.following import Followed, Made
from routing.register_book import RowChange
from routing.register_wishes import RuleBroken
from routing.work import StoreUnavailable
from schemas.events import decode
from tests.support.exchange import DOCUMENT, HUB, LAS, SIS
from tests.support.gateways import Gateways, wait
from tests.support.store import run_sql
from workers.clock import Clock, micros
from workers.register_cache import RegisterCache
from workers.snapshots import chore, follow_now, unfollow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Keeps the register. The system of the LAS is the hub that follows it."""
    with Gateways(tmp_path_factory.mktemp("hub"), settings={"KOPPELPUNT_FOLLOWERS": LAS}) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(hub: Gateways) -> None:
    hub.store.registry.save_register(DOCUMENT, who="test", now_us=micros(Clock().now()))
    hub.store.snapshots.put(Made(0, 0, 0), b"")  # so that a new one is made


def job(settings: Settings, store: Store) -> Any:
    """What the timetable does every half minute."""
    follower = partial(program._follower, settings, store, Clock(), "timetable")
    return chore(settings, store.register, store.snapshots, Clock(), follower=follower, maker=maker)


def publish(hub: Gateways) -> None:
    asyncio.run(job(replace(hub.settings, snapshot_hours=24), hub.store)())


def settings_of(hub: Gateways, party: pki.Party | None = None, *, oin: str = HUB) -> Settings:
    party = party or hub.las
    environment = {
        "KOPPELPUNT_KEY": str(party.key),
        "KOPPELPUNT_CERT": str(party.certificate),
        "KOPPELPUNT_TRUST": str(hub.folder / "ca.pem"),
        "KOPPELPUNT_FOLLOW_URL": f"https://localhost:{hub.port}{PATH}",
        "KOPPELPUNT_FOLLOW_OIN": oin,
    }
    return Settings.from_environment(environment, home=hub.home)


def follow(hub: Gateways, store: Store, **how: Any) -> None:
    asyncio.run(job(settings_of(hub, **how), store)())


def noted(store: Store, followed: Followed) -> None:
    """How far it says that it is."""
    with store.database.write() as tx:
        write_followed(tx, followed, "test")


def says(store: Store) -> dict[str, Any]:
    """The register that is decided with, in a fixed order; tokens of mandates aside, which do not travel."""
    document = RegisterCache(store.register)().to_document()
    plain = {name: [{field: value for field, value in row.items() if field != "token"} for row in rows] for name, rows in document.items()}
    return {name: sorted(rows, key=str) for name, rows in plain.items()}


def why_not(caplog: pytest.LogCaptureFixture) -> str:
    found = [record.error for record in caplog.records if record.message == "register_not_followed"]
    assert found, "it was followed"
    return str(found[-1])


def test_a_followed_register_is_the_same_here_and_each_change_comes_with_who_and_why(hub: Gateways, store: Store) -> None:
    publish(hub)
    follow(hub, store)
    assert says(store) == says(hub.store)
    ended = copy.deepcopy(DOCUMENT)
    ended["mandates"] = [{**row, "until": "2027-07-31"} for row in ended["mandates"]]
    hub.store.registry.save_register(ended, who="school", now_us=micros(Clock().now()))
    publish(hub)
    follow(hub, store)
    assert says(store) == says(hub.store)
    assert {row["until"] for row in says(store)["mandates"]} == {"2027-07-31"}
    last = store.register.versions()[-1]
    assert last["who"] == "timetable"
    assert last["why"] == f"snapshot of the register of {HUB}, version {hub.store.register.newest()}"
    told = [decode(bytes(row.payload)) for row in run_sql(store, "SELECT payload FROM event ORDER BY id")]
    assert [event.details["issuer"] for event in told if event.kind == "register_followed"] == [HUB, HUB]


#: Takes a snapshot over and is killed when the rows are there and the note is not yet.
KILLED = """
import os, signal, sys
from adapters.store import open_store, register
from routing.following import Followed
register.write_followed = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store = open_store(sys.argv[1], upgrade=False)
document = {"boards": [{"oin": "00000003000000010000", "name": "Stichting Rijn"}]}
store.register.save(document, who="timetable", why="", now_us=1, followed=lambda ours: Followed(
    issuer="00000003000000010000", version=7, ours=ours, mark="x", fetched_us=1, valid_until_us=1))
"""


def test_who_dies_while_taking_over_a_snapshot_leaves_the_register_as_it_was(hub: Gateways, store: Store) -> None:
    """Else it would hold another one's rows as if they were its own, and never expire."""
    publish(hub)
    follow(hub, store)
    before, known = says(store), store.register.followed()
    url = store.database.url.render_as_string(hide_password=False)
    died = subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert says(store) == before and store.register.followed() == known
    assert len(store.register.versions()) == 1
    store.database.engine.dispose()
    store.register.save({}, who="timetable", why="", now_us=1, followed=lambda ours: replace(known, version=9, ours=ours))  # type: ignore[type-var]
    after = store.register.followed()
    assert after is not None and (after.version, after.ours) == (9, 2) and store.register.newest() == 2


def test_what_was_taken_over_is_not_sent_again_until_it_is_another_one(hub: Gateways, store: Store) -> None:
    publish(hub)
    publish(hub)
    follow(hub, store)
    before, known = hub.log().count("status=304"), store.register.followed()
    follow(hub, store)
    wait(lambda: hub.log().count("status=304") == before + 1)
    assert store.register.followed() == known
    assert len(store.register.versions()) == 1


def test_a_snapshot_is_signed_again_when_half_its_time_is_over(hub: Gateways, store: Store) -> None:
    publish(hub)
    first = hub.store.snapshots.made()
    publish(hub)
    assert hub.store.snapshots.made() == first is not None
    raw = hub.store.snapshots.raw(first)
    hub.store.snapshots.put(replace(first, until_us=micros(Clock().now()) + 11 * 3_600_000_000), raw or b"")
    publish(hub)
    second = hub.store.snapshots.made()
    assert second is not None and second.version == first.version and second.made_us > first.made_us
    follow(hub, store)
    followed = store.register.followed()
    assert followed is not None and abs(followed.valid_until_us - second.until_us) <= 1_000_000


def test_a_copy_is_used_while_the_register_is_away_and_not_after_its_time(
    hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    publish(hub)
    follow(hub, store)
    away = replace(settings_of(hub), follow_url="https://localhost:1/osr/api/v2/snapshot")
    asyncio.run(job(away, store)())
    assert "does not answer" in why_not(caplog)
    assert RegisterCache(store.register)().mandates_of(DOCUMENT["mandates"][0]["organisation"], "proef")
    followed = store.register.followed()
    assert followed is not None
    noted(store, replace(followed, valid_until_us=micros(Clock().now()) - 1))
    cache = RegisterCache(store.register)
    with pytest.raises(StoreUnavailable, match=f"the copy of the service register of {HUB} was valid until"):
        cache()
    hub.store.registry.save_register({**DOCUMENT, "endpoints": []}, who="test", now_us=micros(Clock().now()))
    publish(hub)
    follow(hub, store)
    assert not cache.newest().to_document()["endpoints"]


def test_a_gateway_whose_copy_has_expired_says_come_again_and_takes_in_nothing(hub: Gateways) -> None:
    assert hub.ask(hub.sender.message())[0] == 200
    publish(hub)
    made = hub.store.snapshots.made()
    assert made is not None
    expired: dict[str, Any] = {
        "issuer": HUB,
        "version": 1,
        "ours": 1,
        "mark": "x",
        "fetched_us": 0,
        "valid_until_us": micros(Clock().now()) - 1,
    }
    noted(hub.store, Followed(**expired))
    message = hub.sender.message()
    wait(lambda: b"DK0051" in hub.ask(message)[1], within_s=40)
    asyncio.run(job(replace(hub.settings, snapshot_hours=24), hub.store)())
    assert hub.store.snapshots.made() == made, "another's register is not ours to sign"
    assert b"DK0051" in hub.ask(message)[1], "a setting that is gone gives no register back"
    assert unfollow(hub.store.register, hub.store.snapshots) == 0
    wait(lambda: hub.ask(message)[0] == 200)


def test_a_copy_is_not_changed_here(hub: Gateways, store: Store) -> None:
    publish(hub)
    follow(hub, store)
    row = store.register.rows("systems")[0]
    with pytest.raises(RuleBroken, match=f"follows that of {HUB}; change it there"):
        store.register.change([RowChange("systems", row["oin"], {**row, "name": "x"})], who="test", why="", now_us=micros(Clock().now()))
    with pytest.raises(RuleBroken):
        store.registry.save_register({}, who="test", now_us=micros(Clock().now()))
    assert says(store) == says(hub.store)


def test_a_register_of_ones_own_is_not_replaced_unless_somebody_says_so(
    hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    publish(hub)
    own = {"systems": DOCUMENT["systems"][:1]}
    store.registry.save_register(own, who="test", now_us=micros(Clock().now()))
    follow(hub, store)
    assert "run register follow" in why_not(caplog)
    assert len(says(store)["systems"]) == 1 and not says(store)["mandates"]
    follower = program._follower(settings_of(hub), store, Clock(), "operator")
    assert asyncio.run(follow_now(follower, store.register)) == 0
    assert says(store) == says(hub.store)


def test_who_no_longer_follows_keeps_the_copy_as_its_own_register(hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub)
    follow(hub, store)
    asyncio.run(job(Settings.from_environment({}, home=hub.home), store)())
    assert "register unfollow" in why_not(caplog)
    assert store.register.followed() is not None, "a setting that was forgotten gives a copy no endless life"
    unfollow(store.register, store.snapshots)
    assert store.register.followed() is None
    assert says(store) == says(hub.store)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw[:-1], "cut off or changed"),
        (lambda raw: raw.replace(b'"version": ', b'"version": 9', 1), "signature is wrong"),
        (lambda raw: b"<html>maintenance</html>", "no snapshot"),
    ],
)
def test_what_was_changed_on_its_way_is_not_used_and_what_was_there_stays(
    hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture, change: Any, says: str
) -> None:
    publish(hub)
    follow(hub, store)
    before, made = store.register.newest(), hub.store.snapshots.made()
    assert made is not None
    hub.store.snapshots.put(replace(made, made_us=made.made_us + 1), change(hub.store.snapshots.raw(made) or b""))
    follow(hub, store)
    assert says in why_not(caplog)
    assert store.register.newest() == before


def test_an_older_snapshot_does_not_bring_back_what_ended(hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub)
    older = hub.store.snapshots.made()
    assert older is not None
    raw = hub.store.snapshots.raw(older)
    hub.store.registry.save_register({**DOCUMENT, "endpoints": []}, who="test", now_us=micros(Clock().now()))
    publish(hub)
    follow(hub, store)
    hub.store.snapshots.put(older, raw or b"")
    follow(hub, store)
    assert "in use already" in why_not(caplog)


def test_only_the_register_that_was_named_is_followed(hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub)
    follow(hub, store, oin="00000003272448369999")
    assert "that of 00000003272448369999 is followed" in why_not(caplog)
    assert store.register.newest() == 0


def test_a_system_that_was_not_named_as_a_follower_gets_no_snapshot(hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub)
    other = pki.issue(hub.folder, oin=SIS, name="sis")
    follow(hub, store, party=other)
    assert "HTTP status 403" in why_not(caplog)


def test_whoever_is_not_in_the_register_gets_no_snapshot(hub: Gateways, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    publish(hub)
    stranger = pki.issue(hub.folder, oin="00000003272448360077", name="stranger")
    follow(hub, store, party=stranger)
    assert "HTTP status 403" in why_not(caplog)


def test_where_no_snapshots_are_made_a_follower_is_told_so(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    with Gateways(tmp_path / "none", settings={"KOPPELPUNT_FOLLOWERS": LAS}) as other:
        follow(other, store)
    assert "HTTP status 404" in why_not(caplog)


def test_a_url_without_the_oin_of_who_signs_is_no_setting(hub: Gateways, store: Store) -> None:
    with pytest.raises(UsageError, match="KOPPELPUNT_FOLLOW_OIN"):
        job(replace(settings_of(hub), follow_oin=None), store)
