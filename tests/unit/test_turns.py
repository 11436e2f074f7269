"""Systems take turns on the event loop, whatever each of them has waiting."""

from __future__ import annotations

import asyncio

from schemas.oin import Oin
from workers.turns import Turns

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
    assert done == ["flood 0", "flood 1", "other 0", "flood 2", "other 1", "flood 3", "flood 4"]


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
