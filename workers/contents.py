"""Answers the portal's questions for content (routing.contents), beside the timetable. Nothing that the portal says of an account is taken
for true: who it is, what it may and what it sees is read from the store, as it is now.

Several processes may do this: whoever takes a question first answers it, so there is no leader to wait for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Collection
from typing import Final

from routing.actions import CannotAct, checked_reason
from routing.board import Board
from routing.contents import ContentBook, ContentRequest, Outcome
from routing.people import Account, NotConfirmed, People, Permission, Role
from routing.work import StoreUnavailable
from schemas.privacy import redact
from workers.clock import Clock
from workers.loop import Stopping, Worker

log = logging.getLogger("koppelpunt.contents")

#: Seconds between two looks: somebody sits and waits. And microseconds between two looks for what is over.
LOOK_S: Final = 0.1
TIDY_US: Final = 5_000_000
#: Seconds of rest after a mistake of ours.
SULK_S: Final = 2.0
#: Of one account within an hour, at each process that answers: far more than a person reads, and far less than somebody wants who took
#: the portal over.
MOST_AN_HOUR: Final = 100
#: And of all accounts together: who took the portal over may write accounts too.
MOST_OF_ALL: Final = 500
_HOUR_US: Final = 3_600_000_000


class Opener:
    """Looks for questions and answers them."""

    def __init__(
        self,
        worker: Worker,
        book: ContentBook,
        people: People,
        board: Board,
        clock: Clock,
        *,
        second_factor: Collection[Role] = (),
        token_days: int = 30,
    ) -> None:
        """`second_factor`: local accounts with one of these roles see nothing without one. `token_days`: days after its owner's last
        sign-in at the identity provider for which a token counts."""
        self._worker, self._book, self._people, self._board, self._clock = worker, book, people, board, clock
        self._second_factor, self._token_us = second_factor, token_days * 24 * _HOUR_US
        self._opened: defaultdict[str, deque[int]] = defaultdict(deque)  #: by account: when
        self._opened_all: deque[int] = deque()
        self._tidy_us = 0

    async def run(self) -> None:
        """Until the worker stops."""
        while not self._worker.stopping:
            try:
                await self._worker.insist_async("contents", lambda: asyncio.to_thread(self.look))
            except Stopping:
                return
            except Exception as error:
                log.error("contents_failed", extra={"worker": self._worker.id, "error": type(error).__name__}, exc_info=error)
                await self._worker.pause(SULK_S)
            await self._worker.pause(LOOK_S)

    def look(self) -> int:
        """Answers what waits; returns how many questions that were. Raises StoreUnavailable."""
        waiting = self._book.waiting(now_us=self._clock.now_us())
        for request in waiting:
            try:
                self._answer(request)
            except StoreUnavailable:
                raise
            except Exception:
                self._book.refuse(request, Outcome.FAILED, why="a mistake of ours", now_us=self._clock.now_us())
                raise
        if (now_us := self._clock.now_us()) >= self._tidy_us:
            self._tidy_us = now_us + TIDY_US
            self._book.tidy(now_us=now_us)
        return len(waiting)

    def _answer(self, request: ContentRequest) -> None:
        now_us = self._clock.now_us()
        if why := self._why_not(request, now_us):
            self._refuse(request, Outcome.REFUSED, why, now_us)
        elif self._too_often(request.account, now_us):
            self._refuse(request, Outcome.TOO_OFTEN, "too many within an hour", now_us)
        elif (outcome := self._book.open(request, now_us=now_us)) is not None:
            log.info("content_asked", extra={"account": request.account, "reference": request.reference, "outcome": str(outcome)})

    def _refuse(self, request: ContentRequest, outcome: Outcome, why: str, now_us: int) -> None:
        log.warning(
            "content_refused", extra={"account": redact(request.account[:100]), "reference": redact(request.reference[:100]), "reason": why}
        )
        self._book.refuse(request, outcome, why=why, now_us=now_us)

    def _why_not(self, request: ContentRequest, now_us: int) -> str:
        """Why this account may not see it; empty when it may."""
        session = self._people.session(request.proof, now_us=now_us, touch=False)
        account = session.account if session else self._of_token(request.proof, now_us)
        if account is None or account.name != request.account:
            return "no such session or token of this account"
        if session is not None and (session.one_time or session.lacks_second_factor(self._second_factor)):
            return "signing in was not finished"
        if Permission.SEE_CONTENT not in account.permissions:
            return "role"
        try:
            checked_reason(request.reason)
        except CannotAct:
            return "no reason"
        view = self._board.message(account.scope, request.reference)
        return "" if view is not None and view.whole else "not in its scope"

    def _of_token(self, digest: bytes, now_us: int) -> Account | None:
        try:
            return self._people.by_token(digest, now_us=now_us, confirmed_after_us=now_us - self._token_us)
        except NotConfirmed:
            return None

    def _too_often(self, account: str, now_us: int) -> bool:
        """Whether it, or all together, had as many within the hour as there may be; else this one counts too."""
        counted = ((self._opened[account], MOST_AN_HOUR), (self._opened_all, MOST_OF_ALL))
        for times, _ in counted:
            while times and times[0] <= now_us - _HOUR_US:
                times.popleft()
        if any(len(times) >= most for times, most in counted):
            return True
        for times, _ in counted:
            times.append(now_us)
        return False
