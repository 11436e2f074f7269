"""A partner's report by mail, from the page: shown first, sent by the worker from the store, and journalled with who asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from routing.contacts import Channel, Contact, ContactRole, parse_quiet
from routing.reporting import heard_at
from schemas.events import decode
from tests.support.board import keep
from tests.support.pages import LAS, OTHER_LAS, OTHERS, Pages, contact_of, mine, others, pages
from tests.support.portal import Browser
from tests.support.store import a_refusal, hand_in, run_sql
from tests.support.telling import Post, send_all

WEEK = "2026-W03"


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Pages]:
    with pages(tmp_path, mine, others) as running:
        yield running


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as running:
        yield running


def propose(browser: Browser, system: str = LAS, week: str = WEEK) -> str:
    """The address where it is shown."""
    answer = browser.submit("/rapporten/versturen", page="/openstaand", systeem=system, week=week)
    assert "/rapporten/versturen/" in answer.url, answer.text
    return urlsplit(answer.url).path


def asked(portal: Pages) -> list[tuple[str, dict[str, str]]]:
    """Who asked for which report, as the journal has it."""
    rows = run_sql(portal.store, "SELECT payload, schema FROM event ORDER BY id")
    events = [decode(bytes(row.payload), row.schema) for row in rows]
    return [(one.actor, dict(one.details)) for one in events if one.kind == "report_asked"]


def test_what_was_shown_is_what_a_partner_gets_and_nobody_else(portal: Pages, post: Post, tmp_path: Path) -> None:
    first = contact_of(portal.store, LAS, "beheer@las.example.nl")
    second = contact_of(portal.store, LAS, "chef@las.example.nl", digest=False, language="en")
    contact_of(portal.store, OTHER_LAS, "ander@andere.example.nl")
    contact_of(portal.store, LAS, "https://las.example.nl/hook", channel=Channel.WEBHOOK)
    anna = portal.signed_in("anna")
    path = propose(anna)
    page = anna.get(path).text
    assert "beheer@las.example.nl" in page and "chef@las.example.nl" in page and "NOT_OUR_RESIDENT" in page
    assert "ander@andere" not in page and "/hook" not in page and not [word for word in OTHERS if word in page]
    assert re.search(rf'value="{first}" checked', page) and not re.search(rf'value="{second}" checked', page)
    assert post.mails == [] and portal.store.alerts.due(now_us=portal.clock.now_us()) == [], "nothing goes before it is sent"

    hand_in(portal.store, a_refusal("later", code="Client.DK0004", system=LAS, dienst="vva", at_us=portal.clock.now_us()))
    keep(portal.store, now_us=portal.clock.now_us())
    done = anna.submit(path, aan=[first, second])
    assert "Het rapport staat klaar" in done.text and "beheer@las.example.nl" in done.text
    assert post.mails == [], "the portal itself sends nothing"
    send_all(portal.store, portal.clock, post, tmp_path)
    assert sorted(mail["To"] for mail in post.mails) == ["beheer@las.example.nl", "chef@las.example.nl"]
    dutch, english = (next(n for n, mail in enumerate(post.mails) if mail["To"].startswith(name)) for name in ("beheer", "chef"))
    assert "Weekoverzicht 2026-W03" in post.mails[dutch]["Subject"] and "Weekly report 2026-W03" in post.mails[english]["Subject"]
    assert "NOT_OUR_RESIDENT" in post.text(dutch) and "Client.DK0004" not in post.text(dutch), "that came after it was shown"
    (attached,) = post.mails[dutch].iter_attachments()
    assert f"{LAS},2026-01-12" in attached.get_content() and OTHER_LAS not in attached.get_content()
    assert asked(portal) == [("anna", {"party": LAS, "week": "2026-01-12", "contacts": ",".join(sorted((first, second)))})]
    assert "verstuurd" in anna.get(f"/rapporten?week={WEEK}&systeem={LAS}").text


def test_whoever_presses_twice_sends_once(portal: Pages) -> None:
    contact = contact_of(portal.store, LAS, "beheer@las.example.nl")
    anna = portal.signed_in("anna")
    path = propose(anna)
    assert anna.submit(path, aan=contact).status_code == 200
    assert anna.submit(path, page="/openstaand", aan=contact).status_code == 404
    assert len(portal.store.alerts.due(now_us=portal.clock.now_us())) == 1


def test_nothing_goes_to_nobody_or_to_who_is_no_contact_of_this_partner(portal: Pages) -> None:
    theirs = contact_of(portal.store, OTHER_LAS, "ander@andere.example.nl")
    anna = portal.signed_in("anna")
    path = propose(anna)
    assert "geen e-mailadres bekend" in anna.get(path).text
    assert "Kies naar wie het gaat" in anna.submit(path, page="/openstaand").text
    assert anna.submit(path, page="/openstaand", aan=theirs).status_code == 409
    assert asked(portal) == [] and portal.store.alerts.due(now_us=portal.clock.now_us()) == []
    for system, week in ((LAS, "2025-W20"), ("00000001800000999000", WEEK), ("", WEEK)):
        assert anna.submit("/rapporten/versturen", page="/openstaand", systeem=system, week=week).status_code == 404
    assert anna.submit("/rapporten/versturen", page="/openstaand", systeem=LAS, week="gisteren").status_code == 400


def test_quiet_hours_are_kept_and_the_page_says_until_when(portal: Pages, post: Post, tmp_path: Path) -> None:
    contact = contact_of(portal.store, LAS, "beheer@las.example.nl", quiet=parse_quiet("00:00-06:00"))  # it is one at night in Amsterdam
    anna = portal.signed_in("anna")
    path = propose(anna)
    assert "stil 00:00-06:00" in anna.get(path).text
    assert "gaat " in anna.submit(path, aan=contact).text
    send_all(portal.store, portal.clock, post, tmp_path)
    assert post.mails == []
    portal.clock.ahead_us += 5 * 3_600 * 1_000_000 + 60_000_000
    send_all(portal.store, portal.clock, post, tmp_path)
    assert len(post.mails) == 1


def test_who_is_never_to_be_disturbed_is_told_in_the_end() -> None:
    one = Contact(id="x", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.EMAIL, address="a@b.nl", quiet=parse_quiet("za zo"))
    saturday = datetime(2026, 1, 17, 12, tzinfo=UTC)
    assert heard_at(one, saturday) == datetime(2026, 1, 18, 23, tzinfo=UTC), "Monday begins then, in Amsterdam"
    assert heard_at(one, datetime(2026, 1, 16, 12, tzinfo=UTC)) == datetime(2026, 1, 16, 12, tzinfo=UTC)
    never = Contact(
        id="x", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.EMAIL, address="a@b.nl", quiet=parse_quiet("ma di wo do vr za zo")
    )
    assert heard_at(never, saturday) == saturday + timedelta(days=14)


@pytest.mark.parametrize("who", ["adam", "rina", "leverancier", "school"])
def test_whoever_may_not_tell_partners_has_no_button_and_cannot_press_it(portal: Pages, who: str) -> None:
    browser = portal.signed_in(who)
    assert "/rapporten/versturen" not in browser.get(f"/rapporten?week={WEEK}&systeem={LAS}").text
    assert browser.submit("/rapporten/versturen", page="/openstaand", systeem=LAS, week=WEEK).status_code == 403
