"""The outcome table (Edukoppeling facts 6.3): each row of what may be heard, and what becomes of the message and of the lane."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.outcome import LONGEST_STOP_S, Heard, Lane, Trust, Wire, judge
from schemas.faults import CODES, Owner


def http(status, **more):
    return Heard(wire=Wire.ANSWERED, status=status, says=f"HTTP {status}", **more)


def fault(code, **more):
    return Heard(wire=Wire.ANSWERED, status=500, soap=True, fault=code, **({"says": "fout"} | more))


def answer(**more):
    return Heard(wire=Wire.ANSWERED, status=200, soap=True, **({"trust": Trust.GOOD} | more))


#: What was heard -> state, code, what it says of the lane, whether somebody is alarmed. docs/delivery-guarantees.md shows the same rows.
TABLE = {
    "no connection": (Heard(wire=Wire.UNREACHABLE), ("postponed", "ENDPOINT_UNREACHABLE", "fails", False)),
    "their certificate is not trusted": (Heard(wire=Wire.NOT_TRUSTED), ("postponed", "ENDPOINT_NOT_TRUSTED", "fails", True)),
    "our certificate is refused by TLS": (Heard(wire=Wire.REFUSES_US), ("failed", "ENDPOINT_REFUSES_US", "fails", True)),
    "an address that may not be called": (Heard(wire=Wire.NOT_ALLOWED), ("postponed", "ENDPOINT_NOT_ALLOWED", "fails", True)),
    "time-out after sending": (Heard(wire=Wire.SILENT), ("postponed", "ANSWER_NOT_HEARD", "fails", False)),
    "connection cut after sending": (Heard(wire=Wire.CUT), ("postponed", "ANSWER_NOT_HEARD", "fails", False)),
    "an answer too large or packed": (Heard(wire=Wire.UNREADABLE, status=200), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
    "HTTP 3xx": (http(302), ("postponed", "ENDPOINT_REDIRECTS", "fails", False)),
    "HTTP 401": (http(401), ("failed", "ENDPOINT_REFUSES_US", "fails", True)),
    "HTTP 403": (http(403), ("failed", "ENDPOINT_REFUSES_US", "fails", True)),
    "HTTP 404": (http(404), ("postponed", "ENDPOINT_NOT_THERE", "fails", False)),
    "HTTP 405": (http(405), ("postponed", "ENDPOINT_NOT_THERE", "fails", False)),
    "HTTP 400 without a fault": (http(400), ("failed", "RECEIVER_REFUSED", "works", False)),
    "HTTP 413": (http(413), ("failed", "RECEIVER_REFUSED", "works", False)),
    "HTTP 415": (http(415), ("failed", "RECEIVER_REFUSED", "works", False)),
    "HTTP 429": (http(429), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "HTTP 429 with Retry-After": (http(429, retry_after_s=60), ("postponed", "ENDPOINT_UNAVAILABLE", "stop", False)),
    "HTTP 500 without a fault": (http(500), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "HTTP 502": (http(502), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "HTTP 503": (http(503), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "HTTP 503 with Retry-After": (http(503, retry_after_s=30), ("postponed", "ENDPOINT_UNAVAILABLE", "stop", False)),
    "HTTP 504": (http(504), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "HTTP 200 without a SOAP message": (http(200), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
    "HTTP 202 and nothing": (http(202), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
    "fault DK0051": (fault("Server.DK0051"), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "fault DK0051 with Retry-After": (fault("Server.DK0051", retry_after_s=9), ("postponed", "ENDPOINT_UNAVAILABLE", "stop", False)),
    "fault DK0050": (fault("Server.DK0050"), ("failed", "Server.DK0050", "works", False)),
    "fault DK0002": (fault("Client.DK0002"), ("failed", "Client.DK0002", "works", True)),
    "fault EK0030": (fault("Client.EK0030"), ("failed", "Client.EK0030", "fails", True)),
    "fault EK0031": (fault("Client.EK0031"), ("failed", "Client.EK0031", "works", True)),
    "fault DK0001": (fault("VersionMismatch.DK0001"), ("failed", "VersionMismatch.DK0001", "works", False)),
    **{
        f"fault {code.partition('.')[2]}": (fault(code), ("failed", code, "works", False))
        for code in CODES
        if re.match(r"Client\.(DK00(0[3-9]|1[01])|EK002[0-3])$", code)
    },
    "fault with a third part": (fault("soapenv:Client.DK0004.Bericht niet conform XSD"), ("failed", "Client.DK0004", "works", False)),
    "fault that only says Client": (fault("Client"), ("failed", "RECEIVER_REFUSED", "works", False)),
    "fault that only says Server": (fault("Server"), ("postponed", "ENDPOINT_UNAVAILABLE", "fails", False)),
    "fault of a code nobody knows": (fault("Client.XX1234"), ("failed", "RECEIVER_REFUSED", "works", False)),
    "fault with a broken signature": (fault("Client.DK0004", trust=Trust.BROKEN), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
    "not unique, never sent before": (
        fault("Server.DK0050", says="bericht is niet uniek"),
        ("failed", "RECEIVER_DUPLICATE", "works", False),
    ),
    "a good answer": (answer(), ("acknowledged", None, "works", False)),
    "a functional rejection": (answer(rejected=True, says="A01161 onbekend"), ("failed", "RECEIVER_REJECTED", "works", False)),
    "an unsigned answer": (answer(trust=Trust.UNSIGNED), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
    "an answer with a broken signature": (answer(trust=Trust.BROKEN), ("uncertain", "RESPONSE_NOT_TRUSTED", "fails", True)),
}


@pytest.mark.parametrize("row", TABLE)
def test_each_row_of_the_outcome_table(row):
    heard, expected = TABLE[row]
    outcome = judge(heard, ours=False)
    assert (outcome.state, outcome.code, str(outcome.lane), outcome.alert) == expected


@pytest.mark.parametrize("row", TABLE)
def test_each_row_of_the_outcome_table_is_in_the_docs(row):
    page = (Path(__file__).parents[2] / "docs" / "delivery-guarantees.md").read_text(encoding="utf-8")
    _, (state, code, lane, alert) = TABLE[row]
    assert f"| {row} | {state} | {f'`{code}`' if code else ''} | {lane} | {'yes' if alert else ''} |" in page


@pytest.mark.parametrize("wire", [Wire.SILENT, Wire.CUT])
def test_what_may_not_be_done_twice_is_not_sent_again_when_no_answer_came(wire):
    outcome = judge(Heard(wire=wire), ours=False, idempotent=False)
    assert (outcome.state, outcome.code, outcome.alert) == ("uncertain", "ANSWER_NOT_HEARD", True)
    assert judge(Heard(wire=Wire.UNREACHABLE), ours=False, idempotent=False).state == "postponed", "it was never sent"


@pytest.mark.parametrize(
    "heard",
    [
        fault("Server.DK0050", says="identificatiecodeBedrijfsdocument is niet uniek", trust=Trust.GOOD),
        fault("Client", says="Message already received", trust=Trust.GOOD),
        answer(rejected=True, says="A00201 Dit bericht is reeds verwerkt"),
    ],
    ids=["DK0050", "bare Client", "functional"],
)
def test_a_receiver_that_has_it_already_after_an_attempt_without_answer_has_probably_ours(heard):
    outcome = judge(heard, ours=False, may_have_arrived=True)
    assert (outcome.state, outcome.code, outcome.lane) == ("acknowledged", "PROBABLY_DELIVERED", Lane.WORKS)
    assert judge(heard, ours=False).code == "RECEIVER_DUPLICATE"


@pytest.mark.parametrize(
    "says",
    [
        "java.lang.Double cannot be cast to java.lang.Integer",
        "Duplicate bean name in config, deployment failed",
        "check sequence is not unique",
        "dubbele punt verwacht",
        "Leerling heeft dubbele inschrijving",
        "BSN is niet uniek",
        "De leerling bestaat al bij een andere school",
    ],
)
def test_other_things_that_are_double_are_no_delivery(says):
    for heard in (
        fault("Server", says=says, trust=Trust.GOOD),
        fault("Client", says=says, trust=Trust.GOOD),
        answer(rejected=True, says=says),
    ):
        assert judge(heard, ours=False, may_have_arrived=True).state != "acknowledged"


def test_that_it_is_double_is_believed_on_the_receivers_own_word_only():
    heard = fault("Server.DK0050", says="identificatiecodeBedrijfsdocument is niet uniek")
    assert (heard.trust, judge(heard, ours=False, may_have_arrived=True).state) == (Trust.UNSIGNED, "uncertain")
    assert judge(heard, ours=False).code == "RECEIVER_DUPLICATE"


def test_an_xsd_error_that_speaks_of_a_duplicate_key_is_no_delivery():
    outcome = judge(fault("Client.DK0004", says="duplicate key-sequence in identity constraint"), ours=False, may_have_arrived=True)
    assert (outcome.state, outcome.code) == ("failed", "Client.DK0004")


def test_a_mistake_in_the_envelope_is_ours_when_the_envelope_is():
    assert judge(fault("Client.EK0023"), ours=True).owner is Owner.US
    assert judge(fault("Client.EK0023"), ours=False).owner is Owner.SUPPLIER
    assert judge(fault("Client.DK0002"), ours=True).owner is Owner.SCHOOL


def test_a_receiver_is_kept_waiting_for_as_long_as_it_asks_but_for_a_day_at_most():
    assert judge(http(503, retry_after_s=90), ours=False).wait_s == 90
    assert judge(http(503, retry_after_s=10**9), ours=False).wait_s == LONGEST_STOP_S


@given(
    st.builds(
        Heard,
        wire=st.sampled_from(Wire),
        status=st.integers(0, 999),
        soap=st.booleans(),
        fault=st.none() | st.text(max_size=40) | st.sampled_from(sorted(CODES)),
        rejected=st.booleans(),
        trust=st.sampled_from(Trust),
        says=st.text(max_size=40),
        retry_after_s=st.none() | st.floats(0, 1e9),
    ),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_heard_has_an_outcome_and_only_a_trusted_answer_or_a_double_is_a_delivery(heard, ours, idempotent, before):
    outcome = judge(heard, ours=ours, idempotent=idempotent, may_have_arrived=before)
    assert outcome.state in ("acknowledged", "postponed", "uncertain", "failed")
    assert (outcome.state == "acknowledged") or outcome.code in CODES
    if outcome.state == "acknowledged":
        assert heard.wire is Wire.ANSWERED and heard.trust is not Trust.BROKEN
        assert heard.trust is Trust.GOOD
    if outcome.state == "postponed":
        assert CODES[outcome.code].retry
