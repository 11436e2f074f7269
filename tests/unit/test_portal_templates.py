"""Templates and their words: what a page says is in the texts or the glossary, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import portal
from portal.chain_map import Words
from portal.health import Level
from portal.texts import TEXTS
from routing.actions import Action
from routing.alerts import AlertState
from routing.board import LEGAL_DATES, GroupState, Sort, View
from routing.jobs import ItemState, JobState, Stop
from schemas.faults import Owner
from schemas.glossary import GLOSSARY

FOLDER = Path(portal.__file__).parent
SOURCES = [*sorted((FOLDER / "templates").glob("*.html")), *sorted((FOLDER / "pages").glob("*.py"))]
#: Words that templates put together from a value.
MADE = [
    *(f"verdict.{level.key}" for level in Level),
    *(f"verdict.own.{level.key}" for level in Level),
    *(f"level.{level.key}" for level in Level),
    *(f"action.{action}" for action in Action),
    *(f"job.{state}" for state in JobState),
    *(f"result.{state}" for state in ItemState),
    *(f"jobs.stopped.{stop}" for stop in Stop),
    *(f"group.{state}" for state in GroupState),
    *(f"alert.{state}" for state in AlertState),
    *(f"list.{view}" for view in View),
    *(f"list.{view}.what" for view in View),
    *(f"items.empty.{view}" for view in View),
    *(f"sort.{sort}" for sort in Sort),
    *(f"owner.{owner}" for owner in Owner),
    *(f"map.{name}" for name in Words.__dataclass_fields__),
    *(f"law.{law.name}" for law in LEGAL_DATES),
    *(f"law.{law.name}.what" for law in LEGAL_DATES),
    *(f"kind.{kind}" for kind in ("las", "sis", "municipality", "central", "other")),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_word_that_a_page_asks_for_is_there(source: Path) -> None:
    asked = re.findall(r'\bt\(["\']([^"\'~]+)["\'](?=[,)])|\btext\("([^"{]+)"', source.read_text(encoding="utf-8"))
    unknown = {key for pair in asked for key in pair if key and key not in TEXTS and key not in GLOSSARY}
    assert not unknown


@pytest.mark.parametrize("key", MADE)
def test_every_word_that_is_put_together_is_there(key: str) -> None:
    assert key in TEXTS


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_fill_in_the_same(key: str) -> None:
    nl, en = (set(re.findall(r"{\w*}", words)) for words in TEXTS[key])
    assert nl == en


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_template_has_a_style_or_script_of_its_own(source: Path) -> None:
    assert not re.search(r"\sstyle=|<style|<script(?! src)|\son(click|change|submit|load)=", source.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", sorted((FOLDER / "templates").glob("*.html")), ids=lambda path: path.name)
def test_every_form_that_changes_something_carries_the_sessions_token(source: Path) -> None:
    forms = re.findall(r'<form[^>]*method="post".*?</form>', source.read_text(encoding="utf-8"), re.DOTALL)
    assert all('name="csrf"' in form or "kit.token()" in form or "hidden(" in form for form in forms)
