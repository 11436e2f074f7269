"""Messages that answer others: what a contract says of it, and which delivery is meant."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import soap
from routing.answers import answer_in, correlate, has_ended
from routing.work import Answer, Answerable
from schemas.content import read_content
from schemas.contracts import ContractError, load_contracts
from schemas.envelope import Envelope
from schemas.faults import Refused
from schemas.lifecycle import DELIVERY_MOVES, TOWARDS_ANSWERED, DeliveryState, may_move, steps_to_answered
from schemas.oin import Oin, school_oin
from tests.support.answers import DIENSTEN, MELDING, TERUGKOPPELING, terugkoppeling

SCHOOL, DUO, OTHER = school_oin("25BE"), Oin("00000001800866472000"), Oin("00000001001234560000")
NORTH = Oin(SCHOOL[:15] + "00530")
ID, ELSE = "6f1c1a52-0d0e-4c1b-9a57-2b8f3c9d4e10", "0b8e2f64-5c1d-4a7e-8f30-1d2c3b4a5968"
ORIGINAL = "urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e"


# -- contracts --------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def spoiled(tmp_path: Path) -> Callable[..., str]:
    """What is said of the dienst when its contract is changed."""

    def spoil(*changes: tuple[str, str]) -> str:
        folder = tmp_path / "diensten"
        shutil.copytree(DIENSTEN, folder)
        path = folder / "verzuim/1/dienst.toml"
        toml = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in toml
            toml = toml.replace(old, new, 1)
        path.write_text(toml, encoding="utf-8")
        with pytest.raises(ContractError) as refused:
            load_contracts(folder)
        assert str(refused.value).startswith(f"{path}: ")
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return spoil


def test_a_contract_names_the_answer_by_its_kind_or_its_action(tmp_path: Path) -> None:
    shutil.copytree(DIENSTEN, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "verzuim/1/dienst.toml"
    for name in ("terugkoppeling", TERUGKOPPELING):
        toml = path.read_text(encoding="utf-8").replace('answered_by = "terugkoppeling"', f'answered_by = "{name}"')
        path.write_text(toml, encoding="utf-8")
        contracts = load_contracts(tmp_path)
        melding, answer = contracts.kind(MELDING), contracts.kind(TERUGKOPPELING)
        assert (melding.answered_by, melding.answer_within, melding.answered) == (TERUGKOPPELING, timedelta(days=3), ())
        assert (answer.answers, answer.answered, answer.answered_by) == ("beantwoord", (MELDING,), None)
        contract = contracts.find("verzuim", "1")
        assert contract is not None
        assert contract.kinds[MELDING] == melding


BY, WITHIN, ANSWERS = 'answered_by = "terugkoppeling"\n', 'answer_within = "3d"\n', 'answers = "beantwoord"\n'


@pytest.mark.parametrize(
    ("changes", "key", "why"),
    [
        ([(BY, "")], "melding.answer_within", "needs answered_by"),
        ([(WITHIN, "")], "melding.answered_by", "needs answer_within"),
        ([(WITHIN, "answer_within = 3\n")], "melding.answer_within", '"30d"'),
        ([(WITHIN, 'answer_within = "1d"\n')], "melding.answer_within", "shorter than fetch_within"),
        ([(WITHIN, 'answer_within = "401d"\n')], "melding.answer_within", "at most 400d"),
        ([(BY, 'answered_by = "antwoord"\n')], "melding.answered_by", "'antwoord' is neither a message kind"),
        ([('business_id = "id"\n', "")], "melding.answered_by", "needs a business_id"),
        ([(ANSWERS, "")], "melding.answered_by", "terugkoppeling has no answers"),
        ([(ANSWERS, 'answers = "bedrijfsdocument"\n')], "terugkoppeling.answers", "not one of its facts"),
        ([(BY, ""), (WITHIN, "")], "terugkoppeling.answers", "no message kind says that it is answered by this one"),
        (
            [
                (
                    'action = "urn:test:verzuim:1/terugkoppeling"\nsenders = []\nto = "receiver"',
                    'action = "urn:test:verzuim:1/terugkoppeling"\nsenders = []\nto = "hub"',
                ),
                ('target = "afzender"\nrule = "addressed"', 'target = "afzender"\nrule = "role"\nrole = "duo"'),
            ],
            "terugkoppeling.answers",
            'needs to = "receiver"',
        ),
        ([(BY, 'answered_by = "melding"\nanswers = "id"\n')], "melding.answered_by", "goes round in a circle"),
        (
            [(BY, BY + 'answers = "id"\n'), (ANSWERS, ANSWERS + 'answered_by = "melding"\n' + WITHIN)],
            "melding.answered_by",
            "goes round in a circle",
        ),
    ],
)
def test_a_contract_whose_answers_do_not_fit_together_is_refused(
    spoiled: Callable[..., str], changes: list[tuple[str, str]], key: str, why: str
) -> None:
    told = spoiled(*changes)
    assert f": kinds.{key}: " in told
    assert why in told


# -- what an answer says ----------------------------------------------------------------------------------------------------------------
def said(answered: str | None, *relates_to: tuple[str, str]) -> Answer | None:
    contracts, now = load_contracts(DIENSTEN), datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    body = soap.parse(b"<Body>" + terugkoppeling(ELSE, answered) + b"</Body>")
    content = read_content(body[0], action=TERUGKOPPELING, sender=DUO, receiver=SCHOOL, contracts=contracts, now=now)
    envelope: Any = type("Envelope", (), {field.name: None for field in fields(Envelope)})
    envelope.relates_to = relates_to
    return answer_in(content, envelope)


def test_an_answer_names_a_message_in_its_content_in_a_header_or_in_both() -> None:
    reply, other = (soap.REPLY, ORIGINAL), (soap.ORIGINAL, "urn:uuid:else")
    assert said(ID.upper()) == Answer(fact="beantwoord", business_id=ID, relates_to=(), kinds=(MELDING,))
    assert said(None, reply, reply, other) == Answer(fact="beantwoord", business_id=None, relates_to=(ORIGINAL,), kinds=(MELDING,))
    assert said(ID, reply) == Answer(fact="beantwoord", business_id=ID, relates_to=(ORIGINAL,), kinds=(MELDING,))


@pytest.mark.parametrize("relates_to", [(), ((soap.ORIGINAL, ORIGINAL),), ((soap.REPLY, ""),)])
@pytest.mark.parametrize("answered", [None, ""])
def test_an_answer_that_names_no_message_at_all_lacks_relates_to(answered: str | None, relates_to: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(Refused) as refused:
        said(answered, *relates_to)
    assert (refused.value.code, refused.value.where) == ("Client.DK0008", "wsa:RelatesTo")
    assert "beantwoord" in str(refused.value)


# -- which delivery is meant ------------------------------------------------------------------------------------------------------------
def delivery(seq: int = 1, **changes: Any) -> Answerable:
    row: dict[str, Any] = {
        "seq": seq,
        "id": f"d-{seq}",
        "state": "acknowledged",
        "offered": True,
        "receiver": DUO,
        "receiver_system": DUO,
        "reference": "r-1",
        "sender": SCHOOL,
        "system": "las",
        "message_id": ORIGINAL,
        "business_id": ID,
        "action": MELDING,
        "dienst": "verzuim",
        "versie": "1",
        "bericht": "melding",
    }
    return Answerable(**row | changes)


BOTH = Answer(fact="beantwoord", business_id=ID, relates_to=(ORIGINAL,), kinds=(MELDING,))


def meant(*named: list[Answerable], sender: str = DUO, receiver: str = SCHOOL) -> Answerable:
    return correlate(BOTH, sender=sender, receiver=receiver, named=named)


def test_a_routeringskenmerk_answers_and_is_answered_as_its_institution_is() -> None:
    assert meant([delivery()], receiver=NORTH).seq == 1
    assert meant([delivery(sender=NORTH)]).seq == 1
    assert meant([delivery(sender=DUO, receiver=NORTH)], sender=SCHOOL, receiver=DUO).seq == 1
    assert meant([delivery(sender=DUO, receiver=SCHOOL)], sender=NORTH, receiver=DUO).seq == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"receiver": OTHER},
        {"sender": OTHER},
        {"action": "urn:other"},
        {"state": "routed", "offered": False},
        {"state": "postponed", "offered": False},
        {"state": "failed", "offered": False},
        {"state": "filtered", "offered": False},
    ],
)
def test_what_was_not_sent_to_the_one_who_answers_by_the_one_who_is_answered_is_unknown(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        meant([delivery(**changes)], [delivery(**changes)])
    assert refused.value.code == "ANSWER_UNKNOWN"
    assert f"beantwoord {ID} and wsa:RelatesTo {ORIGINAL}" in str(refused.value)
    with pytest.raises(Refused) as nothing:
        meant([], [])
    assert str(nothing.value) == str(refused.value), "nobody learns whether another's message exists"


@pytest.mark.parametrize("others", [[], [delivery(2, reference="r-2")], [delivery(2, sender=OTHER)]])
def test_two_names_for_different_messages_are_refused(others: list[Answerable]) -> None:
    for named in ([[delivery()], others], [others, [delivery()]]):
        with pytest.raises(Refused) as refused:
            meant(*named)
        assert (refused.value.code, refused.value.where) == ("Client.DK0011", "wsa:RelatesTo")


def test_of_several_deliveries_to_one_organisation_the_named_one_is_answered_or_else_the_first_that_was_not() -> None:
    first, second = delivery(1), delivery(2)
    assert meant([first, second], [second]).seq == 2
    assert meant([first, second]).seq == 1
    assert meant([delivery(1, state="answered"), second]).seq == 2
    assert meant([delivery(1, state="superseded"), delivery(2, state="failed")]).seq == 2
    assert meant([delivery(1, state="answered"), delivery(2, state="answered")]).seq == 1


def test_of_two_senders_of_one_institution_with_the_same_business_id_the_one_addressed_is_answered() -> None:
    assert meant([delivery(1, reference="r-1", sender=NORTH), delivery(2, reference="r-2", sender=SCHOOL)]).reference == "r-2"


# -- the lifecycle ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("state", DeliveryState)
def test_an_answer_moves_a_delivery_by_allowed_moves_only(state: DeliveryState) -> None:
    steps = steps_to_answered(state)
    assert all(may_move(before, after) for before, after in zip((state, *steps), steps, strict=False))
    assert (steps[-1:] == (DeliveryState.ANSWERED,)) is (state in TOWARDS_ANSWERED)
    assert has_ended(delivery(state=str(state))) is (state not in TOWARDS_ANSWERED)
    if not steps:
        assert not DELIVERY_MOVES[state] or state is DeliveryState.ARCHIVED
