"""A call of the API as a value: where it is, who may make it, what it takes, what it answers and what does it. Routes, checks and the
OpenAPI description all come from it; so does the test that nobody sees what is another's.

The functions behind calls run in a thread, and only ask: nothing here waits for the store on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal.api.problems import not_found
from portal.api.values import Field
from portal.desk import Desk
from portal.shell import Ports, Visit
from routing.alerts import Alerts
from routing.people import Permission, Scope
from routing.warning_board import Warnings

BASE: Final = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, read and found to be in order."""

    visit: Visit
    ports: Ports
    given: Mapping[str, Any]  #: every field of the call by name
    query: Mapping[str, str]  #: as it stood in the URL
    now_us: int

    def __getitem__(self, name: str) -> Any:
        """A field of the call."""
        return self.given[name]

    @property
    def desk(self) -> Desk:
        """What the pages with data ask too."""
        assert self.ports.desk  # without it there are no calls
        return self.ports.desk

    @property
    def alerts(self) -> Alerts:
        """What somebody must look at."""
        assert self.desk.alerts  # without it there are no calls that ask it
        return self.desk.alerts

    @property
    def warnings(self) -> Warnings:
        """What will break."""
        assert self.ports.warnings
        return self.ports.warnings

    @property
    def scope(self) -> Scope:
        """What every question is limited to."""
        return self.visit.scope

    @property
    def who(self) -> str:
        """For the journal."""
        return self.visit.account.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """An answer as CSV, made while it is sent."""

    name: str  #: of the file
    header: Sequence[str]
    rows: Iterator[Sequence[object]]


Act = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call."""

    id: str  #: operationId
    method: str
    path: str  #: under `BASE`
    tag: str
    summary: str
    permission: frozenset[Permission]  #: any of these
    answer: Any  #: a type; Rows: CSV
    status: int
    place: tuple[Field, ...]  #: in the path
    query: tuple[Field, ...]
    body: tuple[Field, ...]
    act: Act


def get(
    path: str,
    *,
    tag: str,
    summary: str,
    permission: Permission | Iterable[Permission],
    answer: Any,
    place: Sequence[Field] = (),
    query: Sequence[Field] = (),
) -> Callable[[Act], Call]:
    """A call that changes nothing."""
    return _call("GET", path, tag, summary, permission, answer, 200, place, query, ())


def post(
    path: str,
    *,
    tag: str,
    summary: str,
    permission: Permission | Iterable[Permission],
    answer: Any,
    status: int = 200,
    place: Sequence[Field] = (),
    body: Sequence[Field] = (),
) -> Callable[[Act], Call]:
    """A call that does something, or asks what may not stand in a URL."""
    return _call("POST", path, tag, summary, permission, answer, status, place, (), body)


def _call(
    method: str,
    path: str,
    tag: str,
    summary: str,
    permission: Permission | Iterable[Permission],
    answer: Any,
    status: int,
    place: Sequence[Field],
    query: Sequence[Field],
    body: Sequence[Field],
) -> Callable[[Act], Call]:
    wanted = frozenset({permission} if isinstance(permission, Permission) else permission)

    def made(act: Act) -> Call:
        first, *rest = act.__name__.split("_")
        return Call(
            id=first + "".join(map(str.capitalize, rest)),
            method=method,
            path=path,
            tag=tag,
            summary=summary,
            permission=wanted,
            answer=answer,
            status=status,
            place=tuple(place),
            query=tuple(query),
            body=tuple(body),
            act=act,
        )

    return made


def found(value: Any) -> Any:
    """The value. Raises Problem (404) when there is none: as much as when it is another's."""
    if value is None:
        raise not_found()
    return value
