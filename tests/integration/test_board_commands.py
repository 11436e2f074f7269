"""What `outbox`, `failures` and `journal rebuild-board` take from the board: more than before, in the rows of before."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.store import Store
from tests.support.board import keep, on_board
from tests.support.store import NOW, SENDER, SYSTEM, YES, a_refusal, hand_in, route, take, waiting_delivery
from workers import commands
from workers.commands import WrongArgument

OF_BEFORE = {"code", "owner", "dienst", "system", "receiver_system", "count", "first_us", "last_us", "example"}


def printed(
    capsys: pytest.CaptureFixture[str],
    arguments: Callable[[argparse.ArgumentParser], None],
    act: Callable[..., int],
    store: Store,
    *typed: str,
) -> Any:
    """The JSON a command prints."""
    parser = argparse.ArgumentParser()
    arguments(parser)
    parser.add_argument("--json", action="store_true")
    capsys.readouterr()
    assert act(parser.parse_args([*typed, "--json"]), store) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def busy(store: Store) -> Store:
    """Something waits, something was refused."""
    route(store, *take(store, "1"), to=[waiting_delivery()])
    take(store, "2")
    hand_in(store, a_refusal(sender=SENDER), a_refusal("b", code="Client.DK0002", owner="school", sender=SENDER, decisions=(YES,)))
    keep(store)
    return store


def test_the_outbox_narrowed_down_has_the_rows_of_the_whole_one(busy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys, commands.outbox_arguments, commands.outbox, busy)
    narrow = printed(capsys, commands.outbox_arguments, commands.outbox, busy, "--code", "ROUTE_NO_ENDPOINT")
    assert len(whole) == 2
    assert narrow == [row for row in whole if row.get("code") == "ROUTE_NO_ENDPOINT"]
    assert printed(capsys, commands.outbox_arguments, commands.outbox, busy, "--owner", "us", "--party", SYSTEM) == []


def test_failures_narrowed_down_have_the_rows_of_all(busy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    whole = printed(capsys, commands.failures_arguments, commands.failures, busy)
    narrow = printed(capsys, commands.failures_arguments, commands.failures, busy, "--code", "Client.DK0002", "--school", SENDER)
    assert len(whole) == 2
    assert narrow == [row for row in whole if row["code"] == "Client.DK0002"]


def test_groups_say_what_is_still_open_of_them_and_how_they_stand(busy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (key,) = [group.key for group in busy.board.groups(_all(), now_us=NOW) if group.key.code == "Client.DK0002"]
    busy.board.with_partner(key, ticket="T-1", agreed_on=None, who="an", now_us=NOW)
    rows = printed(capsys, commands.failures_arguments, commands.failures, busy, "--group")
    assert all(set(row) > OF_BEFORE for row in rows)
    (row,) = [row for row in rows if row["code"] == "Client.DK0002"]
    assert (row["count"], row["still_open"], row["state"], row["ticket"]) == (1, 1, "with_partner", "T-1")
    parser = argparse.ArgumentParser()
    commands.failures_arguments(parser)
    assert commands.failures(argparse.Namespace(**vars(parser.parse_args(["--group"])), json=False), busy) == 0
    assert "with_partner T-1" in capsys.readouterr().out
    with pytest.raises(WrongArgument):
        commands.failures(argparse.Namespace(**vars(parser.parse_args(["--group", "--code", "x"])), json=False), busy)


def test_a_board_can_be_made_anew(busy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = on_board(busy)
    assert printed(capsys, commands.journal_arguments, commands.journal, busy, "rebuild-board") == {"rebuilding": True}
    assert on_board(busy) == {}
    keep(busy)
    assert on_board(busy) == before


def _all() -> Any:
    from routing.people import Scope

    return Scope(everything=True)
