"""Changing the service register: a form, what it would change, a reason, and then it is made. The rules are `routing.register_rules`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from portal.pages.kit import Kit
from portal.register_forms import FORMS, Form, FormWrong, fields_of, filled, home_of
from portal.register_view import oin_typed, places_of
from portal.shell import Answer, Visit, page
from portal.texts import text
from routing.actions import CannotAct, checked_reason
from routing.register import Register, Standing
from routing.register_changing import Otherwise, Proposal, RegisterChanges
from routing.register_files import Difference
from routing.register_people import CHANGE, Whose, whose_of
from routing.register_rows import read_row
from routing.register_values import Dated, Kind
from routing.register_wishes import RuleBroken, Wish
from schemas.faults import OurFailure

#: Changes that a preview names one by one.
SHOWN: Final = 100
_WISH: Final = "registerwens"


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=CHANGE)
    async def form(request: web.Request, visit: Visit) -> Answer:
        asked = await _asked(kit, request, visit, request.query)
        return await _form(kit, request, visit, asked)

    @page(permission=CHANGE)
    async def propose(request: web.Request, visit: Visit) -> Answer:
        """Judges it, and goes on to what it would change."""
        asked = await _asked(kit, request, visit, await request.post())
        try:
            await kit.ask(asked.changes.propose, visit.account, asked.wish())
        except (FormWrong, RuleBroken) as error:
            return await _form(kit, request, visit, asked, error)
        if visit.session is None:
            raise web.HTTPForbidden(reason="permission")
        kept = json.dumps({"what": asked.what, "fields": asked.fields}).encode()
        handle = await kit.shell.keep(visit.session.key, _WISH, kept)
        raise web.HTTPSeeOther(f"/register/voorstel/{handle}")

    @page(permission=CHANGE)
    async def proposed(request: web.Request, visit: Visit) -> Answer:
        asked = await _kept(kit, request, visit)
        try:
            proposal = await kit.ask(asked.changes.propose, visit.account, asked.wish())
        except (FormWrong, RuleBroken) as error:
            return await _form(kit, request, visit, asked, error)
        return await _preview(kit, request, visit, asked, proposal)

    @page(permission=CHANGE)
    async def make(request: web.Request, visit: Visit) -> Answer:
        """Makes what was shown, for the reason that was given."""
        asked, form = await _kept(kit, request, visit), await request.post()
        reason, seen = str(form.get("waarom", ""))[:600], str(form.get("gezien", ""))
        try:
            why = checked_reason(reason)
        except CannotAct:
            key = "reg.why.numbers" if reason.strip() else "reg.why.missing"
            proposal = await kit.ask(asked.changes.propose, visit.account, asked.wish())
            return await _preview(kit, request, visit, asked, proposal, problem=text(key, visit.language), reason=reason)
        try:
            await kit.ask(asked.changes.make, visit.account, asked.wish(), why=why, digest=seen)
        except Otherwise as error:
            problem = text("reg.moved", visit.language)
            return await _preview(kit, request, visit, asked, error.proposal, problem=problem, reason=reason)
        except (FormWrong, RuleBroken) as error:
            return await _form(kit, request, visit, asked, error)
        except OurFailure:
            proposal = await kit.ask(asked.changes.propose, visit.account, asked.wish())
            return await _preview(kit, request, visit, asked, proposal, problem=text("reg.busy", visit.language), reason=reason)
        if visit.session is not None:
            await kit.shell.kept(visit.session.key, _WISH, request.match_info["handle"], once=True)
        raise web.HTTPSeeOther(f"{asked.home}?gedaan={asked.what}")

    return [
        web.get("/register/wens/{what}", form),
        web.post("/register/wens/{what}", propose),
        web.get("/register/voorstel/{handle}", proposed),
        web.post("/register/voorstel/{handle}", make),
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A form as it came, before the register."""

    what: str  #: a key of FORMS
    fields: dict[str, str]
    changes: RegisterChanges
    register: Register
    whose: Whose
    row: Dated | None  #: that the form names

    @property
    def form(self) -> Form:
        return FORMS[self.what]

    @property
    def home(self) -> str:
        """Where to go back to: a page that the visitor sees."""
        home = home_of(self.fields, self.row, self.register)
        oin = home.rpartition("/")[2]
        sees = self.whose.sees_organisation if "/organisatie/" in home else self.whose.sees_system
        if home == "/register" or sees(oin):
            return home
        system = getattr(self.row, "system", None) or self.fields.get("systeem", "")
        return f"/register/systeem/{system}" if self.whose.sees_system(system) else "/register"

    def wish(self) -> Wish:
        """Raises FormWrong."""
        return self.form.make(self.fields, self.row)


async def _asked(kit: Kit, request: web.Request, visit: Visit, given: Mapping[str, Any], what: str | None = None) -> _Asked:
    """Raises HTTPNotFound for a form there is none of, and for a row, organisation or system that is none of the visitor's."""
    what = what or request.match_info["what"]
    changes = kit.desk.changes
    if what not in FORMS or changes is None:
        raise web.HTTPNotFound
    form, fields = FORMS[what], fields_of(FORMS[what], given)
    register = await kit.ask(changes.register)
    whose, row = await kit.ask(whose_of, visit.account, register), None
    if form.row is not None:
        name, list_ = form.row
        key = fields.get(name, "")
        row = await kit.ask(changes.row, list_, key) if 0 < len(key) <= 250 else None
        if row is None or not whose.sees(row):
            raise web.HTTPNotFound
    asked = _Asked(what, fields, changes, register, whose, row)
    if not _theirs(whose, fields):
        raise web.HTTPNotFound
    return asked


def _theirs(whose: Whose, fields: Mapping[str, str]) -> bool:
    """Whether the organisation or system that acts is the visitor's: what somebody else's could have is not even judged."""
    if (organisation := fields.get("organisatie", "").strip()) != "":
        return whose.may_mandate(oin_typed(organisation) or "")
    system = fields.get("systeem", "").strip()
    return not system or "organisatie" in fields or whose.may_keep(oin_typed(system) or "")


async def _kept(kit: Kit, request: web.Request, visit: Visit) -> _Asked:
    """Raises HTTPNotFound when it is over, and for what is another session's."""
    handle = request.match_info["handle"]
    kept = await kit.shell.kept(visit.session.key, _WISH, handle) if visit.session else None
    if kept is None:
        raise web.HTTPNotFound
    found = json.loads(kept)
    return await _asked(kit, request, visit, found["fields"], found["what"])


async def _form(kit: Kit, request: web.Request, visit: Visit, asked: _Asked, error: FormWrong | RuleBroken | None = None) -> web.Response:
    language, conflict = visit.language, None
    problem = text(error.key, language) if isinstance(error, FormWrong) else None
    if isinstance(error, RuleBroken):
        problem = error.nl if language == "nl" else error.en
        conflict = await kit.ask(_in_the_way, asked, error.row)
    register, whose = asked.register, asked.whose
    system = asked.fields.get("systeem", "")
    choices: dict[str, Any] = {"places": (), "systems": (), "versions": ()}
    if any(field.kind == "address" for field in asked.form.fields) and whose.sees_system(system):
        choices["places"] = await kit.ask(lambda: places_of(register.parts.of_system(system).endpoints, asked.changes.today()))
    today = asked.changes.today()
    own = whose.systems if asked.what in ("endpoint-toevoegen", "adres-verhuizen") and not whose.changes_all else None
    choices["systems"] = sorted(
        (
            row
            for row in register.systems.values()
            if (row.standing(today) is not Standing.ENDED and (own is None or row.oin in own)) or row.oin == system
        ),
        key=lambda row: row.name.casefold(),
    )
    choices["versions"] = sorted(key for key, row in register.diensten.items() if row.standing(today) is not Standing.ENDED)
    return await kit.show(
        request,
        visit,
        "register_wish.html",
        status=409 if isinstance(error, RuleBroken) else 422 if error else 200,
        asked=asked,
        form=asked.form,
        values=filled(asked.form, asked.fields, asked.row),
        row=asked.row,
        problem=problem,
        wrong=error.field if isinstance(error, FormWrong) else None,
        conflict=conflict,
        today=today,
        regions=[one for one in register.organisations.values() if one.kind is Kind.MUNICIPALITY] if "delegatie" in asked.what else (),
        **choices,
    )


def _in_the_way(asked: _Asked, key: str | None) -> tuple[str, Dated] | None:
    """The list and row that a refusal names, where the visitor sees it."""
    for name in ("mandates", "endpoints", "delegations") if key else ():
        row = asked.changes.row(name, key or "")
        if row is not None and asked.whose.sees(row):
            return name, row
    return None


async def _preview(
    kit: Kit, request: web.Request, visit: Visit, asked: _Asked, proposal: Proposal, *, problem: str | None = None, reason: str = ""
) -> web.Response:
    order = list(dict.fromkeys(one.list for one in proposal.differences))  # mandates stand before what is under them
    tally = Counter((one.list, kind_of(one)) for one in proposal.differences)
    return await kit.show(
        request,
        visit,
        "register_preview.html",
        status=409 if problem else 200,
        asked=asked,
        form=asked.form,
        proposal=proposal,
        handle=request.match_info["handle"],
        tally=sorted(tally.items(), key=lambda of: (order.index(of[0][0]), of[0][1])),
        shown=[(one, kind_of(one), rows_of(one)) for one in proposal.differences[:SHOWN]],
        more=max(0, len(proposal.differences) - SHOWN),
        problem=problem,
        reason=reason,
    )


def kind_of(one: Difference) -> str:
    """`new`, `gone`, `revoked`, `shorter`, `longer`, or `changed`."""
    before, after = rows_of(one)
    if before is None or after is None:
        return "new" if before is None else "gone"
    if getattr(after, "revoked", False):
        return "revoked"
    if one.before is not None and one.after is not None:
        fields = {name for name in (*one.before, *one.after) if one.before.get(name) != one.after.get(name)}
        if fields == {"until"}:
            shorter = after.until is not None and (before.until is None or after.until < before.until)
            return "shorter" if shorter else "longer"
    return "changed"


def rows_of(one: Difference) -> tuple[Dated | None, Dated | None]:
    """As values: before and after."""
    return (
        None if one.before is None else read_row(one.list, one.before),
        None if one.after is None else read_row(one.list, one.after),
    )
