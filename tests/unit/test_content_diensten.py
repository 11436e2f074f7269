"""The diensten that come with the software: their examples, and what routing reads from a message."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from adapters import soap
from adapters.parties import invented
from schemas.content import ContentReader
from schemas.contracts import BUILT_IN
from schemas.faults import short
from schemas.rules import RULES
from tests.support.content import BENCHMARKS, GANGER, HUB, MBO, NOW, STATUS, VO, contracts, ganger, read, refusal, status


def examples(verdict: str) -> list[Path]:
    return sorted(file for folder in (BUILT_IN, BENCHMARKS) for file in folder.glob(f"*/*/examples/{verdict}/*.xml"))


def judge(file: Path) -> list[str]:
    """The short codes of what is found in an example, judged as its context says."""
    context = tomllib.loads((file.parents[1] / "context.toml").read_text(encoding="utf-8"))
    content = soap.parse(file.read_bytes())
    dienst, versie = file.parts[-5], file.parts[-4]
    name = content.tag.rpartition("}")[2]
    kind = next(kind for kind in contracts().kinds if (kind.dienst, kind.versie, kind.name) == (dienst, versie, name))
    reader: ContentReader = contracts().reader(kind.action)
    reading = reader.read(content, sender=context["sender"][name], receiver=context["receiver"], now=context["now"])
    return [short(finding.code) for finding in reading.findings]


def the_name(file: Path) -> str:
    return f"{file.parts[-5]} {file.stem}"


@pytest.mark.parametrize("file", examples("valid"), ids=the_name)
def test_a_valid_example_is_accepted(file: Path):
    assert judge(file) == []


@pytest.mark.parametrize("file", examples("invalid"), ids=the_name)
def test_an_invalid_example_is_refused_with_the_code_in_its_name(file: Path):
    assert judge(file) == [file.stem.rpartition("--")[2]]


def test_every_dienst_has_examples_of_both_kinds_for_every_message_kind():
    for kind in contracts().kinds:
        contract = contracts().find(kind.dienst, kind.versie)
        assert contract is not None
        for verdict in ("valid", "invalid"):
            texts = [file.read_text(encoding="utf-8") for file in (contract.folder / "examples" / verdict).glob("*.xml")]
            assert any(f"<{kind.name} " in text for text in texts), (kind.name, verdict)


def test_every_content_rule_is_used_by_a_dienst():
    assert {check.rule for kind in contracts().kinds for check in kind.checks} == set(RULES)


# what routing reads


def test_a_pupil_a_school_and_a_year_are_one_order_key_whatever_else_changes():
    first = read(ganger())
    later = read(ganger(business_id="7f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10", verwachting="VERVALLEN", gemeentecode="0363"))
    assert first.order_key == later.order_key == f"{invented.bsn(3)}|01AA|2026-2027"
    assert read(ganger(schooljaar="2025-2026")).order_key != first.order_key
    assert first.kind.newest_replaces


def test_an_onderwijsnummer_is_the_subject_where_there_is_no_bsn():
    number = invented.onderwijsnummer(7)
    content = read(ganger(burgerservicenummer=None, onderwijsnummer=number))
    assert (content.subject, content.facts["pgn"]) == (number, number)
    assert "burgerservicenummer" not in content.facts


def test_a_status_is_a_step_in_the_stream_of_its_keten_and_every_step_is_delivered():
    content = read(status(volgnummer=1203, status="OA"), STATUS)
    assert content.sequence is not None
    assert (content.sequence.key, content.sequence.number, content.sequence.status) == ("25XX:00000001", 1203, "OA")
    assert content.order_key == "25XX:00000001"
    assert not content.kind.newest_replaces


@pytest.mark.parametrize(
    ("born", "on", "age"),
    [
        ("2003-11-23", "2026-11-23", "23"),
        ("2003-11-24", "2026-11-23", "22"),
        ("2004-02-29", "2026-02-28", "21"),
        ("2004-02-29", "2026-03-01", "22"),
    ],
)
def test_age_counts_on_the_day_of_the_status_not_on_today(born: str, on: str, age: str):
    assert read(status(geboortedatum=born, statusdatum=on), STATUS).facts["leeftijd"] == age


def test_a_status_that_names_no_startkwalificatie_has_none():
    assert read(status(), STATUS).facts["heeftStartkwalificatie"] == "false"
    assert read(status(startkwalificatie=True), STATUS).facts["heeftStartkwalificatie"] == "true"


def test_the_law_counts_an_application_by_its_statusdatum_and_nothing_else():
    assert read(status(status="AO", statusdatum="2026-03-20"), STATUS).law_day == (date(2026, 3, 20) - date(1970, 1, 1)).days
    assert [read(status(status=name, volgnummer=2), STATUS).law_day for name in ("OA", "LI", "IT", "IN")] == [None] * 4
    assert read(ganger()).law_day is None


def test_the_case_of_a_business_id_has_no_meaning():
    assert read(ganger(business_id="6F1C1A52-0D0E-4C1B-9A57-2B8F3C9D4E10")).business_id == "6f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10"


@pytest.mark.parametrize("hidden", [b"<!-- signatures do not cover comments -->", b"<?also-not this?>"])
def test_a_comment_in_the_middle_of_a_value_does_not_hide_the_rest_of_it(hidden: bytes):
    content = etree.fromstring(ganger().replace(b"<brin>01AA", b"<brin>01" + hidden + b"AA"))  # a parser that keeps comments
    reading = contracts().reader(GANGER).read(content, sender=VO, receiver=HUB, now=NOW)
    assert reading.content is not None
    assert reading.content.facts["brin"] == "01AA"


def test_reading_does_not_change_the_signed_content():
    body = soap.parse(b"<b>" + ganger() + b"</b>")
    before = etree.tostring(body)
    contracts().reader(GANGER).read(body[0], sender=VO, receiver=HUB, now=NOW)
    assert etree.tostring(body) == before


def test_a_proef_carries_no_personal_data_and_goes_to_whom_it_names():
    raw = invented.proef(business_id="6f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10", sender="01AA", receiver="25XX", created=NOW, echo="hallo")
    content = read(raw, "urn:x-backbone:proef:1/proef", sender=VO, receiver=MBO)
    contract = contracts().find("proef", "1")
    assert contract is not None
    assert not contract.personal_data
    assert content.kind.passes_through
    assert (content.subject, content.order_key, content.kind.senders) == (None, None, ())


# what is refused before any rule


def test_an_unknown_action_is_an_unknown_dienst():
    assert refusal(ganger(), "urn:x-backbone:vva:2/mboGangerBericht").code == "UNKNOWN_DIENST"


def test_a_body_with_another_message_than_the_action_says_is_refused():
    refused = refusal(status(), GANGER)
    assert (refused.code, refused.where) == ("Client.DK0004", "Body")


def test_every_finding_is_reported_at_once_and_the_first_one_names_the_fault():
    refused = refusal(ganger(burgerservicenummer=invented.wrong_number(invented.bsn(3)), brin="02BB", peildatum="2027-01-01"))
    assert [detail.split()[0] for detail in refused.details] == ["PGN_INVALID", "BRIN_NOT_SENDER", "DATE_IMPLAUSIBLE"]
    assert (refused.code, refused.where) == ("PGN_INVALID", "/mboGangerBericht/burgerservicenummer")


# the sending window


@pytest.mark.parametrize(
    ("now", "late"),
    [
        (datetime(2026, 9, 30, 21, 59, 59, tzinfo=UTC), True),  # 30 September 23:59:59 in Amsterdam, in summer
        (datetime(2026, 9, 30, 22, 0, tzinfo=UTC), False),
        (datetime(2027, 2, 1, 22, 59, 59, tzinfo=UTC), False),  # 1 February 23:59:59 in Amsterdam, in winter
        (datetime(2027, 2, 1, 23, 0, tzinfo=UTC), True),
        (datetime(2027, 11, 24, tzinfo=UTC), True),  # a year late
    ],
)
def test_handing_in_outside_the_window_of_its_school_year_is_a_warning_and_never_a_refusal(now: datetime, late: bool):
    raw = ganger(created=now - timedelta(days=1), peildatum=str(now.date() - timedelta(days=1)))
    assert any("2026-10-01" in warning and "2027-02-01" in warning for warning in read(raw, now=now).warnings) is late


def test_statuses_have_no_window():
    assert read(status(), STATUS, now=datetime(2027, 7, 1, tzinfo=UTC)).warnings == ()


def test_a_pupil_of_no_municipality_gives_a_warning_because_the_message_goes_nowhere():
    assert len(read(ganger(gemeentecode=None)).warnings) == 1
    assert read(ganger()).warnings == ()
