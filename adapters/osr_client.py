"""A client of the service register's API v2 (OSR), over mutual TLS: who may act for whom, and where to deliver. Source: domain facts 1.3.

OsrError                 nothing can be known now; the text says what happened
+- OsrUnreachable        no connection: not there, or one of the two certificates is not trusted
+- OsrSlow               no whole answer came in time
+- OsrCut                the connection ended before the whole answer had come
+- OsrRefused            401, 403: it does not take our certificate or API key
+- OsrTooOften           429, or our own rate; `again_s`: seconds after which it may be asked again
+- OsrFailing            5xx
+- OsrWrong              an answer that is not one of this API: status, size, content type, JSON, or a field

A 404 is an answer to `mandates` only, and only where its title or detail says so: a wrong address must not look like a school without a
mandate. Nor is every 200 a yes: only OK, or a mandate of that school and system that counts on that day.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from adapters.endpoints import LONGEST_LINE
from routing.amsterdam import AMSTERDAM
from schemas.oin import institution_of
from schemas.privacy import plain, redact

#: Seconds for a connection (TLS included), between two pieces of an answer, and for the whole of it.
CONNECT_S: Final = 3.0
READ_S: Final = 4.0
ANSWER_S: Final = 5.0
#: Bytes of an answer, and pages of one list; our own server gives 1,000 rows a page.
LARGEST: Final = 1 << 20
MOST_PAGES: Final = 200
#: Calls under way at a time.
AT_ONCE: Final = 8
#: Seconds that a call waits for its turn by our own rate; else it is given up.
TURN_S: Final = 10.0
#: Seconds for which we believe a Retry-After.
LONGEST_PAUSE_S: Final = 300
#: Seconds for which a 429 without one counts.
PAUSE_S: Final = 10
#: The header with the key, which the sources do not name.
API_KEY: Final = "X-Api-Key"

_NONE: Final = re.compile(r"\b(?:mandate not found|no mandate)\b", re.IGNORECASE)
_KEY: Final = re.compile(r"[\x21-\x7e]{8,512}\Z")
_JSON: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\Z")
_NEXT: Final = re.compile(r"<([^<>]{1,2000})>\s*;\s*rel=\"?next\"?")

Row = Mapping[str, Any]


class OsrError(Exception):
    """The other register cannot be asked now."""


class OsrUnreachable(OsrError):
    """No connection."""


class OsrSlow(OsrError):
    """No whole answer in time."""


class OsrCut(OsrError):
    """Not the whole of an answer."""


class OsrRefused(OsrError):
    """It does not let us in."""


class OsrTooOften(OsrError):
    """We ask more than it, or we ourselves, allow."""

    def __init__(self, text: str, again_s: float) -> None:
        super().__init__(text)
        self.again_s = again_s


class OsrFailing(OsrError):
    """It says itself that it cannot answer."""


class OsrWrong(OsrError):
    """Not an answer of this API."""


class OsrClient:
    """For one event loop."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext], *, key: Path | None = None, per_minute: int = 300) -> None:
        """`url`: what comes before `/endpoints`, such as https://osr.example/api/v2. `context`: TLS with our certificate as it is now; the
        same object until that changes; raises OSError. `key`: the file with our API key, read when it is needed. `per_minute`: how often we
        ask at most, of which a sixth at once."""
        self._base, self._context, self._key_file = URL(url.rstrip("/")), context, key
        self._pace = _Pace(per_minute)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._pauses: dict[str, float] = {}  # path -> until when it is not to be asked
        self._session: aiohttp.ClientSession | None = None
        self._made_with: ssl.SSLContext | None = None

    # -- questions: all raise OsrError ----------------------------------------------------------------------------------------------------

    async def schools(self, **asked: str) -> list[Row]:
        """`name`, `oin`, `brin`, `oa_id`; all of them must apply."""
        return await self._list("schools", asked)

    async def services(self, name: str | None = None) -> list[Row]:
        """The diensten, or those whose name holds this."""
        return await self._list("services", {"name": name} if name else {})

    async def service_versions(self, service_code: str | None = None) -> list[Row]:
        """The versions of a dienst; None: of all."""
        return await self._list("service-versions", {"service_code": service_code} if service_code else {})

    async def has_mandate(self, *, school: str, supplier: str, namespace: str, day: date | None = None) -> bool:
        """Whether this system may act for this school; of a day other than today, `day`. Raises OsrWrong when it says neither."""
        asked = {"school_oin": school, "supplier_oin": supplier, "service_version_namespace": namespace}
        status, _, said = await self._ask("mandates", asked | _on(day))
        if status == 404:
            if not _says_none(said):
                raise OsrWrong("it answers 404 to a question about a mandate, and does not say that there is none: is its address right?")
            return False
        if wrong := _not_yes(said, school, supplier, day or datetime.now(AMSTERDAM).date()):
            raise OsrWrong(f"its answer about a mandate is no yes: {wrong}")
        return True

    async def endpoints(
        self, *, namespace: str, routing_id: str | None = None, school: str | None = None, day: date | None = None, future: bool = False
    ) -> list[Row]:
        """Where a routeringskenmerk (none or one) or a school with its administrations (many) receives a dienst version."""
        if (routing_id is None) == (school is None):
            raise ValueError("give either routing_id or school")
        asked = {"routing_id": routing_id} if routing_id is not None else {"school_oin": school or ""}
        more = {"include_future_endpoints": "true"} if future else {}
        return await self._list("endpoints", {**asked, "service_version_namespace": namespace, **_on(day), **more})

    async def school_mandates(self, service_code: str) -> list[Row]:
        """Our own mandates of a dienst; needs the API key."""
        return await self._list("school-mandates", {"service_code": service_code}, key=True)

    async def close(self) -> None:
        """Hangs up."""
        if self._session is not None:
            await self._session.close()

    # -- how they are asked ---------------------------------------------------------------------------------------------------------------

    async def _list(self, path: str, asked: Mapping[str, str], *, key: bool = False) -> list[Row]:
        rows: list[Row] = []
        query: Mapping[str, str] = asked
        for _ in range(MOST_PAGES):
            status, following, said = await self._ask(path, query, key=key)
            if status == 404:
                raise OsrWrong(f"it has no {path}: is its address right?")
            if not isinstance(said, list) or not all(isinstance(row, dict) for row in said):
                raise OsrWrong(f"its answer to {path} is not a list of objects")
            rows += said
            if following is None:
                return rows
            query = following
        raise OsrWrong(f"its list of {path} has more than {MOST_PAGES} pages")

    async def _ask(self, path: str, asked: Mapping[str, str], *, key: bool = False) -> tuple[int, Mapping[str, str] | None, Any]:
        """Status (200 or 404), the question of the next page, and the JSON. Raises OsrError."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"} | ({API_KEY: self._key()} if key else {})
        self._not_paused(path)
        await self._pace.turn()
        try:
            async with asyncio.timeout(ANSWER_S):
                async with (
                    self._room,
                    self._open().get(self._base / path, params=dict(asked), headers=headers, allow_redirects=False) as answer,
                ):
                    return await self._read(path, answer)
        except OsrError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever somebody else's server brought about is one of ours)
            raise _translated(error) from None

    async def _read(self, path: str, answer: aiohttp.ClientResponse) -> tuple[int, Mapping[str, str] | None, Any]:
        status = answer.status
        if status == 429:
            pause = _retry_after(answer.headers.get("Retry-After", ""))
            self._pauses[path] = time.monotonic() + pause
            raise OsrTooOften(f"it asks us to come again in {pause:g} s (HTTP status 429)", pause)
        if status in (401, 403):
            raise OsrRefused(f"it does not let us in (HTTP status {status}): it must know our certificate{_words(await _some(answer))}")
        if status >= 500:
            raise OsrFailing(f"it answers with HTTP status {status}")
        kind = answer.content_type.lower()
        if status not in (200, 404) or not _JSON.match(kind):
            raise OsrWrong(f"its answer to {path} is HTTP status {status}, {kind[:60]}{_words(await _some(answer))}")
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise OsrWrong("its answer is packed, though that was not offered")
        body = await _some(answer)
        if len(body) > LARGEST:
            raise OsrWrong(f"its answer to {path} is larger than {LARGEST:,} bytes")
        return status, self._next(path, answer), _json(body)

    def _next(self, path: str, answer: aiohttp.ClientResponse) -> Mapping[str, str] | None:
        """Of the next page, which is the same list of the same register, whatever the link says."""
        found = _NEXT.search(", ".join(answer.headers.getall("Link", [])))
        if found is None:
            return None
        try:
            url = answer.url.join(URL(found[1]))
        except ValueError:
            raise OsrWrong("its link to the next page cannot be read") from None
        if url.origin() != self._base.origin() or url.path.rpartition("/")[2] != path:
            raise OsrWrong("its link to the next page leads elsewhere")
        return dict(url.query)

    def _not_paused(self, path: str) -> None:
        left = self._pauses.get(path, 0.0) - time.monotonic()
        if left > 0:
            raise OsrTooOften(f"it asks us to come again in {left:.0f} s (HTTP status 429)", left)

    def _key(self) -> str:
        """Raises OsrRefused: the text names the file and never what is in it."""
        if self._key_file is None:
            raise OsrRefused("this needs an API key: put it in a file, and name that in KOPPELPUNT_OSR_KEY")
        try:
            key = self._key_file.read_text(encoding="ascii", errors="strict").strip()
        except (OSError, ValueError):
            key = ""
        if not _KEY.match(key):
            raise OsrRefused(f"{self._key_file} cannot be read, or holds no API key of 8 to 512 characters")
        return key

    def _open(self) -> aiohttp.ClientSession:
        """With our certificate as it is now."""
        context = self._context()
        if self._session is None or self._made_with is not context:
            before, self._made_with = self._session, context
            connector = aiohttp.TCPConnector(ssl=context, limit=AT_ONCE)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=LONGEST_LINE,
                max_field_size=LONGEST_LINE,
                headers={"User-Agent": "koppelpunt"},
            )
            if before is not None:
                asyncio.get_running_loop().call_later(2 * ANSWER_S, _close, before)  # calls on it have ended by then
        return self._session


class _Pace:
    """Our own rate: the register is not to be flooded, whatever our caches have forgotten."""

    def __init__(self, per_minute: int) -> None:
        self._every_s, self._burst_s = 60 / per_minute, 10.0
        self._at = time.monotonic() - self._burst_s

    async def turn(self) -> None:
        """Waits for it. Raises OsrTooOften when that takes too long."""
        now = time.monotonic()
        at = max(self._at, now - self._burst_s) + self._every_s
        if at - now > TURN_S:
            raise OsrTooOften(f"we ask it more often than KOPPELPUNT_OSR_PER_MINUTE allows ({60 / self._every_s:g})", at - now)
        self._at = at
        if at > now:
            await asyncio.sleep(at - now)


async def _some(answer: aiohttp.ClientResponse) -> bytes:
    """The body, or so much of it that one sees that it is too large."""
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part)
        if (size := size + len(part)) > LARGEST:
            answer.close()
            break
    return b"".join(parts)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise OsrWrong("its answer is not JSON in UTF-8, or an object in it names a member twice") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member is named twice")
    return made


def _says_none(said: Any) -> bool:
    """Whether a 404 is about the mandate. Not its other members: many servers repeat the path there."""
    texts = [said.get("title"), said.get("detail")] if isinstance(said, dict) else []
    return any(isinstance(text, str) and _NONE.search(text) for text in texts)


def _not_yes(said: Any, school: str, supplier: str, day: date) -> str:
    """Why this does not say that the system may act for the school on that day; empty when it does. The sources name two forms: a bare OK,
    and to the system itself the mandate with its token."""
    if said == "OK":
        return ""
    if not isinstance(said, dict):
        return "it is neither OK nor a mandate"
    if said.get("status") != "OK" and not (isinstance(said.get("token"), str) and said["token"] and "status" not in said):
        return "it has neither the status OK nor a token"
    if said.get("revoked", False) not in (False, None):
        return "it is revoked"
    if "school_oin" in said and not _same(said["school_oin"], school):
        return "it is of another school"
    if "supplier_oin" in said and said["supplier_oin"] != supplier:
        return "it is of another system"
    try:
        start, end = (date.fromisoformat(said[name]) if said.get(name) is not None else day for name in ("start_date", "end_date"))
    except (TypeError, ValueError):
        return "its days cannot be read"
    return "" if start <= day <= end else f"it does not count on {day}"


def _same(said: object, school: str) -> bool:
    return isinstance(said, str) and institution_of(said) == institution_of(school)


def _words(body: bytes) -> str:
    """What a refusal says for people, where it is a problem document or the like: short, printable, and without personal numbers."""
    try:
        said = json.loads(body)
        text = said.get("detail") or said.get("title") or said.get("message")
    except (ValueError, RecursionError, AttributeError):
        return ""
    return f"; it says: {plain(redact(text))[:200]}" if isinstance(text, str) else ""


def _retry_after(text: str) -> float:
    """Seconds; of an HTTP date, or of nothing, our own."""
    return float(min(max(int(text), 1), LONGEST_PAUSE_S)) if text.isascii() and text.isdigit() and len(text) < 10 else float(PAUSE_S)


def _on(day: date | None) -> dict[str, str]:
    return {"reference_date": day.isoformat()} if day else {}


def _translated(error: Exception) -> OsrError:
    """Somebody else's exceptions, in ours."""
    causes: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and len(causes) < 10:
        causes.append(one)
        one = one.__cause__ or one.__context__
    told = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if told is not None:
        return OsrUnreachable(f"its certificate is not trusted: {getattr(told, 'verify_message', '') or told}"[:300])
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return OsrUnreachable(f"TLS cannot be agreed with it: {(tls.reason or 'no reason given').replace('_', ' ').lower()}")
    if isinstance(error, TimeoutError):
        return OsrSlow(f"no whole answer came within {ANSWER_S:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return OsrUnreachable(f"no connection can be made: {error.os_error.strerror or 'its name is not known'}")
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError | ConnectionError):
        return OsrCut("the connection ended before a whole answer had come")
    if isinstance(error, OSError):
        return OsrUnreachable(f"no connection can be made: {error.strerror or error}")
    return OsrWrong("its answer is not HTTP")


def _close(session: aiohttp.ClientSession) -> None:
    task = asyncio.ensure_future(session.close())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Future[None]] = set()
