"""Who gets a message: each target of its contract on its own, with its own filter and outcome (design section 3, fan-out)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

from routing.amsterdam import amsterdam_day
from routing.decisions import Answer, Decision, decide
from routing.register import Organisation, Register, Standing
from routing.resolver import Resolution, resolve
from schemas.contract import Condition, MessageKind, RecipientRule
from schemas.faults import Owner
from schemas.oin import Oin, institution_of

#: How a delivery calls its receiver that was looked up by a gemeentecode, and not found.
_NAMED_BY_CODE: Final = "gemeentecode "

Outcome = Literal["deliver", "waiting", "filtered", "failed"]
_OUTCOMES: Final[Mapping[Answer, Outcome]] = {"yes": "deliver", "wait": "waiting", "filtered": "filtered", "no": "failed"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One target of a message, and what is to become of it."""

    target: str  #: its name in the contract, such as "woongemeente"
    outcome: Outcome
    receiver: Oin | None  #: organisation or routeringskenmerk; None when the register does not know who is meant
    named: str  #: whom the message names, for people: the receiver, or the BRIN, gemeentecode or role that was looked up
    decision: Decision  #: who gets it
    resolution: Resolution | None = None  #: where, for a receiver who is to have it

    @property
    def deciding(self) -> Decision:
        """The decision that gave the outcome; its code, owner and sentences are the ones to show."""
        return self.resolution.decision if self.resolution is not None and self.outcome != "deliver" else self.decision

    @property
    def code(self) -> str | None:
        """Why it waits or has failed."""
        return self.deciding.code

    @property
    def owner(self) -> Owner | None:
        """Whose turn it is."""
        return self.deciding.owner


def recipients(kind: MessageKind, facts: Mapping[str, str], *, receiver: Oin, register: Register, now: datetime) -> tuple[Recipient, ...]:
    """Every target of the contract, in its order. `receiver` is what the sender wrote in To; `facts` come from the content."""
    day = amsterdam_day(now)
    found = []
    for rule in kind.recipients:
        recipient = _recipient(rule, facts, receiver, register, day)
        if recipient.outcome == "deliver" and recipient.receiver is not None:
            where = resolve(register, receiver=recipient.receiver, dienst=kind.dienst, versie=kind.versie, now=now)
            recipient = Recipient(
                rule.target, _OUTCOMES[where.decision.outcome], recipient.receiver, recipient.named, recipient.decision, where
            )
        found.append(recipient)
    return tuple(found)


def _recipient(rule: RecipientRule, facts: Mapping[str, str], receiver: Oin, register: Register, day: date) -> Recipient:
    """Who one target is, before anybody asks where they are."""
    inputs = {"target": rule.target, "day": str(day)}
    for condition in rule.when:
        try:
            holds = _holds(condition, facts)
        except ValueError:
            return Recipient(
                rule.target, "failed", None, rule.target, decide("fact-unreadable", register.version, inputs | {"fact": condition.fact})
            )
        if not holds:
            words = (condition.reason_nl, condition.reason_en)
            decision = decide("condition", register.version, inputs | {"fact": condition.fact}, reason=words)
            return Recipient(rule.target, "filtered", None, rule.target, decision)
    organisation, named, decision = _FIND[rule.rule](rule, facts, receiver, register, day, inputs)
    outcome = _OUTCOMES[decision.outcome]
    known = organisation is not None and outcome in ("deliver", "waiting")
    return Recipient(rule.target, outcome, Oin(named) if known else None, named, decision)


def _holds(condition: Condition, facts: Mapping[str, str]) -> bool:
    """Whether the fact meets the condition; one that is absent is neither equal to nor below anything. Raises ValueError for no number."""
    value = facts.get(condition.fact)
    if condition.present is not None:
        return (value is not None) is condition.present
    if value is None:
        return False
    if condition.below is not None:
        return int(value) < condition.below
    return value == condition.equals


_Answer = tuple[Organisation | None, str, Decision]


def _addressed(
    rule: RecipientRule, facts: Mapping[str, str], receiver: Oin, register: Register, day: date, inputs: dict[str, str]
) -> _Answer:
    """The organisation, or the administration of one, that the sender named in To."""
    inputs["receiver"] = str(receiver)
    organisation = register.organisation(institution_of(receiver))
    if organisation is None:
        return None, receiver, decide("receiver-unknown", register.version, inputs)
    inputs["name"] = organisation.name
    return organisation, receiver, decide("addressed", register.version, inputs)


def _role(rule: RecipientRule, facts: Mapping[str, str], receiver: Oin, register: Register, day: date, inputs: dict[str, str]) -> _Answer:
    """The one organisation with a role, such as Centraal Aanmelden."""
    role = rule.role or ""
    inputs["role"] = role
    found = register.by_role(role, day)
    if len(found) != 1:
        trouble = "role-ambiguous" if found else "role-unknown"
        return None, role, decide(trouble, register.version, inputs, tuple(row.oin for row in found))
    inputs["name"] = found[0].name
    return found[0], found[0].oin, decide("role", register.version, inputs)


def _brin(rule: RecipientRule, facts: Mapping[str, str], receiver: Oin, register: Register, day: date, inputs: dict[str, str]) -> _Answer:
    """The school a fact names, when it is a current one (and has the rule's role, where that names one)."""
    brin = facts.get(rule.fact or "")
    if brin is None:
        return None, rule.target, decide("brin-absent", register.version, inputs | {"fact": rule.fact or ""})
    inputs["brin"] = brin
    school = register.by_brin(brin)
    if school is None:
        return None, f"BRIN {brin}", decide("brin-unknown", register.version, inputs)
    inputs["name"] = school.name
    if not school.covers(day):
        return school, school.oin, decide(f"school-{school.standing(day)}", register.version, inputs | school.days())
    if rule.role is not None and rule.role not in school.roles:
        return school, school.oin, decide("school-not-relevant", register.version, inputs | {"role": rule.role})
    return school, school.oin, decide("brin", register.version, inputs)


def _gemeente(
    rule: RecipientRule, facts: Mapping[str, str], receiver: Oin, register: Register, day: date, inputs: dict[str, str]
) -> _Answer:
    """The municipality whose code a fact names, on this day."""
    code = facts.get(rule.fact or "")
    if code is None:
        return None, rule.target, decide("gemeente-absent", register.version, inputs | {"fact": rule.fact or ""})
    organisation, decision = of_gemeentecode(code, register, day, inputs)
    known = organisation is not None and decision.outcome in ("yes", "wait")
    return organisation, organisation.oin if organisation and known else named_by(code), decision


def named_by(code: str) -> str:
    """Whom a message names, when nobody has this gemeentecode (any more)."""
    return f"{_NAMED_BY_CODE}{code}"


def code_in(named: str) -> str | None:
    """The gemeentecode of `named_by`; None for a receiver that was found otherwise."""
    return named.removeprefix(_NAMED_BY_CODE) if named.startswith(_NAMED_BY_CODE) else None


def of_gemeentecode(code: str, register: Register, day: date, inputs: Mapping[str, str]) -> tuple[Organisation | None, Decision]:
    """Whose this code is on this day; and why nobody's, with whoever had it last or will have it."""
    about = {**inputs, "gemeentecode": code}
    found = register.by_gemeentecode(code, day)
    if found.organisation is None:
        return None, decide("gemeente-unknown", register.version, about)
    about["name"] = found.organisation.name
    if found.standing is not Standing.CURRENT:
        days = found.row.days() if found.row else {}
        return found.organisation, decide(f"gemeente-{found.standing}", register.version, about | days)
    return found.organisation, decide("gemeente", register.version, about)


def without_their_codes(register: Register, day: date) -> dict[str, frozenset[str]]:
    """The municipalities that do not have all their gemeentecodes on this day, or take part no more; and the codes that they have."""
    found = {}
    for row in register.organisations.values():
        if row.gemeentecodes:
            current = frozenset(code.code for code in row.gemeentecodes if row.covers(day) and code.covers(day))
            if len(current) < len(row.gemeentecodes):
                found[str(row.oin)] = current
    return found


_FIND = {"addressed": _addressed, "role": _role, "brin": _brin, "gemeente": _gemeente}

#: The recipients rules a contract may name.
RECIPIENT_RULES = frozenset(_FIND)
