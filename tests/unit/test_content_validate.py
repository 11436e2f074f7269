"""`validate`: what a school administrator and a program get to read."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path

import pytest

from adapters import soap
from adapters.parties import invented
from schemas.validate_cli import FileReport, add_arguments, run, validate, validate_file
from tests.support.content import GANGER, HUB, NOW, VO, contracts, ganger


def judged(path: Path) -> FileReport:
    return validate_file(str(path), parse=soap.parse, contracts=contracts(), now=NOW)


def in_envelope(content: bytes, *, action: str = GANGER, sender: str = VO) -> bytes:
    return soap.unsigned_envelope(
        content=content,
        to=f"http://www.w3.org/2005/08/addressing/anonymous?oin={HUB}",
        sender=f"http://www.w3.org/2005/08/addressing/anonymous?oin={sender}",
        action=action,
        message_id="urn:uuid:6f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10",
        created=NOW,
        lifetime=timedelta(minutes=5),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bericht.xml"


def test_a_bare_content_document_is_judged(file: Path):
    file.write_bytes(ganger())
    assert judged(file) == FileReport(file=str(file), dienst="vva", versie="1", bericht="mboGangerBericht")


def test_in_an_envelope_the_rules_about_the_sender_are_judged_too(file: Path):
    file.write_bytes(in_envelope(ganger()))
    assert judged(file).valid
    file.write_bytes(in_envelope(ganger(), sender="0000000700002BB00000"))
    assert {finding.code for finding in judged(file).findings} == {"HEADER_NOT_SENDER", "BRIN_NOT_SENDER"}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"<onbekend/>", "UNKNOWN_DIENST"),
        (ganger().replace(b"vva:1", b"vva:9"), "UNKNOWN_DIENST"),
        (in_envelope(ganger(), action="urn:nergens"), "UNKNOWN_DIENST"),
        (in_envelope(b""), "Client.DK0004"),
        (in_envelope(ganger() + ganger()), "Client.DK0004"),
        (b"geen xml", "Client.NOT_XML"),
        (b"<!DOCTYPE x [<!ENTITY y 'z'>]><x>&y;</x>", "Client.NOT_XML"),
    ],
)
def test_what_is_no_content_of_a_dienst_is_invalid(file: Path, raw: bytes, code: str):
    file.write_bytes(raw)
    (finding,) = judged(file).findings
    assert finding.code == code
    assert finding.nl.endswith(".")
    assert finding.en.endswith(".")


def test_a_file_that_is_not_there_is_invalid_and_the_next_one_is_still_judged(file: Path):
    file.write_bytes(ganger())
    said: list[str] = []
    how = {"parse": soap.parse, "contracts": contracts(), "now": NOW}
    assert validate([str(file.with_name("weg.xml")), str(file)], **how, as_json=True, say=said.append) == 1  # type: ignore[arg-type]
    assert [json.loads(line)["valid"] for line in said] == [False, True]
    assert validate([str(file)], **how, as_json=False, say=said.append) == 0  # type: ignore[arg-type]


def test_json_holds_every_error_with_its_place_and_both_languages(file: Path):
    file.write_bytes(ganger(brin="1AA", burgerservicenummer="x"))
    answer = judged(file).as_json()
    assert (answer["file"], answer["valid"], answer["dienst"]) == (str(file), False, "vva")
    assert [error["where"] for error in answer["errors"]] == ["/mboGangerBericht/burgerservicenummer", "/mboGangerBericht/brin"]
    assert {key for error in answer["errors"] for key in error} == {"code", "where", "nl", "en"}


def test_lines_fit_a_terminal_put_dutch_first_and_hold_no_personal_number(file: Path):
    number = invented.wrong_number(invented.bsn(3))
    file.write_bytes(ganger(burgerservicenummer=number, gemeentecode=None))
    first, *lines = judged(file).lines()
    assert first == f"{file}: fout / invalid (vva 1, mboGangerBericht)"
    assert lines[0] == "  /mboGangerBericht/burgerservicenummer  [PGN_INVALID]"
    text = " ".join(lines)
    assert text.index("elfproef. Controleer") < text.index("elfproef. Check")
    assert "let op / note" in text
    assert number not in text
    assert max(map(len, lines)) <= 100


def test_the_command_judges_its_files(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_bytes(ganger(brin="1AA"))
    parser = ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(file), "--json"]), parse=soap.parse, contracts=contracts()) == 1
    assert json.loads(capsys.readouterr().out)["errors"][0]["where"] == "/mboGangerBericht/brin"
