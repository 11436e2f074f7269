"""Which message kind answers which: whether what contracts say of it fits together, once all of them are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from schemas.contract import MessageKind

#: The ids by which an answer names a message are recognised for so long (rule 2).
LONGEST: Final = timedelta(days=400)


class NoPair(ValueError):
    """What one kind says of answers does not fit the rest; the text says why."""

    def __init__(self, kind: MessageKind, key: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.key = kind, key  #: where it stands in the contract


def paired(kinds: Mapping[str, MessageKind]) -> dict[str, MessageKind]:
    """All kinds by action, each with the action of its answer and those of the kinds it answers. Raises NoPair."""
    by_name = {(kind.dienst, kind.versie, kind.name): kind for kind in kinds.values()}
    answered_by: dict[str, str] = {}
    for kind in kinds.values():
        if kind.answered_by is None:
            if kind.answer_within is not None:
                raise NoPair(kind, "answer_within", "needs answered_by: it says which message must come by then")
            continue
        answer = by_name.get((kind.dienst, kind.versie, kind.answered_by)) or kinds.get(kind.answered_by)
        if answer is None:
            raise NoPair(kind, "answered_by", f"{kind.answered_by!r} is neither a message kind of this dienst version nor a known action")
        _check_question(kind)
        _check_answer(kind, answer)
        answered_by[kind.action] = answer.action
    for kind in kinds.values():
        if kind.answers is not None and kind.action not in answered_by.values():
            raise NoPair(kind, "answers", "no message kind says that it is answered by this one; name it there in answered_by")
        if _goes_round(kind.action, answered_by):
            raise NoPair(
                kind, "answered_by", "goes round in a circle: every message would have to answer another, so none could be the first"
            )
    return {
        action: replace(kind, answered_by=answered_by.get(action), answered=tuple(q for q, a in answered_by.items() if a == action))
        for action, kind in kinds.items()
    }


def _check_question(kind: MessageKind) -> None:
    if kind.answer_within is None:
        raise NoPair(kind, "answered_by", "needs answer_within: by when the answer must come, counted from delivery")
    if kind.business_id is None:
        raise NoPair(kind, "answered_by", "needs a business_id: the answer names it")
    if kind.answer_within < kind.fetch_within:
        raise NoPair(kind, "answer_within", "must not be shorter than fetch_within: who may still fetch the message may still answer it")
    if kind.answer_within > LONGEST:
        raise NoPair(kind, "answer_within", f"must be at most {LONGEST.days}d: ids of messages are recognised no longer")


def _check_answer(kind: MessageKind, answer: MessageKind) -> None:
    if answer.answers is None:
        raise NoPair(kind, "answered_by", f"{answer.name} has no answers, which names the fact that says what it answers")
    if not answer.passes_through:
        raise NoPair(answer, "answers", 'needs to = "receiver": an answer is addressed to the sender of the message it answers')


def _goes_round(action: str, answered_by: Mapping[str, str]) -> bool:
    after, seen = answered_by.get(action), set[str]()
    while after is not None and after not in seen:
        if after == action:
            return True
        seen.add(after)
        after = answered_by.get(after)
    return False
