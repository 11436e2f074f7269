"""The pages, and the main menu in its order. A page module has `routes(shell)`, whose handlers are made with `portal.shell.page`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from portal.pages import home
from portal.rendering import NavItem
from portal.shell import EVERYBODY, Shell

PAGES: Final[tuple[Callable[[Shell], Iterable[web.RouteDef]], ...]] = (home.routes,)
MENU: Final = (NavItem("/", "home", EVERYBODY),)
