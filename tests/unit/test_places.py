"""Where a person may redirect something to: what the register allows now."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from routing.actions import Action, Errand, Order, Subject
from routing.register import read_register
from routing.resolver import places
from schemas.oin import Oin
from tests.support.jobs import DOCUMENT, OTHER, StillClock
from tests.support.store import RECEIVER
from workers.actions import Aimer

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def allowed(document: Any, now: datetime = NOW) -> list[str]:
    register = read_register(document, version=1)
    return [row.id for row in places(register, receiver=Oin(RECEIVER), dienst="proef", versie="1", now=now)]


def changed(list_: str, system: str, **change: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    for row in document[list_]:
        if row.get("system") == system:
            row |= change
    return document


def test_every_endpoint_with_a_mandate_of_the_receiver_is_a_place() -> None:
    assert allowed(DOCUMENT) == ["e1", "e2"]


def test_one_without_mandate_or_outside_its_days_is_none() -> None:
    assert allowed(changed("mandates", OTHER, until="2025-12-31")) == ["e1"]
    assert allowed(changed("mandates", OTHER, revoked=True)) == ["e1"]
    assert allowed(changed("endpoints", OTHER, **{"from": "2026-08-01"})) == ["e1"]
    assert allowed(changed("endpoints", OTHER, **{"from": "2026-08-01"}), datetime(2026, 8, 1, 12, tzinfo=UTC)) == ["e1", "e2"]


def test_a_receiver_that_takes_no_part_has_no_place() -> None:
    document = deepcopy(DOCUMENT)
    next(row for row in document["organisations"] if row["oin"] == RECEIVER)["until"] = "2025-12-31"
    assert allowed(document) == []


def test_what_can_go_nowhere_any_more_is_said_to_fail() -> None:
    document = deepcopy(DOCUMENT)
    next(row for row in document["organisations"] if row["oin"] == RECEIVER)["until"] = "2025-12-31"
    aimer = Aimer(read_register(document, version=1), StillClock())
    errand = Errand(number=1, subject=Subject.DELIVERY, seq=1, receiver=RECEIVER, dienst="proef", versie="1", placed=False)
    aim = aimer.aims(Order(action=Action.RETRY), [errand])[1]
    assert aim is not None
    assert (aim.code, aim.hold_code, aim.endpoint) == ("ROUTE_UNKNOWN_PARTY", None, None)
