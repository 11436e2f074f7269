"""Content rules beyond the XSD, one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.parties import invented
from schemas.contract import Check, SequenceRule
from schemas.oin import Oin, school_oin
from schemas.rules import RULES, Judgement, Sequence, context, is_bsn, is_onderwijsnummer, judge_sequence, years_between

VO = school_oin("01AA")
DUO = Oin("00000001800866472000")


def code(
    rule: str,
    value: str | None,
    *,
    other: str | None = None,
    sender: Oin | None = VO,
    receiver: Oin | None = DUO,
    now: str = "2026-11-24T12:00",
) -> str | None:
    """The code a rule gives, `warning` when it only warns, None when it is content."""
    at = context(sender=sender, receiver=receiver, now=datetime.fromisoformat(now).replace(tzinfo=UTC))
    facts = {"fact": value or "", "other": other or ""} if other is not None else {}
    verdict = RULES[rule](value, facts, Check(rule=rule, fact="fact", other="other"), at)
    return None if verdict is None else verdict.code or "warning"


# personal numbers


@pytest.mark.parametrize("number", ["063138219", "712004166", "269326728", "900180730"])
def test_published_test_numbers_are_bsns(number: str):
    assert is_bsn(number)


@given(st.integers(0, 999_999_999))
def test_no_number_is_both_a_bsn_and_an_onderwijsnummer(number: int):
    assert not (is_bsn(f"{number:09}") and is_onderwijsnummer(f"{number:09}"))


@given(st.integers(1, 999_999_999))
@example(185484457)
def test_the_elfproef_is_the_one_of_the_standard(number: int):
    digits = [int(digit) for digit in f"{number:09}"]
    weighted = sum(digit * weight for digit, weight in zip(digits, range(9, 1, -1), strict=False))
    assert is_bsn(f"{number:09}") == ((weighted - digits[8]) % 11 == 0)
    assert is_onderwijsnummer(f"{number:09}") == (digits[0] == 1 and weighted % 11 == digits[8] + 5)


@pytest.mark.parametrize("text", ["", "000000000", "12345678", "1234567890", "99990002x", "٩٩٩٩٠٠٠٢١", " 99990002", "99990002\n"])
def test_what_is_no_nine_digits_is_no_personal_number(text: str):
    assert not is_bsn(text)
    assert not is_onderwijsnummer(text)


@given(st.integers(0, 4_999))
def test_invented_numbers_pass_their_own_check_and_look_reserved(n: int):
    assert is_bsn(invented.bsn(n))
    assert invented.bsn(n).startswith("9999")
    assert is_onderwijsnummer(invented.onderwijsnummer(n))
    assert invented.onderwijsnummer(n).startswith("1999")
    assert not is_bsn(invented.wrong_number(invented.bsn(n)))


def test_invented_numbers_differ_beyond_one_range():
    assert len({invented.bsn(n) for n in range(12_000)} | {invented.onderwijsnummer(n) for n in range(12_000)}) == 24_000


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("bsn", invented.bsn(1), None),
        ("bsn", None, None),
        ("bsn", invented.onderwijsnummer(1), "PGN_KIND"),
        ("bsn", invented.wrong_number(invented.bsn(1)), "PGN_INVALID"),
        ("onderwijsnummer", invented.onderwijsnummer(1), None),
        ("onderwijsnummer", None, None),
        ("onderwijsnummer", invented.bsn(1), "PGN_KIND"),
        ("onderwijsnummer", invented.wrong_number(invented.onderwijsnummer(1)), "PGN_INVALID"),
        ("no-personal-number", "test 12345678 en 1234567890", None),
        ("no-personal-number", "leerling 999900021", "CONTENT_RULE"),
        ("no-personal-number", None, None),
    ],
)
def test_bsn_and_onderwijsnummer_are_told_apart(rule: str, value: str | None, expected: str | None):
    assert code(rule, value) == expected


# who speaks


@pytest.mark.parametrize("named", ["01AA", "01AA00", VO])
@pytest.mark.parametrize("sender", [VO, Oin("0000000700001AA00530")])
def test_a_header_may_name_the_sender_by_brin_brin6_or_oin_also_when_an_administration_of_it_sends(named: str, sender: Oin):
    assert code("header-sender", named, sender=sender) is None


@pytest.mark.parametrize("named", ["01AB", "01AA0", "01AAXX", "01aa", "02BB", "DUO", DUO, "01AA000"])
def test_a_header_that_names_another_than_the_sender_is_refused(named: str):
    assert code("header-sender", named) == "HEADER_NOT_SENDER"


def test_a_header_must_name_the_receiver_of_the_message():
    assert code("header-receiver", DUO) is None
    assert code("header-receiver", "01AA", receiver=Oin("0000000700001AA00530")) is None
    assert code("header-receiver", "0000000700001AA00530", receiver=Oin("0000000700001AA00530")) is None
    assert code("header-receiver", VO) == "HEADER_NOT_SENDER"
    assert code("header-receiver", "DUO") == "HEADER_NOT_SENDER"


def test_the_brin_of_the_content_is_the_senders():
    assert code("brin-of-sender", "01AA") is None
    assert code("brin-of-sender", "02BB") == "BRIN_NOT_SENDER"
    assert code("brin-of-sender", "01AA", sender=DUO) == "BRIN_NOT_SENDER"  # a sender without a BRIN speaks for no school


@pytest.mark.parametrize("rule", ["header-sender", "header-receiver", "brin-of-sender"])
def test_without_an_envelope_rules_about_the_sender_are_silent(rule: str):
    assert code(rule, "99ZZ", sender=None, receiver=None) is None


def test_a_vestiging_or_keten_belongs_to_the_brin_beside_it():
    assert code("within-brin", "01AA00", other="01AA") is None
    assert code("within-brin", "01AA:00000001", other="01AA") is None
    assert code("within-brin", "02BB00", other="01AA") == "CONTENT_RULE"
    assert code("within-brin", None, other="01AA") is None


def test_a_message_cannot_replace_itself():
    assert code("differs", "a-b", other="a-c") is None
    assert code("differs", "A-B", other="a-b") == "CONTENT_RULE"


# municipalities


@pytest.mark.parametrize("value", ["0003", "0344", "1234", "1998", None])
def test_a_code_that_could_be_a_municipality_is_left_to_the_register(value: str | None):
    assert code("gemeentecode", value) is None


@pytest.mark.parametrize("value", ["0000", "1999", "2000", "9999"])
def test_a_code_that_can_never_be_a_municipality_is_refused(value: str):
    assert code("gemeentecode", value) == "GEMEENTECODE_UNKNOWN"


def test_no_gemeentecode_is_a_warning_where_the_contract_asks_for_one():
    assert code("gemeentecode-named", None) == "warning"
    assert code("gemeentecode-named", "0344") is None


# dates


@pytest.mark.parametrize(
    ("born", "expected"),
    [
        ("2016-11-24", None),  # ten today
        ("2016-11-25", "DATE_IMPLAUSIBLE"),
        ("1906-11-24", None),  # 120 today
        ("1905-11-24", "DATE_IMPLAUSIBLE"),
        ("2026-11-25", "DATE_IMPLAUSIBLE"),
        ("0000-01-01", "DATE_IMPLAUSIBLE"),
        (None, None),
    ],
)
def test_a_pupil_is_between_ten_and_a_hundred_and_twenty(born: str | None, expected: str | None):
    assert code("birth-date", born) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2026-11-25", None), ("2026-11-26", "DATE_IMPLAUSIBLE"), ("2026-11-25T23:59:59Z", None), ("1900-01-01", None), (None, None)],
)
def test_a_date_may_lie_one_day_ahead_and_no_more(value: str | None, expected: str | None):
    assert code("not-future", value) == expected


def test_today_is_the_day_in_amsterdam():
    assert code("not-future", "2026-11-26", now="2026-11-24T23:30") is None  # there it is the 25th already


def test_a_school_year_is_two_consecutive_years():
    assert code("school-year", "2026-2027") is None
    assert code("school-year", "1999-2000") is None
    assert code("school-year", "2026-2026") == "DATE_IMPLAUSIBLE"
    assert code("school-year", "2027-2026") == "DATE_IMPLAUSIBLE"
    assert code("school-year", None) is None


@given(st.dates(), st.dates(max_value=date(9998, 12, 31)))
def test_ages_count_birthdays(birth: object, on: object):
    age = years_between(str(birth), str(on))
    later = f"{int(str(on)[:4]) + 1:04}{str(on)[4:]}"
    assert years_between(str(birth), later) == age + 1


def test_a_time_without_a_zone_is_no_moment():
    with pytest.raises(ValueError, match="no time zone"):
        context(sender=VO, receiver=DUO, now=datetime(2026, 1, 1))  # noqa: DTZ001


# the order of statuses

VVA = SequenceRule(
    key="ketenId",
    number="wijzigingsvolgnummer",
    status="status",
    first=("AO",),
    follows={"AO": ("OA", "LI", "IT"), "OA": ("IN", "IT"), "LI": ("IT",), "IT": (), "IN": ()},
)


def test_the_order_that_is_tested_here_is_the_one_vva_has():
    from tests.support.content import STATUS, contracts

    assert contracts().kind(STATUS).sequence == VVA


def step(number: int, status: str) -> Sequence:
    return Sequence(key="25XX:00000001", number=number, status=status)


def judged(last: tuple[int, str] | None, new: tuple[int, str]) -> str | None:
    answer = judge_sequence(VVA, step(*last) if last else None, step(*new))
    return answer.code or ("warning" if answer.warning else None)


@pytest.mark.parametrize(
    ("last", "new", "expected"),
    [
        (None, (1, "AO"), None),
        (None, (1203, "AO"), None),
        (None, (1, "OA"), "STATUS_ORDER"),  # an application starts with its receipt
        (None, (7, "IN"), "warning"),  # the steps before it were never sent to us
        ((1, "AO"), (2, "OA"), None),
        ((1, "AO"), (2, "LI"), None),
        ((1, "AO"), (2, "IT"), None),
        ((1, "AO"), (2, "IN"), "STATUS_ORDER"),  # enrolled only after an offer
        ((2, "OA"), (3, "IN"), None),
        ((2, "OA"), (3, "IT"), None),
        ((2, "LI"), (3, "IT"), None),
        ((2, "LI"), (3, "IN"), "STATUS_ORDER"),
        ((3, "IN"), (4, "IT"), "STATUS_ORDER"),  # withdrawn only before enrolment
        ((3, "IT"), (4, "OA"), "STATUS_ORDER"),
        ((1, "AO"), (3, "IN"), "warning"),  # a gap may hide the offer
        ((3, "IN"), (9, "AO"), "warning"),
        ((1, "AO"), (2, "AO"), None),  # a repeat
        ((3, "IN"), (4, "IN"), None),
        ((2, "OA"), (2, "OA"), "warning"),
        ((2, "OA"), (2, "IT"), "STATUS_ORDER"),  # one number, two statuses
        ((2, "OA"), (1, "AO"), "STATUS_STALE"),
        ((2, "OA"), (1, "OA"), "STATUS_STALE"),
    ],
)
def test_statuses_follow_one_another_by_their_number(last: tuple[int, str] | None, new: tuple[int, str], expected: str | None):
    assert judged(last, new) == expected


STATUSES = st.sampled_from(["AO", "OA", "LI", "IT", "IN", "never heard of"])
STEPS = st.builds(step, st.integers(), STATUSES)


@given(st.none() | STEPS, STEPS)
def test_every_pair_of_steps_gets_one_judgement_and_never_a_refusal_with_a_warning(last: Sequence | None, new: Sequence):
    answer = judge_sequence(VVA, last, new)
    assert isinstance(answer, Judgement)
    assert answer.code in (None, "STATUS_STALE", "STATUS_ORDER")
    assert answer.code is None or answer.warning is None
    assert (answer.code == "STATUS_STALE") == (last is not None and new.number < last.number)
