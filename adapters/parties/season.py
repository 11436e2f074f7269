"""A season's messages, invented: pupils who go on to mbo, what became of their applications, and the mistakes people and software make.

The shape follows domain facts 8.3: one mboGangerBericht per pupil and a fifth of them changed later; 1.4 applications of 3.2 statuses
each, with gaps and repeats. Everything is drawn from one seed, so a season can be repeated.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from typing import Final
from xml.sax.saxutils import escape

from adapters.parties.invented import bsn, wrong_number
from adapters.parties.world import ENDED_CODE, LASSEN, SISSEN, STRANGER, UNCONNECTED_CODE, UNMANDATED_CODE, School, World
from schemas.oin import Oin

NAMESPACE: Final = "urn:x-backbone:vva:1"
ADDRESS: Final = "https://koppelpunt.example/vva"

#: Part of the season that goes wrong; the facts say 5 to 10 percent on bad days.
MISTAKES: Final = 0.08

_FIRST = ("Sanne", "Daan", "Fatima", "Bram", "Noor", "Youssef", "Lotte", "Sem", "Aylin", "Thijs", "Esra", "Milan")
_LAST = ("Jansen", "de Boer", "Yilmaz", "Bakker", "van Dijk", "El Amrani", "Visser", "Smit", "Mulder", "Kaya", "Bos", "Vos")
_KINDS = ("PRO", "VMBO_BB", "VMBO_KB", "VMBO_GL", "VMBO_TL", "VSO_VERVOLG", "VAVO", "HAVO")
#: What may become of an application.
_PATHS = (("AO", "OA", "IN"), ("AO", "OA", "IN"), ("AO", "OA", "IT"), ("AO", "LI"), ("AO", "IT"), ("AO", "AO", "OA", "IN"))


@dataclass(frozen=True, slots=True)
class Pupil:
    """An invented pupil."""

    pgn: str
    first: str
    last: str
    born: date
    school: School
    gemeentecode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One hand-in of the season."""

    system: Oin
    sender: str
    action: str
    content: bytes
    mistake: str | None = None
    sabotage: str | None = None  #: what the demo does to the envelope; see adapters.parties.sabotage
    pgn: str | None = None


class Season:
    """Draws hand-ins, in the order in which they would be made."""

    def __init__(self, world: World, own_oin: str, *, seed: int = 2026, now: datetime | None = None) -> None:
        self._world, self._own = world, own_oin
        self._rng = random.Random(seed)  # noqa: S311 - invented pupils, nothing secret
        self._now = now or datetime.now(UTC)
        start = self._now.year if self._now.month >= 8 else self._now.year - 1
        self._year = f"{start}-{start + 1}"
        self._pupils = 0
        self._ketens = 0
        self._last: dict[str, Planned] = {}

    def plan(self, count: int) -> Iterator[Planned]:
        """At least `count` hand-ins, with every kind of mistake among them where the count allows."""
        wrong = cycle(self._mistakes())
        every = max(3, min(int(1 / MISTAKES), count // len(self._mistakes())))  # a short season has each kind once all the same
        made = 0
        while made < count:
            for planned in self._pupil():
                yield planned
                made += 1
                if made % every == 0:
                    for mistake in next(wrong)():
                        yield mistake
                        made += 1

    # -- what goes right ---------------------------------------------------------------------------------------------------------------
    def _new_pupil(self, **changes: object) -> Pupil:
        self._pupils += 1
        rng = self._rng
        school = rng.choice(self._world.vo)
        born = date(self._now.year - 16, 1, 1) + timedelta(days=rng.randrange(700))
        code = school.gemeentecode if rng.random() < 0.8 else rng.choice(self._world.gemeenten)[0]
        return replace(Pupil(bsn(self._pupils), rng.choice(_FIRST), rng.choice(_LAST), born, school, code), **changes)  # type: ignore[arg-type]

    def _pupil(self) -> Iterator[Planned]:
        pupil = self._new_pupil()
        yield self._ganger(pupil)
        if self._rng.random() < 0.2:
            yield self._ganger(pupil, verwachting="VERVALLEN" if self._rng.random() < 0.3 else "JA")
        for _ in range(1 if self._rng.random() < 0.6 else 2):
            yield from self._application(pupil)

    def _application(self, pupil: Pupil, *, path: tuple[str, ...] | None = None, **fields: str) -> Iterator[Planned]:
        self._ketens += 1
        mbo = self._rng.choice(self._world.mbo)
        keten = f"{mbo.brin}:{self._ketens:08d}"
        number = 1
        for status in path or self._rng.choice(_PATHS):
            yield self._status(pupil, mbo, keten, number, status, **fields)
            number += 1 if self._rng.random() < 0.85 else 2  # numbers may have gaps

    def _ganger(self, pupil: Pupil, *, mistake: str | None = None, sabotage: str | None = None, **fields: str) -> Planned:
        school = pupil.school
        values = {
            "burgerservicenummer": pupil.pgn,
            "geslachtsnaam": pupil.last,
            "voornamen": pupil.first,
            "geboortedatum": str(pupil.born),
            "brin": school.brin,
            "schooljaar": self._year,
            "onderwijssoort": self._rng.choice(_KINDS),
            "gemeentecode": pupil.gemeentecode,
            "verwachting": "JA",
            "peildatum": str(self._now.date()),
        } | fields
        return self._planned(school, "mboGangerBericht", values, mistake, sabotage, pupil.pgn)

    def _status(
        self,
        pupil: Pupil,
        mbo: School,
        keten: str,
        number: int,
        status: str,
        *,
        mistake: str | None = None,
        sabotage: str | None = None,
        **fields: str,
    ) -> Planned:
        values = {
            "ketenId": keten,
            "wijzigingsvolgnummer": str(number),
            "burgerservicenummer": pupil.pgn,
            "geboortedatum": str(pupil.born),
            "brin": mbo.brin,
            "opleidingcode": "25647",
            "leertraject": "BOL",
            "studiejaar": self._year,
            "status": status,
            "statusdatum": str(self._now.date()),
            "latendeBrin": pupil.school.brin,
            "heeftStartkwalificatie": "true" if self._rng.random() < 0.1 else "false",
            "gemeentecode": pupil.gemeentecode,
        } | fields
        return self._planned(mbo, "aanmeldStatusBericht", values, mistake, sabotage, pupil.pgn)

    def _planned(self, school: School, kind: str, values: dict[str, str], mistake: str | None, sabotage: str | None, pgn: str) -> Planned:
        header = {
            "identificatiecodeBedrijfsdocument": values.pop("business_id", str(uuid.UUID(int=self._rng.getrandbits(128), version=4))),
            "verzendendeInstantie": values.pop("verzendendeInstantie", school.oin),
            "ontvangendeInstantie": self._own,
            "datumTijdBedrijfsdocument": self._now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = _elements(values)
        content = f'<{kind} xmlns="{NAMESPACE}"><bedrijfsdocument>{_elements(header)}</bedrijfsdocument>{body}</{kind}>'.encode()
        planned = Planned(
            system=school.system,
            sender=school.oin,
            action=f"{NAMESPACE}/{kind}",
            content=content,
            mistake=mistake,
            sabotage=sabotage,
            pgn=pgn,
        )
        if mistake is None:
            self._last[kind] = planned
        return planned

    # -- what goes wrong ---------------------------------------------------------------------------------------------------------------
    def _mistakes(self) -> list[Callable[[], Iterator[Planned]]]:
        new = self._new_pupil

        def ganger(mistake: str, **fields: str) -> Callable[[], Iterator[Planned]]:
            return lambda: iter([self._ganger(new(), mistake=mistake, **fields)])

        def sabotaged(sabotage: str) -> Callable[[], Iterator[Planned]]:
            return lambda: iter([self._ganger(new(), mistake=sabotage, sabotage=sabotage)])

        # the first twelve have a code each, so that a small season shows twelve
        return [
            ganger("PGN_INVALID", burgerservicenummer=wrong_number(bsn(1))),
            lambda: iter([self._ganger(new(gemeentecode=ENDED_CODE), mistake="ROUTE_GEMEENTE_ENDED")]),
            lambda: iter([self._ganger(new(gemeentecode=UNCONNECTED_CODE), mistake="ROUTE_GEMEENTE_NOT_CONNECTED")]),
            sabotaged("changed after signing"),
            ganger("Client.DK0004", geboortedatum="12-03-2010"),
            lambda: self._application(new(), path=("AO", "IN"), mistake="STATUS_ORDER"),
            lambda: iter([replace(self._ganger(new()), mistake="NOT_OUR_RESIDENT")]),
            ganger("BRIN_NOT_SENDER", brin="99ZZ"),
            sabotaged("no mandate"),
            ganger("DATE_IMPLAUSIBLE", geboortedatum="1890-01-01"),
            lambda: self._application(new(school=self._world.unreachable), path=("AO",), mistake="ROUTE_NO_ENDPOINT"),
            sabotaged("same id, other content"),
            sabotaged("revoked certificate"),
            sabotaged("sent twice"),
            lambda: iter([self._ganger(new(gemeentecode=UNMANDATED_CODE), mistake="ROUTE_GEMEENTE_NOT_CONNECTED")]),
            ganger("HEADER_NOT_SENDER", verzendendeInstantie="99ZZ"),
            sabotaged("MessageID is no UUID"),
            lambda: iter([replace(p, mistake="NOT_ENROLLED") for p in self._application(new(), path=("AO",))]),
            sabotaged("no OIN in From"),
            sabotaged("unknown action"),
            lambda: self._stale(),
            sabotaged("truncated"),
            ganger("GEMEENTECODE_UNKNOWN", gemeentecode="1234"),
            sabotaged("From is missing"),
        ]

    def _stale(self) -> Iterator[Planned]:
        pupil, mbo = self._new_pupil(), self._world.mbo[0]
        self._ketens += 1
        keten = f"{mbo.brin}:{self._ketens:08d}"
        yield self._status(pupil, mbo, keten, 3, "OA", mistake="a gap")
        yield self._status(pupil, mbo, keten, 2, "AO", mistake="STATUS_STALE")


def _elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())


SYSTEMS_THAT_SEND: Final = (*LASSEN, *SISSEN, STRANGER)
