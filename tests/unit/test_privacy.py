"""What counts as a personal number in a text, and what does not."""

from __future__ import annotations

import json

import pytest

from schemas.privacy import MASK, PERSONAL_NUMBER, plain, redact

HIDDEN = [
    "123456782",
    "123 456 782",
    "123\u00a0456\u00a0782",
    "123-456-782",
    "123\n456\n782",
    "1234.56.782",
    "1234 56 782",
    "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff12",
]


@pytest.mark.parametrize("number", HIDDEN, ids=ascii)
@pytest.mark.parametrize("around", ["{}", "x{}y", "https://x/{}?a", "(at /a/{})", "-{}."])
def test_a_personal_number_is_masked_however_it_is_written(number: str, around: str) -> None:
    assert redact(around.format(number)) == around.format(MASK)
    assert PERSONAL_NUMBER.search(around.format(number))


@pytest.mark.parametrize("before", ["\1", "\0", "\x7f", "\u2028"], ids=ascii)
def test_an_escaped_character_in_front_hides_no_number(before: str) -> None:
    """`\\u0001123456782` looks like thirteen digits."""
    for written in (json.dumps(before + "123456782"), plain(before + "123456782")):
        assert "123456782" not in redact(written)


@pytest.mark.parametrize(
    "text",
    [
        "00000001003214345000",
        "0000000700025BE00000",
        "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0a123456789b",
        "123456789012",
        "2026-03-02T09:15:00.123456Z",
        "2026-03-02 09:15:00",
        "192.168.178.201:25672",
        "1,048,576",
        "12345678",
        "",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", ["bsn999900006x", "999900006-8a4b-4c1d-9e2f-0a1b2c3d4e5f", "urn:leerling:999900006", "8a4b-999900006"])
def test_a_personal_number_is_masked_beside_and_in_what_looks_like_an_id(text: str) -> None:
    assert redact(text) == text.replace("999900006", MASK)
