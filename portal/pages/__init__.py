"""The pages, and the main menu in its order. A page module has `routes(kit)`, whose handlers are made with `portal.shell.page`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from portal.pages import (
    accounts,
    alerts,
    export,
    failures,
    home,
    items,
    jobs,
    message,
    overview,
    parties,
    register,
    register_wishes,
    report_post,
    reports,
)
from portal.pages.kit import Kit
from portal.rendering import NavItem
from portal.shell import EVERYBODY, Shell
from routing.people import SEE, Permission

_OF_THE_DESK: Final = (
    overview,
    items,
    export,
    failures,
    message,
    parties,
    register,
    register_wishes,
    reports,
    report_post,
    jobs,
    alerts,
    accounts,
)


def desk_routes(shell: Shell) -> Iterable[web.RouteDef]:
    """The pages with data; without a desk only the one where one comes after signing in."""
    desk = shell.ports.desk
    if desk is None:
        return home.routes(shell)
    kit = Kit(shell, desk)
    return [route for module in _OF_THE_DESK for route in module.routes(kit)]


PAGES: Final[tuple[Callable[[Shell], Iterable[web.RouteDef]], ...]] = (desk_routes,)
MENU: Final = (
    NavItem("/", "home", EVERYBODY),
    NavItem("/openstaand", "openstaand", SEE),
    NavItem("/uitval", "uitval", SEE),
    NavItem("/partijen", "parties", SEE),
    NavItem("/register", "register", frozenset({Permission.SEE_REGISTER})),
    NavItem("/rapporten", "reports", SEE),
    NavItem("/opdrachten", "jobs", SEE),
    NavItem("/meldingen", "alerts", SEE),
    NavItem("/accounts", "accounts", frozenset({Permission.MANAGE_ACCOUNTS})),
)
