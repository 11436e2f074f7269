"""Style sheets, scripts and pictures: read once, packed once, and kept by browsers for as long as they are the same."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from portal.shell import Answer, open_to_all

FOLDER: Final = Path(__file__).parent / "static"
#: What is shown, and as what.
TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".md": "text/plain",
    "": "text/plain",  # licences
}
#: Seconds for which a browser keeps a file whose address holds its digest: a year.
KEEP_S: Final = 31_536_000


class _File(NamedTuple):
    plain: bytes
    packed: bytes
    content_type: str
    version: str


@cache
def _files() -> dict[str, _File]:
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and path.suffix in TYPES:
            raw = path.read_bytes()
            name = path.relative_to(FOLDER).as_posix()
            found[name] = _File(raw, gzip.compress(raw, mtime=0), TYPES[path.suffix], hashlib.sha256(raw).hexdigest()[:12])
    return found


def asset(name: str) -> str:
    """The address of a file: another one whenever its bytes are others. Raises KeyError for a file that is not there."""
    return f"/static/{name}?v={_files()[name].version}"


@open_to_all
async def _show(request: web.Request) -> Answer:
    file = _files().get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    headers = {"Cache-Control": f"public, max-age={KEEP_S}, immutable", "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=file.packed if packed else file.plain, content_type=file.content_type, charset="utf-8", headers=headers)


def routes(_: object = None) -> list[web.RouteDef]:
    """Where they are."""
    return [web.get("/static/{name:.+}", _show)]
