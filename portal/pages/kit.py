"""What every page with data stands on: the desk, names for numbers, and values that all templates share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import Markup

from portal.charts import sparkline, split
from portal.desk import Desk
from portal.directory import Directories, Directory
from portal.formats import Formats, brin, iso, moment
from portal.personal import REFUSED
from portal.rendering import render
from portal.shell import Shell, Visit
from portal.texts import TEXTS, text
from routing.actions import REDIRECTABLE, CannotAct, Job, Place
from routing.board import BoardError, FailureGroup, Item, Kind
from routing.people import Permission
from schemas.cells import cell
from schemas.faults import CODES, FaultKind, remedy_of
from schemas.glossary import DELIVERY_STATES, GLOSSARY, MESSAGE_STATES
from schemas.lifecycle import DeliveryState

T = TypeVar("T")

#: How a state looks: colour and mark, besides its word.
_TONES: Mapping[str, str] = {
    "failed": "bad",
    "refused": "bad",
    "returned": "done",
    "archived": "done",
    "superseded": "done",
    "filtered": "done",
    "postponed": "wait",
    "uncertain": "wait",
    "delivered": "way",
    "released": "way",
    "routed": "way",
    "received": "way",
    "acknowledged": "good",
    "answered": "good",
}


class Kit:
    """For the pages of one portal process."""

    def __init__(self, shell: Shell, desk: Desk) -> None:
        self.shell, self.desk, self.board = shell, desk, desk.board
        self._directories = Directories(desk.register)

    @property
    def now_us(self) -> int:
        """Our clock."""
        return self.shell.ports.clock.now_us()

    async def ask(self, act: Callable[..., T], *given: Any, **named: Any) -> T:
        """Asks the store, aside of the event loop."""
        return await self.shell.ask(act, *given, **named)

    async def directory(self) -> Directory:
        """Names, as the register has them now."""
        return await self.ask(self._directories.now)

    async def places(self, visit: Visit, items: Sequence[Item]) -> Sequence[Place]:
        """Where these may be redirected to; nowhere unless they are for one receiver, and this visit may."""
        could = [one for one in items if one.kind is Kind.DELIVERY and one.state in REDIRECTABLE]
        if not visit.may(Permission.ACT) or len({one.receiver for one in could}) != 1:
            return ()
        return await self.ask(self.desk.actions.places, visit.scope, could[0].id)

    async def show(self, request: web.Request, visit: Visit, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """A page; templates find besides what is given: `f` (portal.formats), `names` (portal.directory), `word`, `tone`, `fault`,
        `remedy`, `owner_word`, `with_query`."""
        names = await self.directory()
        return render(request, template, status=status, **self.shared(request, visit, names), **values)

    def shared(self, request: web.Request, visit: Visit, names: Directory) -> dict[str, Any]:
        """What `show` adds."""
        language = visit.language
        return {
            "f": Formats(language, moment(self.now_us)),
            "names": names,
            "word": partial(word, language=language),
            "term": lambda key: GLOSSARY[key].explained(language),
            "tone": lambda state: _TONES.get(state, "way"),
            "fault": fault,
            "fault_words": partial(fault_words, language=language),
            "remedy": lambda code, owner=None: remedy_of(code, owner)[0 if language == "nl" else 1],
            "reason_words": reason_words,
            "owner_word": lambda owner: text(f"owner.{owner}", language) if f"owner.{owner}" in TEXTS else owner or "",
            "with_query": partial(with_query, request),
            "iso": iso,
            "brin_of": brin,
            "has_text": lambda key: key in TEXTS,
            "spark": lambda group: _spark(group, Formats(language, moment(self.now_us))),
            "job_bar": lambda job: _job_bar(job, Formats(language, moment(self.now_us))),
            "job_tone": lambda state: _JOB_TONES.get(str(state), "info"),
        }


def _spark(group: FailureGroup, f: Formats) -> Markup:
    return sparkline(group.hours, text("failures.spark", f.language, n=f.number(sum(group.hours))))


_JOB_TONES: Mapping[str, str] = {"done": "good", "stopped": "bad", "paused": "warn", "to_approve": "warn", "cancelled": ""}


def _job_bar(job: Job, f: Formats) -> Markup:
    """How far it is, by what became of its messages."""
    n = job.figures
    parts = [("delivered", n.succeeded), ("failed", n.failed), ("refused", n.superseded + n.skipped), ("waiting", n.under_way)]
    words = [f"{text(f'result.{name}', f.language)} {f.number(getattr(n, name))}" for name in ("succeeded", "failed", "planned")]
    return split([*parts, ("planned", n.planned)], ", ".join(words), width=240)


def word(item: Item | str, *, language: str, kind: str | None = None) -> str:
    """A state in the words administrators know (domain facts 9.2)."""
    state, of = (item.state, item.kind) if isinstance(item, Item) else (item, kind)
    if of in (None, Kind.DELIVERY) and state in set(DeliveryState):
        return DELIVERY_STATES[DeliveryState(state)].word(language)
    return MESSAGE_STATES[state].word(language) if state in MESSAGE_STATES else state


def fault(code: str | None) -> FaultKind | None:
    """What is always true of a code."""
    return CODES.get(code or "")


def fault_words(code: str | None, *, language: str) -> str:
    """A code in plain words; one that is not in the table as it is."""
    kind = fault(code)
    if kind is None:
        return code or ""
    return kind.nl if language == "nl" else kind.en


def reason_words(reason: str | None, code: str | None) -> str | None:
    """A reason, unless all it says is the code."""
    return None if reason is None or reason.casefold() == (code or "").casefold() else reason


def with_query(request: web.Request, **changes: str | None) -> str:
    """This page's address with parameters changed; None takes one away. A place in a list goes with any of them."""
    query = {name: value for name, value in request.query.items() if name not in ("na", "terug", REFUSED)}
    query.update({name: value for name, value in changes.items() if value is not None})
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
    return f"{request.path}?{urlencode(query)}" if query else request.path


class Told(CannotAct, BoardError):
    """It cannot be done, and why is for a page to say."""

    def __init__(self, key: str, **values: object) -> None:
        """`key`: of portal.texts."""
        super().__init__(text(key, "en", **values), text(key, "nl", **values))


def csv_answer(name: str, rows: str) -> web.Response:
    """A file to download. The mark at its beginning tells spreadsheets that it is UTF-8."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text="\ufeff" + rows, content_type="text/csv", charset="utf-8", headers=headers)


def safe_cell(value: object) -> str:
    """A value for a CSV cell (schemas.cells)."""
    return str(cell(value))
