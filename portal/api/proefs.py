"""Test messages to a receiver's endpoint, and what came of them (routing.proef)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portal.api.calls import Asked, found, get, post
from portal.api.problems import Problem
from portal.api.values import ID, LANE, OIN, Field, whole
from routing import proef as proefs_
from routing.people import SEE, Permission
from routing.proef import NoProef, Proef


@dataclass(frozen=True, slots=True, kw_only=True)
class Proefs:
    """The newest first."""

    proefs: tuple[Proef, ...]


def _desk(asked: Asked) -> proefs_.Proefs:
    assert asked.desk.proefs  # without it there are no such calls
    return asked.desk.proefs


@post(
    "/proefs",
    tag="parties",
    summary="Send a test message to a receiver's endpoint",
    permission=Permission.ACT_TECHNICAL,
    answer=Proef,
    status=201,
    body=(
        Field(name="organisation", kind=OIN, about="To this organisation or routeringskenmerk."),
        Field(name="system", kind=OIN, about="To an endpoint of this system."),
        Field(name="lane", kind=LANE, about="To this endpoint, as /lanes names it."),
    ),
)
def send_proef(asked: Asked) -> Proef:
    """A worker makes it; `/proefs/{id}` says what comes of it."""
    to = {name: asked[name] for name in ("organisation", "system", "lane")}
    try:
        return _desk(asked).ask(asked.scope, **to, who=asked.who)
    except NoProef as error:
        if error.after_s is None:
            raise
        raise Problem(429, nl=error.nl, en=error.en, headers={"Retry-After": str(error.after_s)}) from error


@get(
    "/proefs",
    tag="parties",
    summary="Test messages that were sent, and what came of them",
    permission=SEE,
    answer=Proefs,
    query=(
        Field(name="party", kind=OIN, about="To this system or organisation."),
        Field(name="lane", kind=LANE, about="To this endpoint."),
        Field(name="limit", kind=whole(1, 500), default=50, about="At most."),
    ),
)
def proefs(asked: Asked) -> Proefs:
    """Of the scope."""
    given = {name: asked[name] for name in ("party", "lane", "limit")}
    return Proefs(proefs=tuple(_desk(asked).proefs(asked.scope, **given)))


@get(
    "/proefs/{id}",
    tag="parties",
    summary="One test message",
    permission=SEE,
    answer=Proef,
    place=(Field(name="id", kind=ID, required=True, about="As it was answered when it was asked for; and the reference of its message."),),
)
def proef(asked: Asked) -> Proef:
    """What came of it."""
    one: Proef = found(_desk(asked).proef(asked.scope, asked["id"]))
    return one


CALLS: Final = (send_proef, proefs, proef)
