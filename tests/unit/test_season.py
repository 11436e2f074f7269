"""The demo's season: what is planned is what the chain can meet."""

from __future__ import annotations

import pytest

from adapters.parties.season import Season
from adapters.parties.world import build_world
from routing.register import read_register

HUB = "00000099000000010000"


@pytest.mark.parametrize("count", [1, 60, 150, 200, 600])
def test_a_season_of_any_length_has_at_least_as_many_hand_ins_as_asked_for(count: int) -> None:
    planned = list(Season(build_world(HUB), HUB).plan(count))
    assert len(planned) >= count


def test_a_short_season_has_every_kind_of_mistake_and_a_long_one_few_of_them() -> None:
    short = [p for p in Season(build_world(HUB), HUB).plan(200) if p.mistake]
    assert len({p.mistake for p in short}) >= 20
    long = list(Season(build_world(HUB), HUB).plan(2000))
    assert 0.05 <= sum(1 for p in long if p.mistake) / len(long) <= 0.10


def test_the_same_seed_gives_the_same_season() -> None:
    first, second = (list(Season(build_world(HUB), HUB, seed=7).plan(50)) for _ in range(2))
    assert [p.content.partition(b"datumTijd")[0] for p in first] == [p.content.partition(b"datumTijd")[0] for p in second]


def test_the_invented_chain_is_a_register_in_order() -> None:
    assert read_register(build_world(HUB).document, version=1).sizes()["endpoints"] > 100
