"""Personal numbers stay out of addresses: what stands there is kept by browsers, proxies and whoever copies it."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from schemas.oin import is_oin
from schemas.privacy import redact

#: Parameter that says that something was taken out of the address.
REFUSED: Final = "geweigerd"
#: Parameters that we make ourselves, of letters that mean nothing: a place in a list, and a handle of at least this length.
_PLACES: Final = frozenset({"na", "terug"})
_HANDLE, _HANDLE_LENGTH = "zoek", 40


def may_be_personal(value: str) -> bool:
    """Whether a text has what may be a personal number in it: an OIN in which nine digits stand before a letter is none."""
    rest = " ".join(part for part in re.split(r"[\s~,/?&=]", value) if not is_oin(part.upper()))
    return redact(rest) != rest


def is_personal(name: str, value: str) -> bool:
    """The same, of a parameter in an address."""
    ours = name in _PLACES or (name == _HANDLE and len(value) >= _HANDLE_LENGTH)
    return may_be_personal(name) or (not ours and may_be_personal(value))


def refuse_personal(request: web.Request) -> None:
    """Raises HTTPSeeOther to the same address without it, which says so."""
    found = {name for name, value in request.query.items() if is_personal(name, value)}
    if found:
        address = request.rel_url.without_query_params(*found).update_query({REFUSED: "ja"})
        raise web.HTTPSeeOther(local(str(address)))


def local(address: str) -> str:
    """An address here: two slashes at its beginning would be somebody else's host."""
    return "/" + address.lstrip("/\\")
