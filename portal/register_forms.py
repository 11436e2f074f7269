"""The forms with which people change the register: their fields, what is filled in beforehand, and the wish that they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from portal.register_view import day_typed, oin_typed
from routing.register import Delegation, Endpoint, Mandate, Register
from routing.register_values import Dated
from routing.register_wishes import (
    ABSENT,
    AddEndpoint,
    ChangeEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandate,
    EndMandates,
    GiveMandate,
    MoveAddress,
    RevokeMandate,
    Wish,
)
from schemas.oin import Oin, institution_of

#: Characters of one field, at most.
LONGEST: Final = 2_100
#: What stands for the mailbox where an address is chosen.
MAILBOX: Final = "postbus"

Fields = Mapping[str, str]


class FormWrong(Exception):
    """A field that cannot be so; `key` is of the texts, `field` the one to mend."""

    def __init__(self, key: str, field: str, **facts: str) -> None:
        super().__init__(key)
        self.key, self.field, self.facts = key, field, facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `kind`: oin, system, dienst, version, address, url, day, words or text."""

    name: str
    kind: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One kind of wish."""

    fields: tuple[Field, ...]
    make: Callable[[Fields, Dated | None], Wish]
    row: tuple[str, str] | None = None  #: the field that names a row, and that row's list
    danger: bool = False  #: it stops things at once


def _given(fields: Fields, name: str) -> str:
    return fields.get(name, "").strip()


def _day(fields: Fields, name: str) -> date | None:
    """Raises FormWrong."""
    try:
        return day_typed(_given(fields, name))
    except ValueError:
        raise FormWrong("reg.wrong.day", name) from None


def _needed_day(fields: Fields, name: str) -> date:
    """Raises FormWrong."""
    found = _day(fields, name)
    if found is None:
        raise FormWrong("reg.wrong.missing", name)
    return found


def _oin(fields: Fields, name: str) -> Oin:
    """Raises FormWrong."""
    text = _given(fields, name)
    if not text:
        raise FormWrong("reg.wrong.missing", name)
    found = oin_typed(text)
    if found is None:
        raise FormWrong("reg.wrong.oin", name)
    return Oin(found)


def _text(fields: Fields, name: str) -> str:
    """Raises FormWrong."""
    if not _given(fields, name):
        raise FormWrong("reg.wrong.missing", name)
    return _given(fields, name)


def _url(fields: Fields, name: str) -> str | None:
    """None: the mailbox."""
    text = _given(fields, name)
    return None if text in ("", MAILBOX) else text


def _words(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in _given(fields, name).split(",") if word.strip()))


def _give(fields: Fields, _: Dated | None) -> Wish:
    return GiveMandate(
        organisation=_oin(fields, "organisatie"),
        dienst=_text(fields, "dienst"),
        system=_oin(fields, "systeem"),
        start=_day(fields, "vanaf"),
        until=_day(fields, "tot"),
    )


def _end(fields: Fields, row: Dated | None) -> Wish:
    assert isinstance(row, Mandate)
    return EndMandate(organisation=row.organisation, token=row.token or "", until=_needed_day(fields, "tot"))


def _end_all(fields: Fields, _: Dated | None) -> Wish:
    return EndMandates(
        organisation=_oin(fields, "organisatie"),
        dienst=_text(fields, "dienst"),
        system=_oin(fields, "systeem"),
        until=_needed_day(fields, "tot"),
    )


def _revoke(_: Fields, row: Dated | None) -> Wish:
    assert isinstance(row, Mandate)
    return RevokeMandate(organisation=row.organisation, token=row.token or "")


def _add(fields: Fields, _: Dated | None) -> Wish:
    dienst, _space, versie = _text(fields, "dienstversie").partition(" ")
    receiver = _oin(fields, "ontvanger")
    organisation = institution_of(receiver)
    return AddEndpoint(
        organisation=organisation,
        routeringskenmerk=None if receiver == organisation else receiver,
        dienst=dienst,
        versie=versie,
        system=_oin(fields, "systeem"),
        url=_url(fields, "adres"),
        attributes=_words(fields, "labels"),
        start=_day(fields, "vanaf"),
        until=_day(fields, "tot"),
    )


def _change(fields: Fields, row: Dated | None) -> Wish:
    """Only what is different of what was filled in beforehand. Raises FormWrong when nothing is."""
    assert isinstance(row, Endpoint)
    wanted: dict[str, Any] = {
        "url": _url(fields, "adres"),
        "attributes": _words(fields, "labels"),
        "start": _day(fields, "vanaf"),
        "until": _day(fields, "tot"),
    }
    changed: dict[str, Any] = {name: value if value != getattr(row, name) else ABSENT for name, value in wanted.items()}
    if all(value is ABSENT for value in changed.values()):
        raise FormWrong("reg.wrong.nothing", "adres")
    return ChangeEndpoint(id=row.id, day=_day(fields, "dag"), **changed)


def _end_endpoint(fields: Fields, row: Dated | None) -> Wish:
    assert isinstance(row, Endpoint)
    return EndEndpoint(id=row.id, until=_needed_day(fields, "tot"))


def _move(fields: Fields, _: Dated | None) -> Wish:
    _text(fields, "oud")
    return MoveAddress(system=_oin(fields, "systeem"), old=_url(fields, "oud"), new=_url(fields, "nieuw"), day=_needed_day(fields, "dag"))


def _delegate(fields: Fields, _: Dated | None) -> Wish:
    return Delegate(
        municipality=_oin(fields, "organisatie"),
        dienst=_text(fields, "dienst"),
        region=_oin(fields, "regio"),
        start=_day(fields, "vanaf"),
        until=_day(fields, "tot"),
    )


def _end_delegation(fields: Fields, row: Dated | None) -> Wish:
    assert isinstance(row, Delegation)
    return EndDelegation(id=row.id, until=_needed_day(fields, "tot"))


_ORGANISATION: Final = Field(name="organisatie", kind="oin", required=True)
_SYSTEM: Final = Field(name="systeem", kind="system", required=True)
_DIENST: Final = Field(name="dienst", kind="dienst", required=True)
_FROM: Final = Field(name="vanaf", kind="day")
_UNTIL: Final = Field(name="tot", kind="day")
_LAST: Final = Field(name="tot", kind="day", required=True)
_LABELS: Final = Field(name="labels", kind="words")

#: By the last part of its address.
FORMS: Final[Mapping[str, Form]] = {
    "mandaat-geven": Form(fields=(_ORGANISATION, _DIENST, _SYSTEM, _FROM, _UNTIL), make=_give),
    "mandaat-beeindigen": Form(fields=(_LAST,), make=_end, row=("mandaat", "mandates")),
    "mandaten-beeindigen": Form(fields=(_ORGANISATION, _DIENST, _SYSTEM, _LAST), make=_end_all),
    "mandaat-intrekken": Form(fields=(), make=_revoke, row=("mandaat", "mandates"), danger=True),
    "endpoint-toevoegen": Form(
        fields=(
            Field(name="ontvanger", kind="oin", required=True),
            Field(name="dienstversie", kind="version", required=True),
            _SYSTEM,
            Field(name="adres", kind="url"),
            _FROM,
            _UNTIL,
            _LABELS,
        ),
        make=_add,
    ),
    "endpoint-wijzigen": Form(
        fields=(Field(name="adres", kind="url"), Field(name="dag", kind="day"), _FROM, _UNTIL, _LABELS),
        make=_change,
        row=("endpoint", "endpoints"),
    ),
    "endpoint-beeindigen": Form(fields=(_LAST,), make=_end_endpoint, row=("endpoint", "endpoints")),
    "adres-verhuizen": Form(
        fields=(
            _SYSTEM,
            Field(name="oud", kind="address", required=True),
            Field(name="nieuw", kind="url"),
            Field(name="dag", kind="day", required=True),
        ),
        make=_move,
    ),
    "delegatie-geven": Form(fields=(_ORGANISATION, _DIENST, Field(name="regio", kind="oin", required=True), _FROM, _UNTIL), make=_delegate),
    "delegatie-beeindigen": Form(fields=(_LAST,), make=_end_delegation, row=("delegatie", "delegations")),
}


def fields_of(form: Form, given: Mapping[str, Any]) -> dict[str, str]:
    """Those of a form, out of what came with a request. A field that is not the form's is left out."""
    names = [field.name for field in form.fields] + ([form.row[0]] if form.row else [])
    return {name: str(given[name])[:LONGEST] for name in names if name in given}


def filled(form: Form, fields: Fields, row: Dated | None) -> dict[str, str]:
    """What stands in the form before somebody wrote in it: what its link said, and of a row its own values."""
    if form is FORMS["endpoint-wijzigen"] and isinstance(row, Endpoint):
        shown = {"adres": row.url or "", "vanaf": _iso(row.start), "tot": _iso(row.until), "labels": ", ".join(row.attributes)}
        return shown | dict(fields)
    if form.row and row is not None and row.until is not None:
        return {"tot": _iso(row.until)} | dict(fields)
    return dict(fields)


def _iso(day: date | None) -> str:
    return "" if day is None else day.isoformat()


def home_of(fields: Fields, row: Dated | None, register: Register) -> str:
    """The page where one comes from: of the row's organisation or system, or of the one that was named."""
    match row:
        case Mandate():
            return f"/register/organisatie/{row.organisation}"
        case Endpoint():
            return f"/register/systeem/{row.system}"
        case Delegation():
            return f"/register/organisatie/{row.municipality}"
    for name, kind in (("organisatie", "organisatie"), ("systeem", "systeem"), ("ontvanger", "organisatie")):
        found = oin_typed(fields.get(name, ""))
        known = (register.organisations.keys() | register.boards.keys()) if kind == "organisatie" else register.systems.keys()
        if found in known:
            return f"/register/{kind}/{found}"
    return "/register"
