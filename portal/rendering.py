"""Templates: every value escaped, every missing one an error, and in each page the visit, its language and its theme."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from portal.personal import REFUSED, local, may_be_personal
from portal.shell import SHELL, VISIT, Visit, language_of
from portal.statics import asset
from portal.texts import text
from schemas.glossary import DELIVERY_STATES, GLOSSARY, MESSAGE_STATES

FOLDER: Final = Path(__file__).parent
THEMES: Final = ("auto", "licht", "donker")


@cache
def environment() -> Environment:
    """Of this process."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals.update(asset=asset, delivery_states=DELIVERY_STATES, glossary=GLOSSARY, message_states=MESSAGE_STATES, themes=THEMES)
    return made


def render(request: web.Request, template: str, *, status: int = 200, **values: Any) -> web.Response:
    """A page from a template; `values` are what it names. Every page has besides: `visit` (None: nobody signed in), `may(permission)`,
    `t(key)`, `language`, `theme`, `csrf`, `path`, `nav`, `dropped` (something was taken out of the address)."""
    visit: Visit | None = request.get(VISIT)
    language = visit.language if visit else language_of(request)
    shell = request.app[SHELL]
    html = (
        environment()
        .get_template(template)
        .render(
            {
                "visit": visit,
                "may": visit.may if visit else lambda _: False,
                "t": partial(text, language=language),
                "language": language,
                "theme": theme_of(request),
                "csrf": shell.csrf(request),
                "path": request.path,
                "dropped": REFUSED in request.query,
                "switch": partial(_switch, request),
                "nav": [item for item in request.app[NAV] if visit and visit.permissions & item.permissions],
                **values,
            }
        )
    )
    return web.Response(text=html, status=status, content_type="text/html", charset="utf-8")


def theme_of(request: web.Request) -> str:
    """As the device, unless the visitor chose otherwise."""
    chosen = request.cookies.get("thema")
    return chosen if chosen in THEMES else THEMES[0]


def _switch(request: web.Request, name: str, value: str) -> str:
    """This page's address, with a switch set: `taal` or `thema`."""
    if request.method != "GET" or may_be_personal(request.path):
        return f"/?{name}={value}"
    return local(str(request.rel_url.update_query({name: value})))


class NavItem:
    """One entry of the main menu."""

    __slots__ = ("key", "path", "permissions")

    def __init__(self, path: str, key: str, permissions: Any) -> None:
        """`key`: of the glossary or the texts; `permissions`: whoever has one of them sees it."""
        self.path, self.key, self.permissions = path, key, frozenset(permissions)


NAV: Final = web.AppKey("nav", tuple[NavItem, ...])
