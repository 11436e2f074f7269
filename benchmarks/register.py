"""A national register: how long it takes to load, what a look-up costs, what a process holds of it, and when a change is seen.

    python benchmarks/register.py [--schools 8000] [--postgres] [--json]

8,000 schools, 340 municipalities, 60 suppliers, 12 diensten; five school years of mandates and endpoints. The first year is loaded as a
document, checked as `register load` does; each year after that is one change, in which a part of the organisations go to another
supplier on 1 August. What is measured, is measured in another process, as a router is one:

    load_s            checking and storing all five years
    cached_us         where a message goes (`resolve`: endpoints, mandates and the decision), of an organisation that is in memory
    uncached_us       the same of one that must be read from the store first; of both the median, of some thousand
    visible_s         from the commit of a change until another process answers by it; the longest of five
    rss_mb            what that process holds after it has been asked about every organisation
    api_reads_per_s   endpoints of a thousand schools looked up over HTTPS, at one gateway process
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.store import Store, open_store  # noqa: E402 - runs from any folder
from benchmarks.register_api import of_a_store  # noqa: E402
from routing.register import read_register  # noqa: E402
from routing.register_book import RowChange  # noqa: E402
from routing.resolver import resolve  # noqa: E402
from schemas.oin import Oin, school_oin  # noqa: E402
from workers.register_cache import RegisterCache  # noqa: E402

MUNICIPALITIES: Final = 340
SUPPLIERS: Final = 60
DIENSTEN: Final = tuple(f"dienst{number:02}" for number in range(12))
YEARS: Final = (2022, 2023, 2024, 2025, 2026)
#: An instant in the last of these years.
NOW: Final = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
#: Look-ups that are timed.
LOOKUPS: Final = 1_000
CHANGES: Final = 5


def school(number: int) -> Oin:
    """The OIN of the school with this number."""
    letters = number // 100
    return school_oin(f"{number % 100:02}{chr(65 + letters // 26)}{chr(65 + letters % 26)}")


def organisations(schools: int) -> list[Oin]:
    """All of them: schools, then municipalities."""
    return [*(school(number) for number in range(schools)), *(Oin(f"0000000100{number:06}0000") for number in range(MUNICIPALITIES))]


def system(number: int) -> Oin:
    """A supplier's."""
    return Oin(f"0000000390{number % SUPPLIERS:06}0000")


def small_lists(schools: int) -> dict[str, list[dict[str, Any]]]:
    """What hardly changes."""
    everybody = organisations(schools)
    return {
        "organisations": [
            *({"oin": oin, "name": f"School {oin[11:15]}", "kind": "school", "roles": ["vo"]} for oin in everybody[:schools]),
            *(
                {"oin": oin, "name": f"Gemeente {n}", "kind": "municipality", "roles": ["gemeente"], "gemeentecodes": [{"code": f"{n:04}"}]}
                for n, oin in enumerate(everybody[schools:])
            ),
        ],
        "systems": [{"oin": system(n), "name": f"Systeem {n}", "supplier": f"Leverancier {n}"} for n in range(SUPPLIERS)],
        "diensten": [{"dienst": d, "versie": v, "namespace": f"urn:x:{d}:{v}"} for d in DIENSTEN for v in ("1", "2")],
    }


def rows_of(number: int, oin: Oin, year: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """List, key and row of what organisation `number` has written down in this year: in the first, all it needs; in the year in which it
    goes to another supplier, the end of that and what comes after; for half of the diensten an endpoint of version 2 besides."""
    switches = YEARS[1 + number % (len(YEARS) - 1)]
    if year not in (YEARS[0], switches):
        return
    old, new = system(number), system(number + 1 + number % 7)
    for place, dienst in enumerate(DIENSTEN):
        spans = [(old, {"from": f"{YEARS[0]}-08-01"})]
        if year == switches:
            spans = [(old, spans[0][1] | {"until": f"{switches}-07-31"}), (new, {"from": f"{switches}-08-01"})]
        for acting, days in spans:
            token = f"{number:08}-{place:04}-4000-8000-{acting[10:16]:0>12}"
            yield "mandates", token, {"token": token, "organisation": oin, "dienst": dienst, "system": acting, **days}
            for versie in ("1", "2") if acting is new and place % 2 else ("1",):
                id = f"{oin}/{dienst}/{versie}/{acting}"
                row = {"id": id, "organisation": oin, "dienst": dienst, "versie": versie, "system": acting, **days}
                how = {"mailbox": True} if number % 3 else {"url": f"https://{acting}.leverancier.example/{dienst}"}
                yield "endpoints", id, row | how


def load(store: Store, schools: int) -> float:
    """Seconds for all five years."""
    everybody, began = organisations(schools), time.perf_counter()
    document: dict[str, list[dict[str, Any]]] = small_lists(schools) | {"mandates": [], "endpoints": []}
    for number, oin in enumerate(everybody):
        for name, _, row in rows_of(number, oin, YEARS[0]):
            document[name].append(row)
    read_register(document, version=0)
    store.register.save(document, who="bench", why="", now_us=int(time.time() * 1e6))
    del document
    for year in YEARS[1:]:
        changes = [RowChange(*row) for number, oin in enumerate(everybody) for row in rows_of(number, oin, year)]
        store.register.change(changes, who="bench", why=f"1 augustus {year}", now_us=int(time.time() * 1e6))
    return time.perf_counter() - began


def lookups(cache: RegisterCache, some: Sequence[Oin]) -> list[float]:
    """Microseconds of each look-up."""
    register, took = cache(), []
    for place, oin in enumerate(some):
        began = time.perf_counter()
        found = resolve(register, receiver=oin, dienst=DIENSTEN[place % len(DIENSTEN)], versie="1", now=NOW)
        took.append((time.perf_counter() - began) * 1e6)
        if found.endpoint is None:
            raise SystemExit(f"{oin} has no endpoint: {found.decision.text_en}")
    return took


def memory_mb() -> float:
    """What this process holds."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def route(url: str, schools: int) -> None:
    """The other process: prints what it measured, and then, for each change, when it saw it."""
    store = open_store(url, upgrade=False)
    cache, everybody = RegisterCache(store.register), organisations(schools)
    some = everybody[:: max(1, len(everybody) // LOOKUPS)]
    uncached = lookups(cache, some)
    lookups(cache, some)
    cached = [value for _ in range(5) for value in lookups(cache, some)]
    lookups(cache, everybody)
    figures = {"cached_us": cached, "uncached_us": uncached, "rss_mb": memory_mb(), "version": cache().version}
    print(json.dumps(figures), flush=True)
    for _ in range(CHANGES):
        version = cache().version
        while cache().version == version:
            time.sleep(0.01)
        lookups(cache, everybody[:1])
        print(time.time(), flush=True)
    store.close()


def visible(store: Store, router: subprocess.Popen[str]) -> list[float]:
    """Seconds until the other process answers by a change, of each of a few."""
    took = []
    assert router.stdout is not None
    for number in range(CHANGES):
        _, key, row = next(iter(rows_of(0, school(0), YEARS[0])))
        row |= {"until": f"2027-01-0{number + 1}"}
        store.register.change([RowChange("mandates", key, row)], who="bench", why="", now_us=int(time.time() * 1e6))
        committed = time.time()
        took.append(float(router.stdout.readline()) - committed)
    return took


def measure(url: str, schools: int) -> dict[str, Any]:
    """All of it, on an empty store."""
    store = open_store(url)
    load_s = load(store, schools)
    endpoints = store.register.counts(store.register.newest())["endpoints"]
    command = [sys.executable, str(Path(__file__)), "--route", url, "--schools", str(schools)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as router:
        assert router.stdout is not None
        said = router.stdout.readline()
        if not said:
            raise SystemExit("the router ended without a word")
        figures = json.loads(said)
        seen = visible(store, router)
    store.close()
    return {
        "endpoints": endpoints,
        "load_s": round(load_s, 1),
        "cached_us": round(statistics.median(figures["cached_us"]), 1),
        "uncached_us": round(statistics.median(figures["uncached_us"]), 1),
        "visible_s": round(max(seen), 2),
        "rss_mb": round(figures["rss_mb"], 1),
        "api_reads_per_s": round(of_a_store(url)),
    }


def run(*, schools: int = 8_000, postgres: bool = False, as_json: bool = False) -> int:
    """Measures and prints."""
    home = Path(tempfile.mkdtemp(prefix="koppelpunt-register-"))
    try:
        result = measure(_postgres() if postgres else f"sqlite:///{home / 'store.db'}", schools)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(result) if as_json else "\n".join(f"{name:16} {'-' if value is None else value}" for name, value in result.items()))
    return 0


def _postgres() -> str:
    """A database of its own on a private server, which ends with this process."""
    from sqlalchemy import create_engine, text

    from tests.support import postgres

    url = postgres.server(durable=True)
    engine = create_engine(url.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE register_bench TEMPLATE template0"))
    engine.dispose()
    return url.format(database="register_bench")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--schools", type=int, default=8_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--route", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.route:
        route(options.route, options.schools)
    else:
        raise SystemExit(run(schools=options.schools, postgres=options.postgres, as_json=options.json))


if __name__ == "__main__":
    main()
