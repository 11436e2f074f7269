"""Failures by cause, and their life cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from portal.api.calls import Act, Asked, Call, found, get, post
from portal.api.items import GROUP
from portal.api.values import DAY, YES, Field, one_of, text_of, whole
from routing.board import FailureGroup, GroupDetail, GroupState
from routing.people import SEE, Permission
from schemas.faults import Owner

_KEY: Final = Field(name="key", kind=GROUP, required=True, about="Id of the group.")
_WHY: Final = Field(name="why", kind=text_of(500), required=True, about="Why, for the journal.")
_WHY_NOT: Final = Field(name="why", kind=text_of(500), default="", about="Why, for the journal.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Failures by cause, those with most still open first."""

    groups: tuple[FailureGroup, ...]


@get(
    "/groups",
    tag="groups",
    summary="Failures by cause",
    permission=SEE,
    answer=Groups,
    query=(
        Field(name="state", kind=one_of(GroupState), about="Where it is in its life cycle."),
        Field(name="owner", kind=one_of(Owner, str), about="Whose turn it is."),
        Field(name="solved", kind=YES, default=False, about="Those of which nothing is open any more too."),
        Field(name="limit", kind=whole(1, 500), default=200, about="Groups, at most."),
    ),
)
def groups(asked: Asked) -> Groups:
    """As the scope sees them."""
    given = {name: asked[name] for name in ("state", "owner", "solved", "limit")}
    return Groups(groups=tuple(asked.desk.board.groups(asked.scope, now_us=asked.now_us, **given)))


@get(
    "/groups/{key}",
    tag="groups",
    summary="One cause, opened",
    permission=SEE,
    answer=GroupDetail,
    place=(_KEY,),
)
def group(asked: Asked) -> GroupDetail:
    """One of them."""
    return _group(asked)


def _group(asked: Asked) -> GroupDetail:
    detail: GroupDetail = found(asked.desk.board.group(asked.scope, asked["key"], now_us=asked.now_us))
    return detail


def _change(name: str, summary: str, *body: Field) -> Callable[[Act], Call]:
    return post(
        f"/groups/{{key}}/{name}",
        tag="groups",
        summary=summary,
        permission=Permission.GROUPS,
        answer=GroupDetail,
        place=(_KEY,),
        body=body,
    )


@_change("note", "Add a note", Field(name="text", kind=text_of(), required=True, about="Personal numbers in it are masked."))
def note_group(asked: Asked) -> GroupDetail:
    """A note."""
    _group(asked)
    asked.desk.board.note(asked["key"], asked["text"], who=asked.who, now_us=asked.now_us)
    return _group(asked)


@_change("assign", "Make it somebody's work", Field(name="assignee", kind=text_of(80), about="Left out: nobody's."), _WHY_NOT)
def assign_group(asked: Asked) -> GroupDetail:
    """Whose work it is."""
    _group(asked)
    asked.desk.board.assign(asked["key"], asked["assignee"], who=asked.who, now_us=asked.now_us, why=asked["why"])
    return _group(asked)


@_change(
    "with-partner",
    "The partner has it",
    Field(name="ticket", kind=text_of(80), required=True, about="Number of the partner's ticket."),
    Field(name="agreed_on", kind=DAY, about="By when it is to be mended."),
    _WHY_NOT,
)
def group_with_partner(asked: Asked) -> GroupDetail:
    """Under a ticket."""
    _group(asked)
    given = {name: asked[name] for name in ("ticket", "agreed_on", "why")}
    asked.desk.board.with_partner(asked["key"], who=asked.who, now_us=asked.now_us, **given)
    return _group(asked)


@_change("solve", "The cause is gone; it opens again by itself when it comes back", _WHY)
def solve_group(asked: Asked) -> GroupDetail:
    """It is gone."""
    _group(asked)
    asked.desk.board.solve(asked["key"], who=asked.who, now_us=asked.now_us, why=asked["why"])
    return _group(asked)


@_change("reopen", "The cause is not gone after all", _WHY)
def reopen_group(asked: Asked) -> GroupDetail:
    """It is not."""
    _group(asked)
    asked.desk.board.reopen(asked["key"], who=asked.who, now_us=asked.now_us, why=asked["why"])
    return _group(asked)


CALLS: Final[tuple[Call, ...]] = (groups, group, note_group, assign_group, group_with_partner, solve_group, reopen_group)
