"""Why content does not fit its XSD: in words, with the place, and without anything from the message."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.parties import invented
from schemas.xml import MOST_REASONS
from tests.support.content import NOW, STATUS, ganger, refusal, status


def reasons(raw: bytes, action: str | None = None) -> tuple[str, ...]:
    refused = refusal(raw, action) if action else refusal(raw)
    assert refused.code == "Client.DK0004"
    return refused.details


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        (b"<brin>01AA</brin>", b"<brin>1AA</brin>", "/mboGangerBericht/brin", "een BRIN: twee cijfers en twee hoofdletters"),
        (b"<brin>01AA</brin>", b"", "/mboGangerBericht/schooljaar", "Verwacht: brin"),
        (b"<brin>01AA</brin>", b"<brin/>", "/mboGangerBericht/brin", "Dit element is leeg"),
        (b"<brin>01AA</brin>", b"<brin>01AA</brin><brin>01AA</brin>", "/mboGangerBericht/brin[2]", "te vaak"),
        (b"<brin>", b"<brin soort='vo'>", "/mboGangerBericht/brin", "attribuut"),
        (b"<brin>", b"<bring/><brin>", "/mboGangerBericht/bring", "geen element bring"),
        (b"<brin>", b"<brin xmlns=''>", "/mboGangerBericht/brin", "niet in namespace urn:x-backbone:vva:1"),
        (b"<brin>", b"los <brin>", "/mboGangerBericht", "Tussen de elementen staat tekst"),
        (b"2010-03-04", b"2010-02-30", "/mboGangerBericht/geboortedatum", "jjjj-mm-dd"),
        (b"2010-03-04", b"2010-03-04Z", "/mboGangerBericht/geboortedatum", "jjjj-mm-dd"),
        (b"<verwachting>JA", b"<verwachting>NEE", "/mboGangerBericht/verwachting", "JA, VERVALLEN"),
        (b"<peildatum>2026-11-20</peildatum>", b"", "/mboGangerBericht", "ontbreekt een element: peildatum"),
        (b"T09:30:00Z", b"T09:30:00+01:00", "/mboGangerBericht/bedrijfsdocument/datumTijdBedrijfsdocument", "UTC"),
        (b"Jansen", b" Jansen", "/mboGangerBericht/geslachtsnaam", "niet beginnend met een spatie"),
        (b"Jansen", b" ", "/mboGangerBericht/geslachtsnaam", "Dit element is leeg"),
    ],
)
def test_a_reason_names_the_place_and_says_what_belongs_there(old: bytes, new: bytes, place: str, words: str):
    raw = ganger()
    assert old in raw
    found = [reason for reason in reasons(raw.replace(old, new, 1)) if f" {place}: " in reason]
    assert len(found) == 1
    assert words in found[0]


def test_a_reason_is_in_dutch_and_in_english():
    (reason,) = reasons(status(leertraject="BBC"), STATUS)
    assert reason == (
        "Client.DK0004 /aanmeldStatusBericht/leertraject: Deze waarde is niet goed. Verwacht: een leertraject (BOL, BBL). / "
        "This value is not right. Expected: a learning route (BOL, BBL)."
    )


#: Values that stand in the XSD as what belongs there.
LISTED = {"JA", "VMBO_KB"}
VALUES = re.compile(rb">([^<]+)<")


@given(st.data())
def test_no_value_of_the_message_is_ever_repeated(data: st.DataObject):
    """Every value is made invalid, one or several at a time, with a mark that must not come back."""
    other_than_the_examples_of_the_xsd = {"created": NOW - timedelta(days=30), "schooljaar": "2025-2026"}
    raw = ganger(voornamen="Sanne", voorvoegsel="ter", postcode="3511AB", vestiging="01AA00", **other_than_the_examples_of_the_xsd)
    found = list(VALUES.finditer(raw))
    chosen = data.draw(st.lists(st.sampled_from(found), min_size=1, max_size=6, unique_by=lambda match: match.start()))
    for match in sorted(chosen, key=lambda match: match.start(), reverse=True):
        raw = raw[: match.start(1)] + b" geheim" + match.group(1) + raw[match.end(1) :]
    refused = refusal(raw)
    told = " ".join((str(refused), *refused.details))
    assert "geheim" not in told
    for match in found:
        value = match.group(1).decode()
        assert value in LISTED or not re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", told)


def test_a_personal_number_as_the_name_of_an_element_is_masked():
    number = invented.bsn(3)
    refused = refusal(ganger().replace(b"<brin>", f"<n{number}/><brin>".encode()))
    assert number not in " ".join((str(refused), *refused.details))


def test_there_are_at_most_twenty_reasons():
    assert len(reasons(ganger().replace(b"<brin>", b"<brin>x</brin>" * 100 + b"<brin>"))) == MOST_REASONS


@pytest.mark.parametrize(
    "inside",
    [b"<x/>" * 200_000, b"<brin>x</brin>" * 60_000, b"<brin>x</brin>" * 1_900, b"<geslachtsnaam>" + b"a " * 400_000 + b"</geslachtsnaam>"],
    ids=["many unknown", "many wrong", "as many as are explained", "one long value"],
)
def test_a_hostile_body_is_explained_within_a_second(inside: bytes):
    refusal(b'<mboGangerBericht xmlns="urn:x-backbone:vva:1"/>')  # loads xmlschema, once in a process
    start = time.perf_counter()
    found = reasons(b'<mboGangerBericht xmlns="urn:x-backbone:vva:1">' + inside + b"</mboGangerBericht>")
    assert time.perf_counter() - start < 1
    assert all(reason.startswith("Client.DK0004 /") and len(reason) < 1000 for reason in found)


@pytest.mark.parametrize("namespace", ["urn:x-backbone:vva:1", "urn:other"])
def test_a_schema_location_in_a_message_is_never_followed(tmp_path, namespace: str):
    pipe = tmp_path / "other.xsd"
    os.mkfifo(pipe)  # whoever opens it to read waits for ever
    location = f"xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='{namespace} {pipe.as_uri()}'"
    raw = ganger(verwachting="NEE").replace(b"<mboGangerBericht ", f"<mboGangerBericht {location} ".encode())
    assert len(reasons(raw)) == 1


def test_a_start_without_mistakes_does_without_xmlschema():
    code = "import sys; from schemas.contracts import load_contracts; load_contracts(); sys.exit('xmlschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
