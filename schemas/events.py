"""Journal events in Avro: what happened, written once, readable with every later version of the schema.

An event carries ids, codes and digests, never content. Its schema's number stands beside the bytes; a newer schema must
give each new field a default, so that `decode` reads the oldest event with today's schema (Avro schema resolution).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import fastavro

#: The schema events are written with today.
CURRENT: Final = 1

_FOLDER: Final = Path(__file__).parent / "avro"


@dataclass(slots=True, kw_only=True)
class Event:
    """One thing that happened; the fields are explained in `avro/event-1.avsc`. Not frozen, for the reason in routing/work.py."""

    kind: str
    at_us: int
    actor: str
    reference: str | None = None
    delivery: str | None = None
    message_id: str | None = None
    business_id: str | None = None
    system: str | None = None
    sender: str | None = None
    receiver: str | None = None
    receiver_system: str | None = None
    dienst: str | None = None
    versie: str | None = None
    bericht: str | None = None
    state: str | None = None
    code: str | None = None
    owner: str | None = None
    reason: str | None = None
    register_version: int | None = None
    digest: bytes | None = None
    details: Mapping[str, str] = field(default_factory=dict)


@cache
def schema(number: int) -> Any:
    """The parsed Avro schema with this number. Raises FileNotFoundError for one that never existed."""
    return fastavro.parse_schema(json.loads((_FOLDER / f"event-{number}.avsc").read_text(encoding="utf-8")))


_FIELDS: Final = tuple(Event.__dataclass_fields__)
#: The optional texts, which stand together, between the actor and the register's version.
_TEXTS: Final = attrgetter(*_FIELDS[_FIELDS.index("reference") : _FIELDS.index("reason") + 1])


def encode(event: Event) -> bytes:
    """The event as Avro, in the current schema; byte for byte what fastavro writes, which tries every branch of every union: 15 µs an
    event instead of 2.5, with four events in the path of every message. It remains the reader, and the measure of this
    (tests/unit/test_events.py)."""
    out = [_string(event.kind), _long(event.at_us), _string(event.actor)]
    for text in _TEXTS(event):  # as `_some_string` does, without a call for each
        if text is None:
            out.append(_NONE)
        else:
            raw = text.encode()
            out.append(_SOME_LENGTHS[len(raw)] + raw if len(raw) < len(_SOME_LENGTHS) else _some_string(text))
    version, digest = event.register_version, event.digest
    out.append(_NONE if version is None else b"\2" + _long(version))
    out.append(_NONE if digest is None else b"\2" + _bytes(digest))
    out.append(_strings(event.details))
    return b"".join(out)


#: The first branch of a union: nothing there.
_NONE: Final = b"\0"


def _long(number: int) -> bytes:
    """Avro's zigzag varint."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


#: Lengths of ids and sentences.
_LENGTHS: Final = tuple(_long(n) for n in range(512))


def _bytes(value: bytes) -> bytes:
    return (_LENGTHS[len(value)] if len(value) < 512 else _long(len(value))) + value


def _string(value: str) -> bytes:
    return _bytes(value.encode())


def _strings(values: Mapping[str, str]) -> bytes:
    return b"".join([_long(len(values)), *(_string(k) + _string(v) for k, v in values.items()), b"\0"]) if values else b"\0"


#: The same behind the index of a union's second branch: most fields are optional strings.
_SOME_LENGTHS: Final = tuple(b"\2" + length for length in _LENGTHS)


def _some_string(value: str) -> bytes:
    raw = value.encode()
    return (_SOME_LENGTHS[len(raw)] if len(raw) < 512 else b"\2" + _long(len(raw))) + raw


def head(kind: str) -> bytes:
    """How the bytes of an event of this kind begin, whatever its schema: the kind comes first."""
    return _string(kind)


@dataclass(slots=True)
class Glance:
    """What is counted of an event."""

    kind: str
    at_us: int
    reference: str | None
    system: str | None
    sender: str | None
    receiver: str | None
    receiver_system: str | None
    dienst: str | None
    bericht: str | None
    code: str | None
    owner: str | None


_COUNTED: Final = tuple(Glance.__dataclass_fields__)
#: Of the optional texts from `reference` to `owner`, in the order in which they are written: whether it is counted.
_LOOKED_AT: Final = tuple(name in _COUNTED for name in _FIELDS[_FIELDS.index("reference") : _FIELDS.index("owner") + 1])


def glance(payload: bytes, number: int = CURRENT) -> Glance:
    """What is counted of an event: 2.5 µs, where `decode` takes 11. Raises ValueError when the bytes are not such an event."""
    if number != CURRENT:
        event = decode(payload, number)
        return Glance(*(getattr(event, name) for name in _COUNTED))
    try:
        size, at = _number(payload, 0)
        kind = payload[at : at + size].decode()
        at_us, at = _number(payload, at + size)
        size, at = _number(payload, at)
        at += size  # past the actor
        texts: list[str | None] = []
        for wanted in _LOOKED_AT:
            if not payload[at]:
                at += 1
                if wanted:
                    texts.append(None)
                continue
            size = payload[at + 1]
            if size < 0x80:  # a length below 64, as nearly always
                size, at = size >> 1, at + 2
            else:
                size, at = _number(payload, at + 1)
            if wanted:
                texts.append(payload[at : at + size].decode())
            at += size
        return Glance(kind, at_us, *texts)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a journal event of schema {number}") from error


def _number(payload: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint, and where it ends."""
    byte = payload[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = payload[at]
        value |= (byte & 0x7F) << shift
        shift += 7
    return (value >> 1) ^ -(value & 1), at + 1


def decode(payload: bytes, number: int = CURRENT) -> Event:
    """An event written with schema `number`, read with today's. Raises ValueError when the bytes are not such an event."""
    reader = None if number == CURRENT else schema(CURRENT)  # resolving a schema to itself costs a third of all this
    try:
        return Event(**fastavro.schemaless_reader(BytesIO(payload), schema(number), reader))
    except (EOFError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a journal event of schema {number}") from error


def is_filed_under(reference: str | None, payload: bytes, number: int) -> bool:
    """Whether an event is of the message that the column beside it names: that column finds it, and no hash covers it."""
    if reference is not None and _some_string(reference) not in payload:  # told without decoding, as nearly always
        return False
    return reference is not None or decode(payload, number).reference is None


def digest(payload: bytes, number: int) -> bytes:
    """What the chain holds of an event: SHA-256 over its schema's number and its bytes."""
    return hashlib.sha256(number.to_bytes(4, "big") + payload).digest()


def link(previous: bytes, sequence: int, digests: list[bytes]) -> bytes:
    """The hash of one block of the journal: it binds the block before it, its own number, and each event in order."""
    return hashlib.sha256(previous + sequence.to_bytes(8, "big") + len(digests).to_bytes(4, "big") + b"".join(digests)).digest()


def as_dict(event: Event) -> dict[str, Any]:
    """For `--json`: the fields that are set, digests as hex."""
    return {k: (v.hex() if isinstance(v, bytes) else v) for k, v in asdict(event).items() if v not in (None, {})}
