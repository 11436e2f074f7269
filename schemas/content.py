"""What a message says: its content judged by its contract, and the facts that routing needs.

The order of checks: the root element, the XSD (libxml2), then every content rule; all findings are reported at once.
On the hot path, so paths and rules are compiled when a contract is loaded, and nothing is explained before something is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from lxml import etree

from schemas.contract import Check, LawDay, MessageKind
from schemas.faults import Refused
from schemas.oin import Oin
from schemas.privacy import redact
from schemas.rules import RULES, Context, Rule, Sequence, Verdict, context, outside_window, years_between
from schemas.xml import Schema

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_1970: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A message's content that was found good."""

    kind: MessageKind
    facts: Mapping[str, str] = field(repr=False)  #: what the contract names, with its defaults and computed ages; may be personal data
    business_id: str | None  #: identificatiecodeBedrijfsdocument; a UUID in small letters, because its case has no meaning
    order_key: str | None = field(repr=False)  #: plain text: keep only a keyed hash of it; None: no order
    subject: str | None = field(repr=False)  #: the pupil's number: keep only a keyed hash of it
    sequence: Sequence | None = field(repr=False)
    law_day: int | None  #: days since 1970 of the day by which a date of the law counts it; None: no such date counts it
    warnings: tuple[str, ...]  #: for the receipt: Dutch, a slash, English


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with a message's content, in words for whoever keeps the pupil administration."""

    code: str
    where: str  #: XPath of local names from the content's root
    nl: str
    en: str

    def __str__(self) -> str:
        return redact(f"{self.code} {self.where}: {self.nl} / {self.en}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read and found."""

    kind: MessageKind
    content: Content | None = field(repr=False)  #: None when there are findings
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


class Unexplained(Exception):
    """The content does not fit its XSD, and whoever asked has no time to hear why: that can take a sixth of a second."""


class ContractsByAction(Protocol):
    """Where the reader of an action is found; see schemas.contracts."""

    def reader(self, action: str) -> ContentReader: ...


#: What stands below an element that holds facts: child's tag -> names of the facts it holds, and what stands below it.
_Places = dict[str, tuple[tuple[str, ...], "_Places"]]


class ContentReader:
    """One message kind, compiled: its schema, where its facts stand, and its rules."""

    def __init__(self, kind: MessageKind, schema: Schema) -> None:
        self.kind, self.schema = kind, schema
        self.root = f"{{{kind.namespace}}}{kind.name}"
        self._places = _compile(
            [(path.split("/"), fact) for fact, paths in kind.facts.items() for path in paths.split("|")], schema.namespaces
        )
        self._rules: tuple[tuple[Rule, Check], ...] = tuple((RULES[check.rule], check) for check in kind.checks)

    def read(self, content: etree._Element, *, sender: Oin | None, receiver: Oin | None, now: datetime, explain: bool = True) -> Reading:
        """Judges content; raises for what is wrong with it only without `explain`: Unexplained, when it does not fit the XSD. Without
        sender or receiver the rules about them are silent."""
        if content.tag != self.root:
            nl = f"de body moet {self.kind.name} uit namespace {self.kind.namespace} bevatten, want dat zegt wsa:Action"
            en = f"the body must hold {self.kind.name} of namespace {self.kind.namespace}, because wsa:Action says so"
            return self._wrong([Finding(code="Client.DK0004", where="Body", nl=nl, en=en)])
        if not self.schema.accepts(content):
            if not explain:
                raise Unexplained
            reasons = self.schema.explain(content)
            return self._wrong([Finding(code="Client.DK0004", where=reason.where, nl=reason.nl, en=reason.en) for reason in reasons])
        facts: dict[str, str] = {}
        _collect(content, self._places, facts)
        at = context(sender=sender, receiver=receiver, now=now)
        found: list[Finding] = []
        warnings: list[str] = []
        for rule, check in self._rules:
            verdict = _judge(rule, check, facts, at)
            if verdict is None:
                continue
            code, nl, en = verdict
            if code is None:
                warnings.append(f"{nl} / {en}")
            else:
                found.append(Finding(code=code, where=self._where(check.fact), nl=nl, en=en))
        if found:
            return self._wrong(found, warnings)
        if self.kind.send_year is not None and (late := outside_window(self.kind, facts, at.today)) is not None:
            warnings.append(f"{late.nl} / {late.en}")
        try:
            good = self._content(facts, tuple(warnings))
        except ValueError:  # an age, a day or a rising number, on an XSD that lets other texts through
            nl, en = "Een datum of volgnummer is niet te lezen.", "A date or rising number cannot be read."
            return self._wrong([Finding(code="CONTENT_RULE", where=f"/{self.kind.name}", nl=nl, en=en)])
        return Reading(kind=self.kind, content=good, findings=(), warnings=good.warnings)

    def _wrong(self, findings: list[Finding], warnings: Iterable[str] = ()) -> Reading:
        return Reading(kind=self.kind, content=None, findings=tuple(findings), warnings=tuple(warnings))

    def _where(self, fact: str) -> str:
        return f"/{self.kind.name}/{self.kind.facts[fact].split('|')[0]}"

    def _content(self, facts: dict[str, str], warnings: tuple[str, ...]) -> Content:
        kind = self.kind
        facts |= {name: value for name, value in kind.defaults.items() if name not in facts}
        for name, age in kind.ages.items():
            if age.birth in facts and age.on in facts:
                facts[name] = str(years_between(facts[age.birth], facts[age.on]))
        business_id = facts.get(kind.business_id) if kind.business_id else None
        if business_id is not None and _UUID.match(business_id):
            business_id = business_id.lower()
        key = [facts[name] for name in kind.order_key if name in facts]
        rule, sequence = kind.sequence, None
        if rule is not None and rule.key in facts and rule.number in facts and rule.status in facts:
            sequence = Sequence(key=facts[rule.key], number=int(facts[rule.number]), status=facts[rule.status])
        return Content(
            kind=kind,
            facts=facts,
            business_id=business_id,
            order_key="|".join(key) if key and len(key) == len(kind.order_key) else None,
            subject=next((facts[name] for name in kind.subject if name in facts), None),
            sequence=sequence,
            law_day=_law_day(kind.law_day, facts) if kind.law_day else None,
            warnings=warnings,
        )


def read_content(
    content: etree._Element,
    *,
    action: str,
    sender: Oin,
    receiver: Oin,
    contracts: ContractsByAction,
    now: datetime,
    explain: bool = True,
) -> Content:
    """The content of a verified message. Raises Refused with the first finding's code and place, and all of them in `details`; without
    `explain`, Unexplained."""
    reading = contracts.reader(action).read(content, sender=sender, receiver=receiver, now=now, explain=explain)
    if reading.content is None:
        first = reading.findings[0]
        raise Refused(first.code, first.en, where=first.where, details=map(str, reading.findings))
    return reading.content


def _law_day(law: LawDay, facts: Mapping[str, str]) -> int | None:
    if law.fact not in facts or any(facts.get(name) != value for name, value in law.only.items()):
        return None
    return (date.fromisoformat(facts[law.fact][:10]) - _1970).days


def _judge(rule: Rule, check: Check, facts: Mapping[str, str], at: Context) -> Verdict | None:
    try:
        return rule(facts.get(check.fact), facts, check, at)
    except ValueError:  # a rule about dates or numbers, on an XSD that lets other texts through
        return Verdict("CONTENT_RULE", f"Regel {check.rule} kan deze waarde niet lezen.", f"Rule {check.rule} cannot read this value.")


def _compile(paths: Iterable[tuple[list[str], str]], namespaces: tuple[str, ...]) -> _Places:
    """Paths of local names, each with its fact, as a tree of tags; a name is looked for in every namespace of the schema, and in none."""
    heads: dict[str, list[tuple[list[str], str]]] = {}
    for (head, *rest), fact in paths:
        heads.setdefault(head, []).append((rest, fact))
    places: _Places = {}
    for head, rests in heads.items():
        below = _compile([(rest, fact) for rest, fact in rests if rest], namespaces)
        place = (tuple(fact for rest, fact in rests if not rest), below)
        places[head] = place
        for namespace in namespaces:
            places[f"{{{namespace}}}{head}"] = place
    return places


def _collect(parent: etree._Element, places: _Places, facts: dict[str, str]) -> None:
    """Reads the facts below an element. The first of several elements with one path counts."""
    for child in parent:
        place = places.get(child.tag)
        if place is None:
            continue
        names, below = place
        if names:
            # a comment splits the text, and signatures do not cover comments: all pieces count, as they do for the XSD
            text = "".join(map(str, child.itertext())) if len(child) else child.text or ""
            text = text.strip()
            for name in names:
                facts.setdefault(name, text)
        if below:
            _collect(child, below, facts)
