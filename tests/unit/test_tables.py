"""Tables that an operator reads on a terminal, and greps in a pipe."""

from __future__ import annotations

import pytest

from workers.commands import show_message
from workers.tables import WIDTH, print_table

REFERENCE, OIN, CODE = "01JD2ZC7V9Q4N8X0T5R3M6K1WB", "00000099000000020000", "ROUTE_GEMEENTE_NOT_CONNECTED"
LANE = f"push {OIN} https://leerplicht.gemeente.example:8443/edukoppeling/vva/1"
REMEDY = "Laat de ontvanger zijn adres in het serviceregister zetten, of wacht tot de keten dat doet. " * 3


def shown(capsys: pytest.CaptureFixture[str], *, terminal: bool, monkeypatch: pytest.MonkeyPatch, **row: str) -> list[str]:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    print_table(tuple(row), [row], title="Failures")
    return capsys.readouterr().out.splitlines()


def test_in_a_pipe_a_row_is_one_line_however_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(capsys, terminal=False, monkeypatch=monkeypatch, reference=REFERENCE, lane=LANE, remedy=REMEDY.strip())
    assert f"{REFERENCE}   {LANE}   {REMEDY.strip()}" in [line.strip() for line in lines]
    assert all(line == line.rstrip() for line in lines)


def test_on_a_terminal_text_is_folded_and_ids_and_codes_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, terminal=True, monkeypatch=monkeypatch, reference=REFERENCE, code=CODE, remedy=REMEDY)
    assert max(map(len, lines)) <= WIDTH
    assert any(REFERENCE in line and CODE in line for line in lines)
    assert " ".join(" ".join(lines).split()).count("serviceregister zetten") == 3


def test_a_table_of_more_ids_than_fit_is_wider_than_the_terminal_rather_than_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(capsys, terminal=True, monkeypatch=monkeypatch, reference=REFERENCE, code=CODE, system=OIN, receiver=OIN, lane=LANE)
    assert any(line.split()[:4] == [REFERENCE, CODE, OIN, OIN] for line in lines)
    assert LANE.split()[-1] in " ".join(lines)


def test_a_message_is_shown_with_the_id_of_each_delivery_as_its_receiver_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    one = {
        "target": OIN,
        "receiver": OIN,
        "state": "delivered",
        "attempts": 1,
        "code": None,
        "hold_code": None,
        "owner": None,
        "answers": [],
    }
    rows = {"reference": REFERENCE, "deliveries": [{"id": "5f0c-the-id", **one}]}
    show_message(rows, [], [], as_json=False)
    assert any(line.split()[:2] == ["5f0c-the-id", OIN] for line in capsys.readouterr().out.splitlines())
