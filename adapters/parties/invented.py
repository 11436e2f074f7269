"""Invented persons and valid content for demonstrations and tests. Pure: the same numbers and seeds give the same persons.

The numbers lie in ranges that look reserved (BSN 9999….., onderwijsnummer 1999…..) and are never taken from real data.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Final, Literal
from xml.sax.saxutils import escape

from schemas.rules import is_bsn, is_onderwijsnummer

VVA: Final = "urn:x-backbone:vva:1"
PROEF: Final = "urn:x-backbone:proef:1"

_FIRST = (
    "Sanne",
    "Daan",
    "Noor",
    "Youssef",
    "Fenna",
    "Milan",
    "Aylin",
    "Sem",
    "Zoë",
    "Jayden",
    "Lotte",
    "Rayan",
    "Bregje",
    "Thijs",
    "Imane",
)
_MIDDLE = ("de", "van", "van der", "ten", "el", None, None, None, None, None)
_LAST = ("Jansen", "Vries", "Berg", "Bakker", "Yılmaz", "Meijer", "Amrani", "Smit", "Dijk", "Pinas", "Öztürk", "Hoekstra", "Brink", "Wit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who does not exist. Exactly one of the numbers is set."""

    bsn: str | None
    onderwijsnummer: str | None
    voornamen: str
    voorvoegsel: str | None
    geslachtsnaam: str
    geboortedatum: date


#: How many numbers are taken from one range of four leading digits before the next lower one is used; fewer than each range holds.
_PER_RANGE: Final = 5_000


def bsn(n: int) -> str:
    """The n-th invented BSN: different for every n, and valid by the elfproef. The first 5,000 start with 9999."""
    return _numbers(9999 - n // _PER_RANGE, "bsn")[n % _PER_RANGE]


def onderwijsnummer(n: int) -> str:
    """The n-th invented onderwijsnummer: different for every n, and valid by its check. The first 5,000 start with 1999."""
    return _numbers(1999 - n // _PER_RANGE, "onderwijsnummer")[n % _PER_RANGE]


@cache
def _numbers(leading: int, kind: Literal["bsn", "onderwijsnummer"]) -> tuple[str, ...]:
    valid = is_bsn if kind == "bsn" else is_onderwijsnummer
    return tuple(islice(filter(valid, (f"{leading:04}{rest:05}" for rest in range(100_000))), _PER_RANGE))


def wrong_number(number: str) -> str:
    """A number one digit away from this one, which no check accepts: what a typing error gives."""
    changed = (number[:8] + str(digit) for digit in range(10))
    return next(each for each in changed if not is_bsn(each) and not is_onderwijsnummer(each))


def person(rng: random.Random, *, number: int | None = None, on: date = date(2026, 10, 1)) -> Person:
    """A pupil of 14 to 19 years on a day; one in fifty has an onderwijsnummer instead of a BSN.

    `number` makes the personal number different from other persons'.
    """
    n = rng.randrange(_PER_RANGE) if number is None else number
    without_bsn = rng.random() < 0.02
    return Person(
        bsn=None if without_bsn else bsn(n),
        onderwijsnummer=onderwijsnummer(n) if without_bsn else None,
        voornamen=" ".join(rng.sample(_FIRST, rng.choice((1, 1, 2)))),
        voorvoegsel=rng.choice(_MIDDLE),
        geslachtsnaam=rng.choice(_LAST),
        geboortedatum=on - timedelta(days=rng.randrange(14 * 366, 19 * 365)),
    )


def mbo_ganger_bericht(
    *,
    business_id: str,
    sender: str,
    receiver: str,
    created: datetime,
    brin: str,
    schooljaar: str,
    geboortedatum: date | str,
    peildatum: date | str,
    geslachtsnaam: str = "Jansen",
    burgerservicenummer: str | None = None,
    onderwijsnummer: str | None = None,
    voorvoegsel: str | None = None,
    voornamen: str | None = None,
    vestiging: str | None = None,
    onderwijssoort: str = "VMBO_KB",
    postcode: str | None = None,
    gemeentecode: str | None = None,
    verwachting: str = "JA",
    vervangt: str | None = None,
) -> bytes:
    """A mboGangerBericht. `sender` and `receiver` are the business header's: a BRIN or OIN. Valid when the values are."""
    fields = {
        "burgerservicenummer": burgerservicenummer,
        "onderwijsnummer": onderwijsnummer,
        "geslachtsnaam": geslachtsnaam,
        "voorvoegsel": voorvoegsel,
        "voornamen": voornamen,
        "geboortedatum": geboortedatum,
        "brin": brin,
        "vestiging": vestiging,
        "schooljaar": schooljaar,
        "onderwijssoort": onderwijssoort,
        "postcode": postcode,
        "gemeentecode": gemeentecode,
        "verwachting": verwachting,
        "peildatum": peildatum,
    }
    return _bericht(VVA, "mboGangerBericht", _header(business_id, sender, receiver, created, vervangt), fields)


def aanmeld_status_bericht(
    *,
    business_id: str,
    sender: str,
    receiver: str,
    created: datetime,
    keten_id: str,
    volgnummer: int,
    brin: str,
    status: str,
    statusdatum: date | str,
    geboortedatum: date | str,
    studiejaar: str,
    burgerservicenummer: str | None = None,
    onderwijsnummer: str | None = None,
    onderwijsaanbieder: str | None = None,
    opleidingcode: str = "25647",
    leertraject: str = "BOL",
    startdatum: date | str | None = None,
    latende_brin: str | None = None,
    startkwalificatie: bool | None = None,
    gemeentecode: str | None = None,
    vervangt: str | None = None,
) -> bytes:
    """An aanmeldStatusBericht. `sender` and `receiver` are the business header's: a BRIN or OIN. Valid when the values are."""
    fields = {
        "ketenId": keten_id,
        "wijzigingsvolgnummer": volgnummer,
        "burgerservicenummer": burgerservicenummer,
        "onderwijsnummer": onderwijsnummer,
        "geboortedatum": geboortedatum,
        "brin": brin,
        "onderwijsaanbieder": onderwijsaanbieder,
        "opleidingcode": opleidingcode,
        "leertraject": leertraject,
        "studiejaar": studiejaar,
        "startdatumOpleiding": startdatum,
        "status": status,
        "statusdatum": statusdatum,
        "latendeBrin": latende_brin,
        "heeftStartkwalificatie": None if startkwalificatie is None else str(startkwalificatie).lower(),
        "gemeentecode": gemeentecode,
    }
    return _bericht(VVA, "aanmeldStatusBericht", _header(business_id, sender, receiver, created, vervangt), fields)


def proef(*, business_id: str, sender: str, receiver: str, created: datetime, echo: str | None = None) -> bytes:
    """A proef, which carries no personal data."""
    return _bericht(PROEF, "proef", _header(business_id, sender, receiver, created, None), {"echo": echo})


def _header(business_id: str, sender: str, receiver: str, created: datetime, replaces: str | None) -> str:
    fields = {
        "identificatiecodeBedrijfsdocument": business_id,
        "verzendendeInstantie": sender,
        "ontvangendeInstantie": receiver,
        "datumTijdBedrijfsdocument": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "vervangtBedrijfsdocument": replaces,
    }
    return f"<bedrijfsdocument>{_elements(fields)}</bedrijfsdocument>"


def _bericht(namespace: str, name: str, header: str, fields: Mapping[str, object]) -> bytes:
    return f'<{name} xmlns="{namespace}">{header}{_elements(fields)}</{name}>'.encode()


def _elements(fields: Mapping[str, object]) -> str:
    """One element per value; a value of None is left out, because empty elements are an error."""
    return "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in fields.items() if value is not None)
