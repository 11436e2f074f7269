"""The ids we give to messages and deliveries."""

from __future__ import annotations

import uuid

from schemas.ids import new_id


def test_ids_are_uuids_of_version_7_and_never_the_same() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(u.version, u.variant) for u in map(uuid.UUID, ids)} == {(7, uuid.RFC_4122)}


def test_ids_of_a_later_millisecond_stand_behind_earlier_ones() -> None:
    first = new_id()
    while new_id()[:13] == first[:13]:
        continue
    assert new_id() > first
