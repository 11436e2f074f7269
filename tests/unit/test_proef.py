"""To which endpoint a proef of ours goes, and that we send nothing else ourselves."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.proef import compose
from routing.proef import ACTION, NoProef, aim, judge_own
from routing.register import Register
from schemas.content import read_content
from schemas.contracts import load_contracts
from schemas.oin import Oin, school_oin
from tests.support.register import AMERSFOORT, CIVIC, DOCUMENT, GANGER, LAS, MBO, NOW, SIS, UTRECHT, VO, VO_NORTH, chain

OWN = Oin("00000001800866472000")
PLACE = "https://civic.example/proef"


def proefs(*rows: dict[str, Any], mandates: list[dict[str, Any]] | None = None, **more: Any) -> Register:
    """The chain, with these endpoints for proef and a mandate for each."""
    given = [{"dienst": "proef", "versie": "1", "mailbox": True} | row for row in rows]
    for row in given:
        if "url" in row:
            del row["mailbox"]
    made = [{"organisation": row["organisation"], "dienst": "proef", "system": row["system"]} for row in given]
    unique = list({(row["organisation"], row["system"]): row for row in made}.values())
    return chain(
        endpoints=[*DOCUMENT["endpoints"], *given], mandates=[*DOCUMENT["mandates"], *(unique if mandates is None else mandates)], **more
    )


def found(register: Register, **to: str | None) -> tuple[str, str]:
    receiver, endpoint = aim(register, **({"organisation": None, "system": None, "lane": None} | to), now=NOW)
    return receiver, endpoint.lane


def test_an_organisation_gets_it_where_the_register_has_it_now() -> None:
    register = proefs({"organisation": UTRECHT, "system": CIVIC, "url": PLACE})
    assert found(register, organisation=UTRECHT) == (UTRECHT, f"push {CIVIC} {PLACE}")
    assert found(register, organisation=UTRECHT, system=CIVIC) == (UTRECHT, f"push {CIVIC} {PLACE}")


def test_of_a_system_the_first_organisation_whose_mandate_stands_will_do() -> None:
    rows = ({"organisation": MBO, "system": LAS}, {"organisation": VO, "system": LAS})
    register = proefs(*rows, mandates=[{"organisation": VO, "dienst": "proef", "system": LAS}])
    assert found(register, system=LAS) == (VO, f"mailbox {LAS}")
    assert found(register, lane=f"mailbox {LAS}") == (VO, f"mailbox {LAS}")


def test_only_the_endpoint_that_was_asked_for_will_do() -> None:
    register = proefs({"organisation": UTRECHT, "system": CIVIC, "url": PLACE}, {"organisation": AMERSFOORT, "system": CIVIC})
    assert found(register, system=CIVIC, lane=f"mailbox {CIVIC}") == (AMERSFOORT, f"mailbox {CIVIC}")
    with pytest.raises(NoProef):
        found(register, system=CIVIC, lane=f"push {CIVIC} https://civic.example/elders")
    with pytest.raises(NoProef):
        found(register, organisation=UTRECHT, system=SIS)
    with pytest.raises(NoProef):
        found(register, system=SIS, lane=f"mailbox {CIVIC}")


def test_an_administration_is_addressed_by_its_own_name() -> None:
    register = proefs({"organisation": VO, "routeringskenmerk": VO_NORTH, "system": LAS}, {"organisation": VO, "system": SIS})
    assert found(register, system=LAS) == (VO_NORTH, f"mailbox {LAS}")


def test_what_a_municipality_delegated_is_tried_where_it_goes() -> None:
    given = {"municipality": UTRECHT, "dienst": "proef", "region": AMERSFOORT}
    register = proefs({"organisation": AMERSFOORT, "system": CIVIC}, delegations=[given])
    assert found(register, organisation=UTRECHT) == (UTRECHT, f"mailbox {CIVIC}")


@pytest.mark.parametrize(
    ("to", "nl"),
    [
        ({"organisation": UTRECHT}, "Gemeente Utrecht heeft nog geen systeem gemachtigd dat proef versie 1 ontvangt."),
        ({"organisation": school_oin("99ZZ")}, "staat niet in het serviceregister"),
        ({"system": CIVIC}, f"heeft systeem {CIVIC} nu geen endpoint voor proef versie 1"),
        ({"lane": f"mailbox {CIVIC}"}, "heeft dit adres nu geen endpoint"),
    ],
)
def test_whoever_asks_is_told_why_there_is_no_way(to: dict[str, str], nl: str) -> None:
    with pytest.raises(NoProef) as told:
        found(chain(), **to)
    assert nl in told.value.nl
    assert told.value.en == str(told.value)


def test_a_mandate_that_ended_is_what_is_told() -> None:
    ended = {"organisation": UTRECHT, "dienst": "proef", "system": CIVIC, "until": "2026-01-31"}
    with pytest.raises(NoProef, match=r"ran up to and including 2026-01-31\.$"):
        found(proefs({"organisation": UTRECHT, "system": CIVIC}, mandates=[ended]), system=CIVIC)


def test_we_send_a_proef_without_a_mandate_and_nothing_else() -> None:
    kind = load_contracts().kind(ACTION)
    made, decision = judge_own(chain(), own=OWN, kind=kind, now=NOW)
    assert [made.question, made.outcome, decision.question, decision.outcome] == ["signature", "yes", "sender", "yes"]
    assert decision.inputs["sender"] == OWN
    with pytest.raises(ValueError, match="vva"):
        judge_own(chain(), own=OWN, kind=GANGER, now=NOW)


def test_without_the_dienst_in_the_register_nothing_is_sent() -> None:
    _, decision = judge_own(chain(diensten=DOCUMENT["diensten"][:1]), own=OWN, kind=load_contracts().kind(ACTION), now=NOW)
    assert (decision.outcome, decision.code) == ("no", "UNKNOWN_DIENST")


def test_what_we_make_is_good_by_its_own_contract_and_the_same_each_time() -> None:
    id = "0b8e2f64-5c1d-4a7e-8f30-1d2c3b4a5968"
    one, again = (compose(id, own=OWN, receiver=VO_NORTH, at=NOW) for _ in range(2))
    assert one.xml == again.xml
    content = read_content(one.content, action=ACTION, sender=OWN, receiver=VO_NORTH, contracts=load_contracts(), now=NOW)
    assert (content.business_id, one.message_id, one.signed) == (id, f"urn:uuid:{id}", ())
