"""Systems take turns on the event loop, whatever each of them has waiting."""

from __future__ import annotations

import asyncio

from schemas.oin import Oin
from workers.turns import A_ROUND, FEW, Turns

FLOOD, OTHER = Oin("00000003272448340000"), Oin("00000003272448360000")


def test_a_system_that_floods_waits_for_itself() -> None:
    done: list[str] = []

    async def work(turns: Turns, system: Oin, name: str) -> None:
        await turns.take(system)
        done.append(name)

    async def act() -> None:
        turns = Turns()
        flood = [asyncio.create_task(work(turns, FLOOD, f"flood {number}")) for number in range(5)]
        other = [asyncio.create_task(work(turns, OTHER, f"other {number}")) for number in range(2)]
        await asyncio.gather(*flood, *other)

    asyncio.run(act())
    assert done == ["flood 0", "other 0", "flood 1", "other 1", "flood 2", "flood 3", "flood 4"]


def test_one_piece_is_done_in_a_round_of_the_loop_so_that_what_comes_in_is_seen_in_between() -> None:
    done: list[str] = []

    async def work(turns: Turns) -> None:
        await turns.take(FLOOD)
        done.append("work")

    async def act() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(work(turns)) for _ in range(4)]
        for _ in range(4):
            await asyncio.sleep(0)
            done.append("round")
        await asyncio.gather(*tasks)

    asyncio.run(act())
    assert "work,work" not in ",".join(done)
    assert done.count("work") == 4


def waits(turns: Turns, system: Oin) -> bool:
    """Whether a piece of this system's has to wait now."""
    try:
        turns.take(system).send(None)
    except StopIteration:
        return False
    return True


def test_the_first_piece_of_a_system_in_a_round_waits_for_nobody_and_its_second_for_the_next_round() -> None:
    async def act() -> None:
        turns = Turns()
        assert not waits(turns, FLOOD)
        assert [waits(turns, FLOOD) for _ in range(5)] == [True] * 5
        assert not waits(turns, OTHER), "whatever stands in the flood's line"
        assert waits(turns, OTHER)

    asyncio.run(act())


def test_in_the_next_round_a_systems_first_piece_waits_for_nobody_again() -> None:
    async def act() -> None:
        turns = Turns()
        for _ in range(3):
            assert not waits(turns, FLOOD)
            await asyncio.sleep(0)

    asyncio.run(act())


def test_a_round_has_room_for_so_many_systems_and_whoever_stands_in_a_line_already_does_not_pass_it() -> None:
    systems = [Oin(f"000000032724483{number:02}000") for number in range(A_ROUND + 1)]

    async def act() -> None:
        turns = Turns()
        assert [waits(turns, system) for system in systems] == [False] * A_ROUND + [True]
        turns._took.clear()  # a round later, before the lines are looked at
        assert waits(turns, systems[-1])

    asyncio.run(act())


def test_one_whose_connection_is_gone_costs_nobody_a_turn() -> None:
    done: list[int] = []

    async def work(turns: Turns, number: int) -> None:
        await turns.take(FLOOD)
        done.append(number)

    async def act() -> None:
        turns = Turns()
        tasks = [asyncio.create_task(work(turns, number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.wait(tasks)
        await asyncio.wait_for(work(turns, 9), 1.0)

    asyncio.run(act())
    assert done == [0, 3, 9]


def most_in_hand(*systems: Oin) -> int:
    """How many messages of the first of these systems are in hand at a time, of forty that it hands in at once."""
    now = most = 0

    async def act() -> None:
        turns = Turns()

        async def work(system: Oin) -> None:
            nonlocal now, most
            async with turns.in_hand(system):
                if system == systems[0]:
                    now += 1
                    most = max(most, now)
                await asyncio.sleep(0.001)
                if system == systems[0]:
                    now -= 1

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for system in (*systems, *[systems[0]] * 39):
                group.create_task(work(system))

    asyncio.run(act())
    return most


def test_a_system_that_is_alone_may_have_many_messages_in_hand_and_beside_others_a_few() -> None:
    assert most_in_hand(FLOOD) == 40
    assert most_in_hand(FLOOD, OTHER) <= FEW + 1  # one of the other's
    assert most_in_hand(FLOOD, *[OTHER] * 6) <= FEW + 6


def test_one_that_gives_up_while_it_is_held_back_holds_back_nobody() -> None:
    done: list[int] = []

    async def act() -> None:
        turns, free = Turns(), asyncio.Event()

        async def work(system: Oin, number: int) -> None:
            async with turns.in_hand(system):
                await free.wait()
                done.append(number)

        tasks = [asyncio.create_task(work(OTHER, -1)), *(asyncio.create_task(work(FLOOD, number)) for number in range(FEW + 4))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks[FEW + 2].cancel()  # the first that is held back
        free.set()
        async with asyncio.timeout(10):
            await asyncio.wait(tasks)

    asyncio.run(act())
    assert sorted(done) == [-1, *range(FEW + 1), FEW + 2, FEW + 3]
