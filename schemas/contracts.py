"""Reads contracts: folders `<dienst>/<versie>/` with a `dienst.toml` and an XSD, our own ones and any an operator adds.

Strict, because a contract decides who gets personal data: an unknown key, a fact that stands nowhere, a rule that does not
exist are each refused with one sentence that names the file and the key. `schemas/contract.py` says what each key means.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from schemas.answering import NoPair, paired
from schemas.content import ContentReader
from schemas.contract import Age, Check, Condition, Contract, LawDay, MessageKind, RecipientRule, SequenceRule
from schemas.faults import Refused
from schemas.rules import COMPARING, RULES
from schemas.xml import Schema, SchemaError

#: The diensten that come with the software.
BUILT_IN: Final = Path(__file__).parent / "diensten"

#: How long mail may stand in a mailbox where the contract says nothing else: a mailbox is emptied every day.
FETCH_WITHIN: Final = timedelta(days=1)

_WORD: Final = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,19}\Z")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}\Z")
_PATH: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_.-]*(/[A-Za-z_][A-Za-z0-9_.-]*)*(\|[A-Za-z_][A-Za-z0-9_.-]*(/[A-Za-z_][A-Za-z0-9_.-]*)*)*\Z"
)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([dhm])\Z")
_DAY: Final = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\Z")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


class ContractError(ValueError):
    """A contract that cannot be used; the sentence names the file, the key, and what to do."""


class Contracts:
    """Every contract that was loaded, each message kind with its compiled reader."""

    def __init__(self, contracts: tuple[Contract, ...], readers: Mapping[str, ContentReader]) -> None:
        self.contracts = contracts
        self._readers = dict(readers)
        self._by_root: dict[str, ContentReader] = {}
        for reader in self._readers.values():
            self._by_root.setdefault(reader.root, reader)

    @property
    def kinds(self) -> tuple[MessageKind, ...]:
        """Every message kind, in the order of loading."""
        return tuple(reader.kind for reader in self._readers.values())

    def kind(self, action: str) -> MessageKind:
        """The message kind of a wsa:Action. Raises Refused (UNKNOWN_DIENST)."""
        return self.reader(action).kind

    def reader(self, action: str) -> ContentReader:
        """The compiled reader of a wsa:Action. Raises Refused (UNKNOWN_DIENST)."""
        reader = self._readers.get(action)
        if reader is None:
            raise Refused("UNKNOWN_DIENST", f"no dienst has the action {action[:200]!r}", where="wsa:Action")
        return reader

    def reader_for(self, root: str) -> ContentReader | None:
        """The reader of the first kind whose root element has this tag ({namespace}name); None when no dienst has it."""
        return self._by_root.get(root)

    def signed(self, dienst: str, versie: str) -> bool:
        """Whether its messages and answers are signed; so for a dienst that is not there any more."""
        contract = self.find(dienst, versie)
        return contract is None or contract.signed

    def find(self, dienst: str, versie: str) -> Contract | None:
        """The contract of a dienst version."""
        return next((contract for contract in self.contracts if (contract.dienst, contract.versie) == (dienst, versie)), None)


def load_contracts(*folders: Path) -> Contracts:
    """Our own diensten, and those in `folders` (KOPPELPUNT_DIENSTEN). Raises ContractError for the first thing that is wrong."""
    contracts: list[Contract] = []
    kinds: dict[str, MessageKind] = {}
    schemas: dict[str, Schema] = {}
    seen: dict[tuple[str, str], Path] = {}
    for folder in (BUILT_IN, *folders):
        for file in _files(folder):
            contract, schema = read_contract(file)
            other = seen.setdefault((contract.dienst, contract.versie), file)
            if other != file:
                raise ContractError(
                    f"{file}: dienst {contract.dienst} version {contract.versie} stands in {other} too; give it another version"
                )
            for kind in contract.kinds.values():
                if kind.action in kinds:
                    taken = kinds[kind.action]
                    owner = f"{taken.dienst} {taken.versie} {taken.name}"
                    raise ContractError(f"{file}: kinds.{kind.name}.action: {kind.action!r} belongs to {owner} already")
                kinds[kind.action], schemas[kind.action] = kind, schema
            contracts.append(contract)
    try:
        kinds = paired(kinds)
    except NoPair as wrong:
        file = seen[wrong.kind.dienst, wrong.kind.versie]
        raise ContractError(f"{file}: kinds.{wrong.kind.name}.{wrong.key}: {wrong}") from wrong
    contracts = [replace(contract, kinds={action: kinds[action] for action in contract.kinds}) for contract in contracts]
    return Contracts(tuple(contracts), {action: ContentReader(kind, schemas[action]) for action, kind in kinds.items()})


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ContractError(f"{folder}: is not a folder; KOPPELPUNT_DIENSTEN names folders that hold <dienst>/<version>/dienst.toml")
    versions = [version for dienst in _folders(folder) for version in _folders(dienst)]
    if not versions:
        raise ContractError(f"{folder}: holds no <dienst>/<version>/dienst.toml")
    for version in versions:
        file = version / "dienst.toml"
        if not file.is_file():
            raise ContractError(f"{file}: is missing; every dienst version has one")
        yield file


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith((".", "_")))


def read_contract(file: Path) -> tuple[Contract, Schema]:
    """One contract and its compiled XSD. Raises ContractError."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{file}: cannot be read as UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ContractError(f"{file}: not valid TOML: {error}") from error
    table = _Table(file, "", document)
    dienst, versie = table.text("dienst", _WORD), table.text("versie", _VERSION)
    if (file.parent.parent.name, file.parent.name) != (dienst, versie):
        raise ContractError(f"{file}: dienst and versie must be the names of its folders: put it in {dienst}/{versie}/")
    namespace = table.text("namespace")
    schema = _schema(table, namespace)
    kinds: dict[str, MessageKind] = {}
    for name in table.sub("kinds"):
        kind = _kind(_Table(file, f"kinds.{name}.", table.sub("kinds").sub(name).values), name, (dienst, versie, namespace), schema)
        if kind.action in kinds:
            raise ContractError(f"{file}: kinds.{name}.action: another kind has the action {kind.action!r} already")
        kinds[kind.action] = kind
    if not kinds:
        raise ContractError(f"{file}: kinds: name at least one message kind")
    peer_to_peer = table.choice("peer_to_peer", "where", "carry") if "peer_to_peer" in table.values else None
    for kind in kinds.values() if peer_to_peer else ():
        if kind.to != "receiver":
            raise table.wrong("peer_to_peer", f'needs kinds whose sender names the receiver, and kinds.{kind.name}.to is "{kind.to}"')
    if peer_to_peer == "where":
        kinds = {action: replace(kind, carried=False) for action, kind in kinds.items()}
    contract = Contract(
        dienst=dienst,
        versie=versie,
        namespace=namespace,
        name=table.text("naam"),
        folder=file.parent,
        xsd=file.parent / table.text("xsd"),
        kinds=kinds,
        personal_data=table.boolean("personal_data"),
        profile=table.choice("profile", "2W-be-S", "2W-be", default="2W-be-S"),
        peer_to_peer=peer_to_peer,
        rest=table.boolean("rest", default=False),
    )
    table.done()
    return contract, schema


def _schema(table: _Table, namespace: str) -> Schema:
    xsd = (table.file.parent / table.text("xsd")).resolve()
    if xsd.parent != table.file.parent.resolve():
        raise table.wrong("xsd", "must be a file in the dienst's own folder, without a path")
    try:
        schema = Schema(xsd)
    except SchemaError as error:
        raise table.wrong("xsd", str(error)) from error
    if schema.target != namespace:
        raise table.wrong("namespace", f"must be the XSD's targetNamespace, {schema.target!r}")
    return schema


def _kind(table: _Table, name: str, identity: tuple[str, str, str], schema: Schema) -> MessageKind:
    if name not in schema.roots:
        raise ContractError(f"{table.file}: kinds.{name}: the XSD has no such root element; it has {', '.join(sorted(schema.roots)[:20])}")
    facts = {fact: table.sub("facts").text(fact, _PATH) for fact in table.sub("facts", empty=True)}
    for fact, path in facts.items():
        for step in re.split(r"[/|]", path):
            if step not in schema.elements:
                raise table.wrong(f"facts.{fact}", f"the XSD has no element {step!r}")
    ages = {fact: _age(table.sub("ages").sub(fact), facts) for fact in table.sub("ages", empty=True)}
    defaults = {fact: table.sub("defaults").text(fact) for fact in table.sub("defaults", empty=True)}
    _known(table, "defaults", defaults, facts)
    for fact in ages:
        if fact in facts:
            raise table.wrong(f"ages.{fact}", "is the name of a fact already")
    to = table.choice("to", "hub", "receiver")
    business_id = table.text("business_id", optional=True)
    subject, order_key = table.words("subject", _NAME), table.words("order_key", _NAME)
    _known(table, "business_id", [business_id] if business_id else [], facts)
    _known(table, "subject", subject, facts)
    _known(table, "order_key", order_key, facts)
    newest_replaces = table.boolean("newest_replaces", default=False)
    if newest_replaces and not order_key:
        raise table.wrong("newest_replaces", "needs an order_key: it says what replaces what")
    window = {key: table.text(key, _DAY, optional=True) for key in ("send_from", "send_until")}
    send_year = table.text("send_year", optional=True)
    if len({value is None for value in (*window.values(), send_year)}) > 1:
        raise table.wrong("send_from", "send_from, send_until and send_year belong together: name all three or none")
    _known(table, "send_year", [send_year] if send_year else [], facts)
    recipients = tuple(_recipient(row, facts, {**facts, **ages}, to) for row in table.rows("recipients"))
    if not recipients:
        raise table.wrong("recipients", "name at least one recipient")
    targets = [recipient.target for recipient in recipients]
    if len(set(targets)) < len(targets):
        raise table.wrong("recipients", "each target needs a name of its own")
    if to == "receiver" and [recipient.rule for recipient in recipients] != ["addressed"]:
        raise table.wrong("recipients", 'must be one row with rule "addressed", because the sender names the receiver (to = "receiver")')
    dienst, versie, namespace = identity
    kind = MessageKind(
        dienst=dienst,
        versie=versie,
        namespace=namespace,
        name=name,
        action=table.text("action"),
        senders=table.words("senders", _WORD),
        to=to,
        recipients=recipients,
        facts=facts,
        business_id=business_id,
        subject=subject,
        order_key=order_key,
        idempotent=table.boolean("idempotent", default=True),
        newest_replaces=newest_replaces,
        sequence=_sequence(table.sub("sequence"), facts) if "sequence" in table.values else None,
        defaults=defaults,
        ages=ages,
        law_day=_law_day(table.sub("law_day"), facts) if "law_day" in table.values else None,
        checks=tuple(_check(row, facts) for row in table.rows("checks", optional=True)),
        deliver_within=table.duration("deliver_within"),
        fetch_within=table.duration("fetch_within") if "fetch_within" in table.values else FETCH_WITHIN,
        retention=table.duration("retention"),
        send_from=window["send_from"],
        send_until=window["send_until"],
        send_year=send_year,
        answered_by=table.text("answered_by", optional=True),
        answer_within=table.duration("answer_within") if "answer_within" in table.values else None,
        answers=table.text("answers", optional=True),
    )
    _known(table, "answers", [kind.answers] if kind.answers else [], facts)
    table.done()
    return kind


def _age(table: _Table, facts: Mapping[str, str]) -> Age:
    age = Age(birth=table.text("birth"), on=table.text("on"))
    _known(table, "birth", [age.birth], facts)
    _known(table, "on", [age.on], facts)
    table.done()
    return age


def _law_day(table: _Table, facts: Mapping[str, str]) -> LawDay:
    only = {fact: table.sub("only").text(fact) for fact in table.sub("only", empty=True)}
    day = LawDay(fact=table.text("fact"), only=only)
    _known(table, "fact", [day.fact], facts)
    _known(table, "only", only, facts)
    table.done()
    return day


def _check(table: _Table, facts: Mapping[str, str]) -> Check:
    check = Check(rule=table.choice("rule", *RULES), fact=table.text("fact"), other=table.text("other", optional=True))
    _known(table, "fact", [check.fact], facts)
    if (check.rule in COMPARING) is (check.other is None):
        raise table.wrong("other", f"rule {check.rule!r} {'needs' if check.other is None else 'takes no'} other fact")
    _known(table, "other", [check.other] if check.other else [], facts)
    table.done()
    return check


def _recipient(table: _Table, facts: Mapping[str, str], known: Mapping[str, object], to: str) -> RecipientRule:
    rule = table.choice("rule", "addressed", "role", "brin", "gemeente")
    role, fact = table.text("role", _WORD, optional=True), table.text("fact", optional=True)
    if rule == "addressed" and to != "receiver":
        raise table.wrong("rule", 'is "addressed", but the sender names the hub (to = "hub")')
    if (rule in ("brin", "gemeente")) is (fact is None):
        raise table.wrong("fact", f"rule {rule!r} {'needs' if fact is None else 'takes no'} fact")
    if (rule == "role" and role is None) or (rule in ("addressed", "gemeente") and role is not None):
        raise table.wrong("role", f"rule {rule!r} {'needs' if role is None else 'takes no'} role")
    _known(table, "fact", [fact] if fact else [], facts)
    when = tuple(_condition(row, known) for row in table.rows("when", optional=True))
    recipient = RecipientRule(target=table.text("target", _NAME), rule=rule, role=role, fact=fact, when=when)
    table.done()
    return recipient


def _condition(table: _Table, known: Mapping[str, object]) -> Condition:
    tests = [key for key in ("present", "equals", "below") if key in table.values]
    if len(tests) != 1:
        raise table.wrong("present", "name exactly one of present, equals and below")
    fact = table.text("fact")
    _known(table, "fact", [fact], known)
    below = table.take("below", optional=True)
    if below is not None and type(below) is not int:
        raise table.wrong("below", "must be a whole number")
    condition = Condition(
        fact=fact,
        present=table.boolean("present") if "present" in tests else None,
        equals=table.text("equals", optional=True),
        below=below,
        reason_nl=table.text("reason_nl"),
        reason_en=table.text("reason_en"),
    )
    table.done()
    return condition


def _sequence(table: _Table, facts: Mapping[str, str]) -> SequenceRule:
    follows_table = table.sub("follows")
    follows = {status: follows_table.words(status, _NAME) for status in follows_table}
    rule = SequenceRule(
        key=table.text("key"), number=table.text("number"), status=table.text("status"), first=table.words("first", _NAME), follows=follows
    )
    for key in ("key", "number", "status"):
        _known(table, key, [getattr(rule, key)], facts)
    _known(table, "first", rule.first, follows, "a status in follows")
    for status, after in follows.items():
        _known(follows_table, status, after, follows, "a status in follows")
    if not rule.first:
        raise table.wrong("first", "name the statuses a stream may start with")
    table.done()
    return rule


def _known(table: _Table, key: str, names: Any, known: Mapping[str, object], what: str = "one of its facts") -> None:
    for name in names:
        if name not in known:
            raise table.wrong(key, f"{name!r} is not {what}")


class _Table:
    """A table of the document that remembers which keys were asked for, and names the file and key of everything wrong."""

    def __init__(self, file: Path, prefix: str, values: Mapping[str, Any]) -> None:
        self.file, self.values = file, values
        self._prefix = prefix
        self._asked: set[str] = set()

    def wrong(self, key: str, why: str) -> ContractError:
        return ContractError(f"{self.file}: {self._prefix}{key}: {why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def take(self, key: str, *, optional: bool = False) -> Any:
        self._asked.add(key)
        if key not in self.values and not optional:
            raise self.wrong(key, "is missing")
        return self.values.get(key)

    def text(self, key: str, shape: re.Pattern[str] | None = None, *, optional: bool = False) -> Any:
        """A text that is not empty; typed Any because an optional one may be None."""
        value = self.take(key, optional=optional)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "must be a text that is not empty")
        if shape is not None and not shape.match(value):
            raise self.wrong(key, f"{value!r} does not have the right form ({shape.pattern})")
        return value

    def choice(self, key: str, *choices: str, default: str | None = None) -> str:
        value = self.text(key, optional=default is not None) or default
        if value not in choices:
            raise self.wrong(key, f"{value!r} does not exist; choose from {', '.join(sorted(choices))}")
        return str(value)

    def boolean(self, key: str, *, default: bool | None = None) -> bool:
        value = self.take(key, optional=default is not None)
        if value is None:
            value = default
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def words(self, key: str, shape: re.Pattern[str]) -> tuple[str, ...]:
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(word, str) and shape.match(word) for word in value):
            raise self.wrong(key, f"must be a list of texts of the form {shape.pattern}")
        if len(set(value)) < len(value):
            raise self.wrong(key, "names something twice")
        return tuple(value)

    def duration(self, key: str) -> timedelta:
        value = self.take(key)
        found = _DURATION.match(value) if isinstance(value, str) else None
        if found is None:
            raise self.wrong(key, 'must be a number of days, hours or minutes, such as "30d", "12h" or "15m"')
        return timedelta(**{_UNITS[found.group(2)]: int(found.group(1))})

    def sub(self, key: str, *, empty: bool = False) -> _Table:
        value = self.take(key, optional=empty)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a table")
        return _Table(self.file, f"{self._prefix}{key}.", value)

    def rows(self, key: str, *, optional: bool = False) -> list[_Table]:
        value = self.take(key, optional=optional)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self.wrong(key, "must be a list of tables")
        return [_Table(self.file, f"{self._prefix}{key}[{number}].", row) for number, row in enumerate(value, 1)]

    def done(self) -> None:
        unknown = sorted(set(self.values) - self._asked)
        if unknown:
            raise self.wrong(unknown[0], "is not a known key; see schemas/contract.py for the keys there are")
