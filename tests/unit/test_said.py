"""What cannot be done is said in Dutch and in English, wherever a page may show it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from routing.actions import CannotAct, checked_reason
from routing.board import BoardError, GroupKey
from routing.jobs import Terms, TermsWrong
from routing.said import Said

ROOT = Path(__file__).parents[2]
KINDS = ("CannotAct", "BoardError", "CannotAcknowledge", "TermsWrong", "AccountError")


def test_whoever_reads_dutch_is_told_in_dutch_and_the_command_line_in_english() -> None:
    for act, error, nl, en in (
        (lambda: checked_reason(" "), CannotAct, "Geef een reden", "Say why"),
        (lambda: GroupKey.read("x"), BoardError, "Dit is geen groep", "This names no group"),
        (lambda: Terms(trial=-1), TermsWrong, "De proefbatch is", "The trial batch is"),
    ):
        with pytest.raises(error) as raised:
            act()
        assert raised.value.in_language("nl").startswith(nl)
        assert raised.value.in_language("en").startswith(en)
        assert str(raised.value).startswith(en)


def test_no_sentence_is_there_in_english_only() -> None:
    found, alone = 0, []
    for folder in ("routing", "adapters", "workers", "portal"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                    found += 1
                    if len(node.args) + len(node.keywords) != 2 and not isinstance(node.args[0], ast.Starred):
                        alone.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found > 30 and alone == []


def test_what_no_page_shows_may_go_without_dutch() -> None:
    assert Said("No.").in_language("nl") == "No."
