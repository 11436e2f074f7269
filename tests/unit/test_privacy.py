"""What is masked in every text that leaves the message, and what must stay readable."""

from __future__ import annotations

import pytest

from schemas.privacy import MASK, redact


@pytest.mark.parametrize(
    "text",
    [
        "999900006",
        "bsn999900006x",
        "(at /leerling/999900006)",
        "999900006-8a4b-4c1d-9e2f-0a1b2c3d4e5f",
        "urn:leerling:999900006",
        "8a4b-999900006",
    ],
)
def test_a_personal_number_is_masked_wherever_it_stands(text: str) -> None:
    assert redact(text) == text.replace("999900006", MASK)


@pytest.mark.parametrize(
    "text",
    [
        "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-ab123456789c",
        "reference 0F1A4C52-7F0B-4A7E-9D55-123456789ABC",
        "00000001800866472000",
        "1234567890",
        "12345678",
    ],
)
def test_an_id_by_which_a_message_is_found_stays_readable(text: str) -> None:
    assert redact(text) == text
