"""Which systems are users of the broker, as the register says."""

from __future__ import annotations

from datetime import date

from adapters.broker_keeper import amqp_systems, departed_systems, followed_systems
from tests.support.register import CENTRAAL, CIVIC, DOCUMENT, LAS, OTHER_LAS, SIS, but, chain

SYSTEMS = DOCUMENT["systems"]
DAY = date(2026, 3, 1)
EVERYBODY = sorted([LAS, OTHER_LAS, SIS, CIVIC, CENTRAAL])


class Notes:
    """Single values of the store."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def note(self, name: str) -> str | None:
        return self.values.get(name)


def test_a_system_is_a_user_from_when_it_is_registered_until_its_last_day() -> None:
    assert amqp_systems(chain(), DAY) == EVERYBODY
    for last_day, there in (("2026-02-28", False), ("2026-03-01", True)):
        assert (LAS in amqp_systems(chain(systems=but(SYSTEMS, 0, until=last_day)), DAY)) is there
    coming = chain(systems=but(SYSTEMS, 0, from_="2026-09-01"))
    assert LAS in amqp_systems(coming, DAY), "it may try its connection before its first day"


def test_a_system_that_has_amqp_no_more_is_no_user() -> None:
    assert LAS not in amqp_systems(chain(systems=but(SYSTEMS, 0, channels=["https"])), DAY)


def test_what_a_system_left_in_its_queues_is_still_handled() -> None:
    left = "00000009000000000000"
    assert departed_systems(Notes()) == []  # type: ignore[arg-type]
    assert followed_systems(chain(), Notes(departed=f'["{left}"]')) == sorted([*EVERYBODY, left])  # type: ignore[arg-type]
