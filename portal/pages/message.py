"""Message: all that happened to it, in order; what belongs to it; and its content, hidden until somebody opens it with a reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from portal.pages.kit import Kit, reason_words
from portal.personal import REFUSED
from portal.shell import Answer, Visit, page
from portal.texts import TEXTS, text
from routing.actions import REDIRECTABLE, CannotAct, checked_reason
from routing.board import ItemFilter, MessageView
from routing.contents import Opened, Outcome
from routing.people import SEE, Permission
from schemas.events import Event
from schemas.faults import CODES

#: Of content that is shown, at most: a browser that draws a megabyte of text helps nobody.
SHOWN: Final = 200_000
#: Seconds for which a page waits for the process that opens content, and between two looks.
PATIENCE_S, LOOK_S = 6.0, 0.05
#: Why there is no content: status and sentence.
_UNOPENED: Final[Mapping[Outcome | None, tuple[int, str]]] = {
    None: (503, "content.no_answer"),
    Outcome.GONE: (410, "content.erased"),
    Outcome.REFUSED: (403, "content.refused"),
    Outcome.TOO_OFTEN: (429, "content.too_often"),
    Outcome.FAILED: (500, "content.failed"),
}
#: Fields of a message that the page shows, in order; the rest is nobody's business.
FACTS: Final = (
    "message_id",
    "business_id",
    "dienst",
    "versie",
    "bericht",
    "action",
    "address",
    "via",
    "size",
    "received_us",
    "created_us",
    "expires_us",
    "register_version",
    "stale",
)
#: Kinds of event that are an operator's own act.
ACTS: Final = frozenset(
    {"retried", "returned", "redirected", "archived", "reopened", "resent", "refusal_closed", "content_opened", "resolved", "proef_asked"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline."""

    at_us: int
    kind: str  #: `event`, `decision`, `attempt` or `act`
    title: str
    tone: str  #: good, way, wait, bad, done, act
    lines: tuple[tuple[str, str], ...] = ()  #: word and value
    said: str | None = None  #: the sentence of a decision, or a reason
    delivery: str | None = None
    actor: str | None = None
    order: int = field(default=0)  #: among those of one moment


def routes(kit: Kit) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=SEE)
    async def find(request: web.Request, visit: Visit) -> Answer:
        """By any of its ids."""
        asked = request.query.get("id", "").strip()
        reference = await kit.ask(kit.board.find, visit.scope, asked) if 0 < len(asked) <= 200 else None
        if reference is None:
            raise web.HTTPSeeOther(f"/openstaand?lijst=alles{f'&{REFUSED}=ja' if request.query.get(REFUSED) else ''}")
        raise web.HTTPSeeOther(f"/bericht/{reference}")

    @page(permission=SEE)
    async def message(request: web.Request, visit: Visit) -> Answer:
        return await _show(kit, request, visit, await _found(kit, request, visit))

    @page(permission=Permission.SEE_CONTENT)
    async def content(request: web.Request, visit: Visit) -> Answer:
        """Break-glass: another process journals the reason and then decrypts; this one has no key for it."""
        view = await _found(kit, request, visit)
        if not view.whole:
            raise web.HTTPNotFound
        form = await request.post()
        try:
            why = checked_reason(str(form.get("waarom", "")))
        except CannotAct:
            return await _show(kit, request, visit, view, status=400, problem=text("content.reason.wrong", visit.language))
        opened = await _opened(kit, visit, str(view.facts["reference"]), why)
        if opened is None or opened.outcome is not Outcome.OPENED:
            status, problem = _UNOPENED[opened.outcome if opened else None]
            return await _show(kit, request, visit, view, status=status, problem=text(problem, visit.language))
        shown = opened.content[:SHOWN].decode("utf-8", "replace")
        again = await _found(kit, request, visit)  # with what was just journalled
        return await _show(kit, request, visit, again, content=shown, cut=len(opened.content) > SHOWN, why=why)

    return [
        web.get("/bericht", find),
        web.get("/bericht/{reference}", message),
        web.post("/bericht/{reference}/inhoud", content),
    ]


async def _opened(kit: Kit, visit: Visit, reference: str, why: str) -> Opened | None:
    """What the process with the master key answers; None when it does not, and then it is not asked any more."""
    contents, now_us = kit.desk.contents, kit.now_us
    asked = await kit.ask(contents.ask, reference, account=visit.account.name, proof=visit.proof, reason=why, now_us=now_us)
    until = time.monotonic() + PATIENCE_S
    opened = None
    try:
        while opened is None and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            opened = await kit.ask(contents.answer, asked)
    finally:
        if opened is None:
            await kit.ask(contents.withdraw, asked)
    return opened


async def _found(kit: Kit, request: web.Request, visit: Visit) -> MessageView:
    """Raises HTTPNotFound, also for one that the visit may not see."""
    reference = request.match_info["reference"]
    view = await kit.ask(kit.board.message, visit.scope, reference) if len(reference) <= 100 else None
    if view is None:
        raise web.HTTPNotFound
    return view


async def _show(
    kit: Kit,
    request: web.Request,
    visit: Visit,
    view: MessageView,
    *,
    status: int = 200,
    problem: str | None = None,
    content: str | None = None,
    cut: bool = False,
    why: str | None = None,
) -> web.Response:
    names = await kit.directory()
    acts = visit.may(Permission.ACT) and view.whole
    redirectable = [str(one["id"]) for one in view.deliveries if one["state"] in REDIRECTABLE][:10] if acts and view.kept else []
    places = {id: await kit.ask(kit.desk.actions.places, visit.scope, id) for id in redirectable}
    return await kit.show(
        request,
        visit,
        "message.html",
        places_of=places,
        whole_acts=whole_acts(view) if acts else (),
        states=list(dict.fromkeys(str(one["state"]) for one in view.deliveries)),
        stops=[one for one in (view.facts, *view.deliveries) if one.get("code") and one["state"] in ("failed", "refused")],
        status=status,
        view=view,
        facts=view.facts,
        shown_facts=[name for name in FACTS if view.facts.get(name) not in (None, "")],
        timeline=timeline(view, visit.language, names.name),
        problem=problem,
        content=content,
        cut=cut,
        why=why,
        wanted=ItemFilter(reference=str(view.facts["reference"])),
    )


def whole_acts(view: MessageView) -> list[str]:
    """What may be done with a message or refusal that has no delivery."""
    if view.deliveries:
        return []
    match view.facts["state"]:
        case "refused":
            return ["archive"] if view.items else []
        case "failed":
            return [*(["retry"] if view.kept else []), "return", "archive"]
        case "archived":
            return [*(["reopen"] if view.kept else []), "return"]
    return []


def timeline(view: MessageView, language: str, name: Any) -> list[Moment]:
    """Events, decisions and attempts as one story, in order."""
    found = [_of_event(event, language, name) for event in view.events]
    found += [_of_decision(decision, language) for decision in view.decisions]
    found += [_of_attempt(delivery, tried, language, name) for delivery in view.deliveries for tried in delivery.get("tries", ())]
    return sorted(found, key=lambda moment: (moment.at_us, moment.order))


def _words(prefix: str, key: str, language: str) -> str:
    """Of our texts, or the key itself in plain letters."""
    return text(f"{prefix}.{key}", language) if f"{prefix}.{key}" in TEXTS else key.replace("_", " ")


def _tone(kind: str, state: str | None) -> str:
    if kind in ("failed", "refused", "dead") or state == "failed":
        return "bad"
    if kind in ACTS:
        return "act"
    if kind in ("waiting", "postponed", "uncertain") or state in ("postponed", "uncertain"):
        return "wait"
    return "good" if state in ("acknowledged", "answered", "delivered") else "way"


def _code(code: str, language: str) -> str:
    kind = CODES.get(code)
    return code if kind is None else f"{code}: {kind.nl if language == 'nl' else kind.en}"


def _of_event(event: Event, language: str, name: Any) -> Moment:
    lines = []
    if event.code:
        lines.append((text("col.code", language), _code(event.code, language)))
    if event.receiver:
        lines.append((text("col.receiver", language), name(event.receiver)))
    if event.receiver_system:
        lines.append((text("col.receiver_system", language), name(event.receiver_system)))
    lines += [(_words("detail", key, language), value) for key, value in sorted(event.details.items())]
    said = reason_words(event.reason, event.code)
    if event.kind == "received" and event.dienst:  # or else it would have been refused
        said = text("event.received.said", language, dienst=event.dienst, versie=event.versie or "")
    return Moment(
        at_us=event.at_us,
        kind="act" if event.kind in ACTS else "event",
        title=_words("event", event.kind, language),
        tone=_tone(event.kind, event.state),
        lines=tuple(lines),
        said=said,
        delivery=event.delivery,
        actor=event.actor,
        order=2,
    )


def _of_decision(decision: Mapping[str, Any], language: str) -> Moment:
    outcome = str(decision.get("outcome", ""))
    question = _words("question", str(decision.get("question", "")), language)
    title = f"{question}{'' if question.endswith('?') else ':'} {_words('answer', outcome, language)}"
    lines = [(text("col.rule", language), str(decision["rule"]))] if decision.get("rule") else []
    if decision.get("register_version") is not None:
        lines.append((text("fact.register_version", language), str(decision["register_version"])))
    return Moment(
        at_us=int(decision["at_us"]),
        kind="decision",
        title=title,
        tone={"yes": "good", "no": "bad", "wait": "wait"}.get(outcome, "done"),
        lines=tuple(lines),
        said=decision.get(language) or decision.get("nl"),
        delivery=decision.get("delivery"),
        order=1,
    )


def _place(delivery: Mapping[str, Any], tried: Mapping[str, Any], language: str, name: Any) -> str:
    """Where it was offered: a mailbox, an address, or the id that the register had for it then."""
    lane = str(delivery.get("lane") or "").split(" ")
    if tried["endpoint"] != delivery.get("endpoint") or len(lane) < 2:
        return str(tried["endpoint"])
    return text("lane.mailbox_of", language, name=name(lane[1])) if lane[0] == "mailbox" else lane[-1]


def _of_attempt(delivery: Mapping[str, Any], tried: Mapping[str, Any], language: str, name: Any) -> Moment:
    lines = [(text("col.took", language), f"{int(tried['took_us']) // 1_000} ms")]
    if tried.get("endpoint"):
        lines.insert(0, (text("col.endpoint", language), _place(delivery, tried, language, name)))
    if tried.get("code"):
        lines.append((text("col.code", language), _code(str(tried["code"]), language)))
    outcome = str(tried.get("outcome", ""))
    return Moment(
        at_us=int(tried["at_us"]),
        kind="attempt",
        title=f"{text('attempt.n', language, n=tried['number'])}: {_words('outcome', outcome, language)}",
        tone="bad" if outcome in ("failed", "refused") else "wait" if outcome in ("postponed", "uncertain") else "good",
        lines=tuple(lines),
        said=reason_words(tried.get("reason"), tried.get("code")),
        delivery=str(delivery["id"]),
        order=3,
    )
