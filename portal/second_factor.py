"""Getting a second factor: who must have one, and has none, comes here before anything else; anybody with a local account may."""

from __future__ import annotations

import io
from typing import Final
from urllib.parse import parse_qs, urlsplit

import segno
from aiohttp import web
from markupsafe import Markup

from portal.rendering import render
from portal.shell import EVERYBODY, SECOND_FACTOR, Answer, Shell, Visit, page
from portal.sign_in import TRIES_BOTH, Judge, counted, key_of
from routing.people import Source

_KIND: Final = "totp"


def routes(shell: Shell) -> list[web.RouteDef]:
    """Its paths."""
    ports, judge = shell.ports, Judge()

    @page(permission=EVERYBODY)
    async def form(request: web.Request, visit: Visit) -> Answer:
        return await _show(request, visit)

    @page(permission=EVERYBODY)
    async def keep(request: web.Request, visit: Visit) -> Answer:
        """Whoever shows the code has it in his app: only then does it count."""
        given, session, name = await request.post(), visit.session, visit.account.name
        if session is None or visit.account.source is not Source.LOCAL or session.second_factor:
            return await _show(request, visit)
        tries = {key_of("second factor", name): TRIES_BOTH}
        await counted(shell, tries, shell.address_of(request))
        handle = str(given.get("handle", ""))
        sealed, now_us = await shell.kept(session.key, _KIND, handle) if handle else None, ports.clock.now_us()
        if sealed is None:
            return await _show(request, visit, wrong="second_factor.stale")
        step = await judge(ports.passwords.totp_step, name, sealed, str(given.get("code", "")), now_us=now_us)
        if step is None:
            return _page(request, visit, handle=handle, wrong="second_factor.wrong")
        await shell.ask(ports.people.first_totp, name, sealed, step, keep=session.key, now_us=now_us)
        await shell.ask(ports.people.forget_tries, list(tries))
        raise web.HTTPSeeOther("/")

    async def _show(request: web.Request, visit: Visit, wrong: str = "") -> Answer:
        if visit.session is None or visit.account.source is not Source.LOCAL or visit.session.second_factor:
            return _page(request, visit)
        sealed, uri = await judge(ports.passwords.new_totp, visit.account.name)
        handle = await shell.keep(visit.session.key, _KIND, sealed)
        return _page(request, visit, handle=handle, uri=uri, wrong=wrong)

    def _page(request: web.Request, visit: Visit, *, handle: str = "", uri: str = "", wrong: str = "") -> Answer:
        """`uri`: of a new one, which is shown now and never again."""
        local = visit.account.source is Source.LOCAL
        must = bool(visit.session and visit.session.lacks_second_factor(shell.second_factor))
        secret = parse_qs(urlsplit(uri).query).get("secret", [""])[0]
        shown = " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))
        picture = _picture(uri) if uri else None
        status = 422 if wrong else 200
        return render(
            request, "second_factor.html", status=status, local=local, must=must, handle=handle, secret=shown, picture=picture, wrong=wrong
        )

    return [web.get(SECOND_FACTOR, form), web.post(SECOND_FACTOR, keep)]


def _picture(uri: str) -> Markup:
    """The address as a QR code that stands in the page: no other host makes it, and nothing of it is kept."""
    out = io.BytesIO()
    code = segno.make(uri, error="m")
    code.save(
        out, kind="svg", xmldecl=False, svgns=False, omitsize=True, nl=False, light="#fff", border=4, svgclass="kp-qr", lineclass=None
    )
    return Markup(out.getvalue().decode())  # noqa: S704 - ours, of an address of ours
