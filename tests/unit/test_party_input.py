"""What a party chooses itself (times, ids, headers, reasons) must stop no worker, take no other name, and play with no terminal."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from routing.ports import Incoming
from routing.work import HandInResult, NewRefusal
from tests.support import signing as s
from workers.dead import Dead
from workers.deliver import read_confirmation
from workers.desk import named, timestamp_good
from workers.intake import Intake, _receipt
from workers.logs import Lines
from workers.tables import print_json, print_table


@pytest.mark.parametrize("year", [1, 9999])
def test_an_expiry_at_the_end_of_the_calendar_is_no_reason_to_fall_over(year: int) -> None:
    envelope = s.verifier().verify(s.signed(), at=s.NOW)
    far = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert timestamp_good(replace(envelope, expires=far), s.NOW) is (year == 9999)
    assert not timestamp_good(replace(envelope, created=far, expires=None), s.NOW)
    assert timestamp_good(replace(envelope, expires=None), s.NOW + timedelta(minutes=15))


# ---------------------------------------------------------------- what comes with a message over AMQP


def incoming(**parts: Any) -> Incoming:
    usual = {"queue": f"intake.{s.LAS}", "tag": 1, "generation": 1, "redelivered": False, "exchange": "intake", "routing_key": s.LAS}
    return Incoming(**usual | {"content_type": "text/xml; charset=utf-8", "correlation_id": None, "headers": {}, "body": b""} | parts)


def test_a_hand_in_that_was_copied_into_anothers_queue_is_its_publishers() -> None:
    """On RabbitMQ 3.10 the header CC does that, whatever the topic permissions say."""
    asked: list[str] = []

    class Desk:
        def judge(self, raw: bytes, *, system: str, **_: object) -> str:
            asked.append(system)
            return "judged"

    smuggled = incoming(queue=f"intake.{s.SCHOOL}")
    Intake(None, None, None, Desk(), None, None)._judge(smuggled, None)  # type: ignore[arg-type]
    assert asked == [s.LAS]
    result = HandInResult(accepted=False, reference="r", received_us=0, code="x")
    assert _receipt(smuggled, result).routing_key == f"receipt.{s.LAS}"


@pytest.mark.parametrize(
    ("key", "said", "origin"),
    [
        (s.LAS, "deliver", f"intake.{s.LAS}"),  # it would end deliveries of others
        (s.LAS, "route", f"intake.{s.LAS}"),
        (s.LAS, f"intake.{s.SCHOOL}", f"intake.{s.LAS}"),
        (s.LAS, f"confirm.{s.SCHOOL}", f"intake.{s.LAS}"),
        (s.LAS, f"confirm.{s.LAS}", f"confirm.{s.LAS}"),
        ("deliver", "deliver", "deliver"),
        ("route", f"intake.{s.LAS}", "route"),
        (f"mailbox.{s.LAS}", f"mailbox.{s.LAS}", f"mailbox.{s.LAS}"),
    ],
)
def test_where_a_message_died_is_not_for_its_sender_to_say(key: str, said: str, origin: str) -> None:
    assert incoming(queue="dead", routing_key=key, headers={"x-first-death-queue": said}).died_in == origin


def test_a_message_that_its_sender_let_expire_is_refused_as_the_senders_doing() -> None:
    stored: list[NewRefusal] = []

    class Anything:
        id = "w"
        clock = SimpleNamespace(now_us=lambda: 0)

        class hand_ins:
            @staticmethod
            def accept(items: list[NewRefusal], **_: Any) -> list[HandInResult]:
                stored.extend(items)
                return [HandInResult(accepted=False, reference=one.reference, received_us=0, code=one.code) for one in items]

        async def insist(self, _what: str, act: Any) -> Any:
            return act()

        async def insist_async(self, _what: str, act: Any) -> Any:
            return await act()

        async def publish_many(self, messages: Any) -> Any:
            return messages

    anything = Anything()
    dead = Dead(anything, anything, anything)  # type: ignore[arg-type]
    spoofed = {"x-first-death-queue": "deliver", "x-first-death-reason": "expired"}
    asyncio.run(dead.handle([incoming(queue="dead", headers=spoofed, body=b"[[1,1]]")]))
    (refusal,) = stored
    assert (refusal.system, refusal.owner) == (s.LAS, "supplier")
    assert "expiration" in refusal.reason


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0a123456789b", "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0a123456789b"),
        ("order 123456782", "order [*********]"),
        ("a\0b", "a\\x00b"),
        ("a\x1b]0;x\x07", "a\\x1b]0;x\\x07"),
        ("x" * 255, "x" * 100),
        ("", None),
    ],
)
def test_an_id_among_the_properties_can_be_stored_and_shown(said: str, kept: str | None) -> None:
    assert named(incoming(correlation_id=said)) == kept


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"delivery_id":"\\ud800","outcome":"confirmed"}',
        b'{"delivery_id":"\\u0000","outcome":"confirmed"}',
        b'{"delivery_id":"123 456 782","outcome":"confirmed"}',
        b'{"delivery_id":"d","outcome":"confirmed","more":"' + b"x" * 100_000 + b'"}',
    ],
)
def test_a_confirmation_that_names_no_delivery_is_none_and_stops_nobody(body: bytes) -> None:
    assert read_confirmation(incoming(body=body)) is None


def test_a_reason_for_a_refusal_can_be_stored_and_shown() -> None:
    body = json.dumps({"delivery_id": "d-1", "outcome": "refused", "reason": "\ud800\0\x1b[2J 123456782 \u202e"})
    confirmation = read_confirmation(incoming(body=body.encode()))
    assert confirmation is not None
    assert confirmation.reason == "\\ud800\\x00\\x1b[2J [*********] \\u202e"


# ---------------------------------------------------------------- what an operator sees


HOSTILE = "a\x1b]0;title\x07 \x9b2J \u202e [red]x[/red] \\"


def test_a_table_shows_what_others_wrote_and_obeys_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("reason",), [{"reason": HOSTILE}])
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert all(c.isprintable() for c in shown.replace("\n", ""))


def test_json_for_programs_is_safe_on_a_terminal_too_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"reason": HOSTILE + "\ud800 é"})
    shown = capsys.readouterr().out
    assert all(c.isprintable() for c in shown.rstrip("\n"))
    assert "é" in shown
    assert json.loads(shown) == {"reason": HOSTILE + "\ud800 é"}


def test_a_log_line_is_one_line() -> None:
    record = logging.LogRecord("koppelpunt.x", logging.WARNING, "", 0, "said", (), None)
    record.queue = HOSTILE + "\u2028\n"
    assert all(c.isprintable() for c in Lines().format(record))
