"""Another register whose answers are at hand: asked in a thread of its own, remembered for minutes (what there is) or seconds (what there
is not, because administrators mend mandates while on the phone), and left alone for a while when it does not answer (domain facts 1.6)."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from adapters.osr_client import OsrClient, OsrError, OsrTooOften, OsrWrong, Row
from routing.register import is_https
from routing.register_asked import EndpointQuestion, MandateQuestion, NotAsked, Question, RegisterAway, Said, endpoint_id_of
from routing.register_stored import Recent
from routing.register_values import Endpoint, Mandate
from schemas.oin import Oin, institution_of, is_oin

log = logging.getLogger("koppelpunt.register")

T = TypeVar("T")

#: Seconds for which "there is none" is believed, and for which a question that cannot be answered is not asked again.
NONE_S: Final = 3.0
#: Seconds after which a register that does not answer is tried again; meanwhile nobody waits for it.
TRY_AGAIN_S: Final = (2.0, 5.0, 10.0, 20.0, 30.0)
#: Answers kept, some 500 bytes each, and questions under way.
KEPT: Final = 50_000
UNDER_WAY: Final = 1_000
#: What an endpoint's system is called that the register does not name.
NOT_NAMED: Final = Oin("-")
_LONGEST_TOKEN: Final = 64


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float  #: by the monotonic clock
    said: Said | RegisterAway


@dataclass(slots=True)
class _Trouble:
    """It does not answer."""

    away: RegisterAway
    again_at: float
    tries: int = 0


class OsrRegister:
    """A `routing.register_asked.OtherRegister`. Its thread begins with the first question, and ends with the process or `close`."""

    def __init__(
        self,
        make: Callable[[], OsrClient],
        name: str,
        now: Callable[[], datetime],
        *,
        keep_s: float,
        heard: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """`make`: the client, called in the thread that asks. `now`: UTC. `keep_s`: seconds for which what there is is believed.
        `heard`: told, in that thread, what became of each question that was sent: answered, refused (this one) or away."""
        self._hear = heard
        self._make, self._name, self._now, self._keep_s = make, name, now, keep_s
        self._kept: Recent[Question, _Kept] = Recent(KEPT)
        self._under_way: dict[Question, Future[None]] = {}
        self._trouble: _Trouble | None = None
        self._turn = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: OsrClient | None = None

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    def said(self, question: Question) -> Said:
        """See the port."""
        kept = self._kept.get(question)
        if kept is not None and kept.until > time.monotonic():
            if isinstance(kept.said, RegisterAway):
                raise kept.said.again()
            return kept.said
        trouble = self._trouble
        if trouble is None:
            raise NotAsked(question, lambda: self.begin(question))
        if trouble.again_at <= time.monotonic() and not self._under_way:
            self.begin(question)  # one tries, aside, and nobody waits for it
        raise trouble.away.again()

    def begin(self, question: Question) -> Future[None]:
        """Asks; done when the answer, or that there is none now, is at hand. Never raises."""
        with self._turn:
            found = self._under_way.get(question)
            if found is None:
                if len(self._under_way) >= UNDER_WAY:
                    self._keep(question, RegisterAway(self._name, "too many questions wait for an answer", self._now()), 1.0)
                    found = Future()
                    found.set_result(None)
                    return found
                found = self._under_way[question] = self._run(self._ask(question))
        return found

    def call(self, ask: Callable[[OsrClient], Coroutine[Any, Any, T]], *, tells: bool = True) -> Future[T]:
        """Any other question; its future raises OsrError. `tells`: what comes of it says how the register is, too."""
        with self._turn:
            return self._run(self._heard(ask, tells=tells))

    def close(self) -> None:
        """Ends the thread."""
        with self._turn:
            loop, self._loop = self._loop, None
        if loop is not None:
            atexit.unregister(self.close)
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="other-register", daemon=True).start()
            atexit.register(self.close)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _heard(self, ask: Callable[[OsrClient], Coroutine[Any, Any, T]], *, tells: bool = True) -> T:
        if self._client is None:
            self._client = self._make()
        try:
            found = await ask(self._client)
        except (OsrTooOften, OsrWrong):
            self._hear("refused")
            raise  # this question, and not the register as a whole
        except OsrError as error:
            self._hear("away")
            if tells:
                self._does_not_answer(str(error))
            raise
        self._hear("answered")
        if tells:
            self._answers()
        return found

    async def _ask(self, question: Question) -> None:
        try:
            said = await self._heard(lambda client: self._answer(client, question))
            none = said.mandate is None and not said.endpoints
            self._keep(question, said, min(NONE_S, self._keep_s) if none else self._keep_s)
        except OsrError as error:
            again_s = min(error.again_s, 30.0) if isinstance(error, OsrTooOften) else NONE_S
            self._keep(question, RegisterAway(self._name, str(error), self._now()), again_s)
            if isinstance(error, OsrWrong):
                log.error("register_answers_wrongly", extra={"register": self._name, "error": str(error)})
        except Exception as error:  # whatever it is: who asked must not wait for ever
            log.error("register_not_asked", extra={"register": self._name, "error": type(error).__name__}, exc_info=error)
            self._keep(question, RegisterAway(self._name, "it could not be asked", self._now()), NONE_S)
        finally:
            with self._turn:  # not before `begin` has put it there
                self._under_way.pop(question, None)

    def _keep(self, question: Question, said: Said | RegisterAway, for_s: float) -> None:
        self._kept.put(question, _Kept(time.monotonic() + for_s, said))

    async def _answer(self, client: OsrClient, question: Question) -> Said:
        asked_at = self._now()
        if isinstance(question, MandateQuestion):
            return Said(await _mandate(client, question), (), asked_at)
        whole = question.receiver == institution_of(question.receiver)
        rows = await client.endpoints(
            namespace=question.namespace,
            day=question.day,
            school=question.receiver if whole else None,
            routing_id=None if whole else question.receiver,
        )
        return Said(None, tuple(found for row in rows if (found := endpoint_of(row, question)) is not None), asked_at)

    def _does_not_answer(self, error: str) -> None:
        before, now = self._trouble, time.monotonic()
        if before is not None and now < before.again_at:  # it was asked before that was known
            return
        tries = before.tries + 1 if before else 0
        since = before.away.since if before else self._now()
        again_at = now + TRY_AGAIN_S[min(tries, len(TRY_AGAIN_S) - 1)]
        self._trouble = _Trouble(RegisterAway(self._name, error, since), again_at, tries)
        if before is None:
            log.error("register_does_not_answer", extra={"register": self._name, "error": error})

    def _answers(self) -> None:
        before, self._trouble = self._trouble, None
        if before is not None:
            log.info("register_answers_again", extra={"register": self._name, "since": before.away.since.isoformat(timespec="seconds")})


async def _mandate(client: OsrClient, question: MandateQuestion) -> Mandate | None:
    """A mandate is of the dienst: whichever of its versions the other register knows it by. It has no days here: that it counts on the day
    of the question is all that third parties are told."""
    for namespace in question.namespaces:
        if await client.has_mandate(school=question.organisation, supplier=question.system, namespace=namespace, day=question.day):
            return Mandate(organisation=question.organisation, dienst=question.dienst, system=question.system)
    return None


def endpoint_of(row: Row, question: EndpointQuestion) -> Endpoint | None:
    """A row as an endpoint of ours; None for one that is not for us: a mailbox elsewhere, or another organisation's, whose delegation is a
    matter of our own register. Raises OsrWrong."""
    namespace, url = row.get("service_version_namespace"), row.get("url")
    if namespace not in (None, question.namespace):
        raise OsrWrong("an endpoint in its answer is of another version of the dienst than was asked for")
    if url is None:
        return None
    if not isinstance(url, str) or len(url) > 2_000 or not is_https(url):
        raise OsrWrong("an endpoint in its answer has no URL of the form https://host/path")
    institution = institution_of(question.receiver)
    school, kenmerk = _oin(row, "school_oin"), _oin(row, "routing_id")
    if school not in (None, institution) or (kenmerk is not None and institution_of(kenmerk) != institution):
        return None
    return Endpoint(
        id=endpoint_id_of(question, _token(row, url)),
        organisation=institution,
        routeringskenmerk=None if kenmerk == institution else kenmerk,
        dienst=question.dienst,
        versie=question.versie,
        system=_oin(row, "supplier_oin") or _linked(row) or NOT_NAMED,
        url=url,
        start=_day(row, "start_date"),
        until=_day(row, "end_date"),
        attributes=_labels(row.get("attributes")),
    )


def _oin(row: Row, name: str) -> Oin | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not is_oin(value):
        raise OsrWrong(f"{name} of an endpoint in its answer is no OIN of 20 positions")
    return Oin(value)


def _linked(row: Row) -> Oin | None:
    """Whose it is, where that is only a link."""
    links = row.get("_links")
    link = links.get("supplier") if isinstance(links, dict) else None
    href = link.get("href") if isinstance(link, dict) else None
    last = unquote(href.rstrip("/").rpartition("/")[2]) if isinstance(href, str) else ""
    return Oin(last) if is_oin(last) else None


def _day(row: Row, name: str) -> date | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, str) or len(value) != len("2027-08-01"):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise OsrWrong(f"{name} of an endpoint in its answer is not a day as YYYY-MM-DD") from None


def _token(row: Row, url: str) -> str:
    """Its handle there; where there is none that fits a name, one made from what it is."""
    token = row.get("token")
    if isinstance(token, str) and 0 < len(token) <= _LONGEST_TOKEN and token.isascii() and token.replace("-", "").isalnum():
        return token
    return hashlib.sha256(f"{token} {row.get('routing_id')} {url}".encode()).hexdigest()[:32]


def _labels(given: object) -> tuple[str, ...]:
    labels: Sequence[object] = given if isinstance(given, list) else []
    return tuple(label for label in labels if isinstance(label, str) and len(label) <= 40)[:20]
