"""Where one comes after signing in."""

from __future__ import annotations

from aiohttp import web

from portal.rendering import render
from portal.shell import EVERYBODY, Shell, Visit, page


def routes(shell: Shell) -> list[web.RouteDef]:
    """Its paths."""

    @page(permission=EVERYBODY)
    async def home(request: web.Request, visit: Visit) -> web.StreamResponse:
        return render(request, "home.html")

    return [web.get("/", home)]
