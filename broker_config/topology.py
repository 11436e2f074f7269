"""What RabbitMQ must look like, as data in the form of its own definitions (design sections 3, 4 and 7).

Only what no policy can say is an argument: a queue's type, and that a hand-in queue has one consumer at a time. Arguments are
fixed for the life of a queue (another value is refused with 406, and the only way out is to delete the queue, see `renewable`);
a policy can be changed on a running broker, for all queues of a kind at once. One policy applies per queue, hence one per kind.

Everything holds on RabbitMQ 3.10 and 4.x: quorum queues only, `delivery-limit` always set (4.x would otherwise take 20, and
3.10 none), and at-least-once dead lettering, which wants `reject-publish` on the queue.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from urllib.parse import unquote, urlsplit

#: RabbitMQ's definitions: lists of objects under `vhosts`, `users`, `queues`, …
Definitions = dict[str, Any]

VHOST: Final = "koppelpunt"
BACKBONE: Final = "backbone"  #: our own user

INTAKE: Final = "intake"  #: exchange for hand-ins; routing key = the system's OIN (contract)
CONFIRM: Final = "confirm"  #: exchange for confirmations and refusals from mailboxes; routing key = the system's OIN (contract)
DEAD: Final = "dead"  #: exchange and queue of what was handed out too often
ROUTE: Final = "route"  #: queue of message ids to be routed
DELIVER: Final = "deliver"  #: queue of delivery ids to be put into mailboxes
PUSH: Final = "push"  #: queue of delivery ids to be offered to endpoints, which may take long to answer
EPOCH: Final = "epoch"  #: queue with one message: the value by which we see that the broker was wiped

#: Kinds of queue that exist once per party, as `<kind>.<oin>`.
SENDER_QUEUES: Final = ("intake", "receipt")
RECEIVER_QUEUES: Final = ("mailbox", "confirm")
INTERNAL_QUEUES: Final = (ROUTE, DELIVER, PUSH, DEAD, EPOCH)

#: One consumer of such a queue gets everything, the others stand by until it goes: hand-ins of one party are stored in the order
#: in which they came, however many intake workers there are. Two of them at once would make a later status of an application
#: overtake an earlier one, which is then refused as STATUS_STALE. Not for `confirm.<oin>`: each confirmation is about one delivery,
#: a repeat changes nothing, and a party that contradicts itself has said both.
_ONE_AT_A_TIME: Final = "x-single-active-consumer"

_HASHING: Final = "rabbit_password_hashing_sha256"
_PARTY: Final = r"[0-9]{8}[0-9A-Z]{12}"
_PARTY_NAME: Final = re.compile(_PARTY + r"\Z")
_PARTY_QUEUE: Final = re.compile(rf"({'|'.join(SENDER_QUEUES + RECEIVER_QUEUES)})\.{_PARTY}\Z")
_NOTHING: Final = "^$"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A connected system: a user of the broker, named after the OIN in its certificate."""

    oin: str
    password_hash: str  #: salted SHA-256 as `password_hash` makes it; the password itself is never kept
    sends: bool = True  #: hands in, reads receipts and outcomes
    receives: bool = True  #: reads a mailbox, confirms and refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much each kind of queue may hold, and how often a message may be handed out. Full queues refuse (a nack), they never drop."""

    intake: int = 50_000  #: hand-ins per party (contract)
    intake_bytes: int = (
        4_096 * _MIB
    )  #: so that large messages cannot fill the disk, which would stop everybody; 85 kB per message when full
    #: Receipts and outcomes per party: those of a full hand-in queue, twice. A party that never reads them fills this (some 40 MB)
    #: and no more; what is nacked stands in the store and is published again.
    receipt: int = 100_000
    mailbox: int = 2_000  #: twice the window: room for copies that a broker restart or a refill puts there again
    confirm: int = 10_000  #: ten windows; a party that repeats itself without end is nacked, others do not notice
    confirm_bytes: int = 16 * _MIB
    internal: int = 1_000_000  #: ids; far more than all windows together, so only a fault of ours can reach it
    #: Dead letters. At-least-once dead lettering leaves what does not fit in the queue it comes from, where it counts towards that
    #: queue's bounds: so a party whose messages expire (it may set an expiration) fills its own queue, not the disk.
    dead: int = 200_000
    dead_bytes: int = 4_096 * _MIB
    #: Times a worker of ours may be handed the same message: a poisonous one costs this many restarts, and its innocent
    #: neighbours in the batch come back from `dead`.
    work_deliveries: int = 10
    #: The same for a party's own software; 4.x's default. From 4.3 on `basic.reject` and lost connections count, `basic.nack` does not.
    party_deliveries: int = 20
    #: `dead` and `epoch` give nothing up, ever. 4.x calls that -1, which 3.10 refuses; both take a very large number.
    endless_deliveries: int = 1_000_000_000
    party_connections: int = 50
    party_channels: int = 500


def password_hash(password: str, salt: bytes | None = None) -> str:
    """RabbitMQ's salted SHA-256 of the password: base64 of four bytes salt and the digest of salt and password."""
    salt = secrets.token_bytes(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_password(password: str, hashed: str) -> bool:
    """Whether the hash was made from this password."""
    return secrets.compare_digest(password_hash(password, base64.b64decode(hashed)[:4]), hashed)


def vhost_of(url: str) -> str:
    """The vhost an AMQP address names, as pika and other clients read it: without one it is `/`."""
    return unquote(urlsplit(url).path[1:].partition("/")[0]) or "/"


def backbone_of(url: str) -> str | None:
    """Our own user, when it is the one this AMQP address connects as; the rights of any other user are not ours to set."""
    return BACKBONE if urlsplit(url).username == BACKBONE else None


def queue(kind: str, oin: str) -> str:
    """The name of a party's queue: kind is `intake`, `receipt`, `mailbox` or `confirm`."""
    return f"{kind}.{oin}"


def queues_of(party: Party) -> list[str]:
    """The names of all queues of this party."""
    kinds = (SENDER_QUEUES if party.sends else ()) + (RECEIVER_QUEUES if party.receives else ())
    return [queue(kind, party.oin) for kind in kinds]


def topology(parties: Iterable[Party], *, vhost: str = VHOST, backbone: str | None = BACKBONE, bounds: Bounds = Bounds()) -> Definitions:
    """The whole topology for these parties. Same parties, same answer, whatever their order.

    `backbone` names the user whose rights in the vhost are ours to set; None leaves them to whoever made that user. The user
    itself is never part of it: on a private node it exists already, elsewhere the operator makes it.
    Raises ValueError for a party that is named twice or whose name is not an OIN.
    """
    ordered = sorted(parties, key=lambda party: party.oin)
    names = [party.oin for party in ordered]
    for name in names:
        if not _PARTY_NAME.match(name):
            raise ValueError(f"{name[:40]!r} cannot be a user of the broker: it is not an OIN of 20 positions")
    for name, following in pairwise(names):
        if name == following:
            raise ValueError(f"party {name} is named twice; give it one user")
    queues = sorted({*INTERNAL_QUEUES, *(name for party in ordered for name in queues_of(party))})
    exchanges = [(CONFIRM, "topic"), (DEAD, "fanout"), (INTAKE, "topic")]
    bindings = [(DEAD, DEAD, "")]
    bindings += [(INTAKE, queue("intake", p.oin), p.oin) for p in ordered if p.sends]
    bindings += [(CONFIRM, queue("confirm", p.oin), p.oin) for p in ordered if p.receives]
    ours = [] if backbone is None else [_permission(vhost, backbone, write=".*", read=".*")]
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(party, bounds) for party in ordered],
        "permissions": ours + [_party_permission(vhost, party) for party in ordered],
        "topic_permissions": [
            {"user": p.oin, "vhost": vhost, "exchange": exchange, "write": _exactly(p.oin), "read": _NOTHING}
            for p in ordered
            for exchange, wanted in ((CONFIRM, p.receives), (INTAKE, p.sends))
            if wanted
        ],
        "exchanges": [
            {"name": n, "vhost": vhost, "type": t, "durable": True, "auto_delete": False, "internal": False, "arguments": {}}
            for n, t in exchanges
        ],
        "queues": [{"name": n, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": _arguments(n)} for n in queues],
        "bindings": [
            {"source": s, "vhost": vhost, "destination": d, "destination_type": "queue", "routing_key": k, "arguments": {}}
            for s, d, k in bindings
        ],
        "policies": [_policy(vhost, kind, pattern, limits) for kind, pattern, limits in _policies(bounds)],
    }


def _arguments(name: str) -> dict[str, Any]:
    one = {_ONE_AT_A_TIME: True} if name.startswith(f"{INTAKE}.") else {}
    return {"x-queue-type": "quorum", **one}


def _user(party: Party, bounds: Bounds) -> dict[str, Any]:
    limits = {"max-connections": bounds.party_connections, "max-channels": bounds.party_channels}
    return {"name": party.oin, "password_hash": party.password_hash, "hashing_algorithm": _HASHING, "tags": [], "limits": limits}


def _permission(vhost: str, user: str, *, write: str, read: str) -> dict[str, Any]:
    return {"user": user, "vhost": vhost, "configure": _NOTHING, "write": write, "read": read}


def _party_permission(vhost: str, party: Party) -> dict[str, Any]:
    write = [exchange for exchange, wanted in ((CONFIRM, party.receives), (INTAKE, party.sends)) if wanted]
    read = [queue(kind, party.oin) for kind, wanted in (("mailbox", party.receives), ("receipt", party.sends)) if wanted]
    return _permission(vhost, party.oin, write=_exactly(*write), read=_exactly(*read))


def _exactly(*names: str) -> str:
    """A pattern that matches these names and nothing else; `$` would also match before a line feed at the end."""
    return rf"\A({'|'.join(map(re.escape, names))})\z" if names else _NOTHING


def _policies(bounds: Bounds) -> list[tuple[str, str, dict[str, Any]]]:
    full = {"overflow": "reject-publish"}
    dead = {"dead-letter-exchange": DEAD, "dead-letter-strategy": "at-least-once"}
    endless = {"delivery-limit": bounds.endless_deliveries}
    work, party = {"delivery-limit": bounds.work_deliveries}, {"delivery-limit": bounds.party_deliveries}

    def of(kind: str) -> str:
        return rf"^{kind}\.{_PARTY}$"

    return [
        ("intake", of("intake"), {"max-length": bounds.intake, "max-length-bytes": bounds.intake_bytes, **full, **dead, **work}),
        ("receipt", of("receipt"), {"max-length": bounds.receipt, **full, **dead, **party}),
        ("mailbox", of("mailbox"), {"max-length": bounds.mailbox, **full, **dead, **party}),
        ("confirm", of("confirm"), {"max-length": bounds.confirm, "max-length-bytes": bounds.confirm_bytes, **full, **dead, **work}),
        ("internal", rf"^({ROUTE}|{DELIVER}|{PUSH})$", {"max-length": bounds.internal, **full, **dead, **work}),
        ("dead", rf"^{DEAD}$", {"max-length": bounds.dead, "max-length-bytes": bounds.dead_bytes, **full, **endless}),
        ("keep", rf"^{EPOCH}$", endless),
    ]


def _policy(vhost: str, kind: str, pattern: str, limits: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"koppelpunt-{kind}",
        "vhost": vhost,
        "pattern": pattern,
        "apply-to": "queues",
        "priority": 10,
        "definition": limits,
    }


# ---- comparing -----------------------------------------------------------------------------------------------------------------

#: What makes an object of each kind the same object, and which of its other properties are ours to decide.
_IDENTITY: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "vhosts": (("name",), ()),
    "users": (("name",), ("password_hash", "tags", "limits")),
    "permissions": (("user", "vhost"), ("configure", "write", "read")),
    "topic_permissions": (("user", "vhost", "exchange"), ("write", "read")),
    "exchanges": (("name", "vhost"), ("type", "durable", "auto_delete", "internal", "arguments")),
    "queues": (("name", "vhost"), ("durable", "auto_delete", "arguments")),
    "bindings": (("source", "vhost", "destination", "destination_type", "routing_key"), ()),
    "policies": (("name", "vhost"), ("pattern", "apply-to", "priority", "definition")),
}
#: What cannot be changed once it exists.
_FIXED: Final = ("exchanges", "queues")
_SINGULAR: Final[Mapping[str, str]] = {
    "vhosts": "vhost",
    "users": "user",
    "permissions": "permissions of",
    "topic_permissions": "topic permission of",
    "exchanges": "exchange",
    "queues": "queue",
    "bindings": "binding",
    "policies": "policy",
}


def missing(wanted: Definitions, actual: Definitions) -> Definitions:
    """The part of `wanted` that the broker lacks or has with other values: what must be applied, and nothing else."""
    return {
        kind: lacking
        for kind in _IDENTITY
        if (lacking := [item for item in wanted.get(kind, ()) if _differs(kind, item, _index(kind, actual).get(_key(kind, item)))])
    }


def renewable(wanted: Definitions, actual: Definitions) -> list[str]:
    """Names of hand-in queues that an earlier version made, without the one argument they lack: these can be replaced while empty."""
    there = _index("queues", actual)
    return [
        item["name"]
        for item in wanted.get("queues", ())
        if (found := there.get(_key("queues", item))) is not None
        and _ONE_AT_A_TIME in item["arguments"]
        and _changes("queues", item, found)
        and not _changes("queues", item, {**found, "arguments": {**found.get("arguments", {}), _ONE_AT_A_TIME: True}})
    ]


def immovable(wanted: Definitions, actual: Definitions) -> list[str]:
    """Sentences about what exists with other fixed properties, and cannot be replaced either: applying cannot change these."""
    sentences = []
    old = renewable(wanted, actual)
    for kind in _FIXED:
        there = _index(kind, actual)
        for item in wanted.get(kind, ()):
            found = there.get(_key(kind, item))
            if found is not None and (changes := _changes(kind, item, found)) and not (kind == "queues" and item["name"] in old):
                sentences.append(
                    f"{_name(kind, item)} exists with other properties ({changes}) that RabbitMQ cannot change: "
                    f"empty and delete it, then apply the topology again."
                )
    return sentences


def difference(wanted: Definitions, actual: Definitions) -> list[str]:
    """One sentence for each way in which the broker is not as wanted; empty when all is well.

    Reports what is ours and no longer wanted (the user and queues of a party that left), and ignores everything that is not ours.
    """
    sentences = immovable(wanted, actual)
    sentences += [
        f"queue {name} was made by an earlier version, without {_ONE_AT_A_TIME}: with several intake workers its hand-ins may be handled "
        "out of order. `topology apply` replaces it once it is empty: let intake empty it, then apply again."
        for name in renewable(wanted, actual)
    ]
    for kind, lacking in missing(wanted, actual).items():
        there = _index(kind, actual)
        for item in lacking:
            found = there.get(_key(kind, item))
            if found is None:
                sentences.append(f"{_name(kind, item)} is missing.")
            elif kind not in _FIXED:
                sentences.append(f"{_name(kind, item)} differs: {_changes(kind, item, found)}.")
    sentences += _overruled(wanted, actual)
    for kind in _IDENTITY:
        known = _index(kind, wanted)
        vhosts = {vhost["name"] for vhost in wanted["vhosts"]}
        sentences += [
            f"left over: {_name(kind, item)}; nobody in the register needs it, remove it when it is empty."
            for key, item in _index(kind, actual).items()
            if key not in known and item.get("vhost", "") in (*vhosts, "") and _is_ours(kind, item, actual, vhosts)
        ]
    return sentences


def departed(wanted: Definitions, actual: Definitions) -> list[str]:
    """Parties that have rights in our vhost and are not wanted any more."""
    vhosts, users = {vhost["name"] for vhost in wanted["vhosts"]}, {user["name"] for user in wanted["users"]}
    return sorted(u["name"] for u in actual.get("users", ()) if u["name"] not in users and _is_ours("users", u, actual, vhosts))


def left_behind(wanted: Definitions, actual: Definitions) -> list[str]:
    """Parties that are not wanted any more, but of which queues still stand: what is in them is still to be handled."""
    known = _index("queues", wanted)
    vhosts = {vhost["name"] for vhost in wanted["vhosts"]}
    left = [q for key, q in _index("queues", actual).items() if key not in known and q["vhost"] in vhosts]
    return sorted({q["name"].partition(".")[2] for q in left if _PARTY_QUEUE.match(q["name"])})


def _overruled(wanted: Definitions, actual: Definitions) -> list[str]:
    """Only one policy holds per queue: one of somebody else with a higher priority takes all our limits away."""
    ours = {policy["name"] for policy in wanted.get("policies", ())}
    names = {(item["vhost"], item["name"]) for item in wanted.get("queues", ())}
    return [
        f"queue {item['name']} follows the policy {item['policy']} instead of ours; remove that policy or lower its priority."
        for item in actual.get("queues", ())
        if (item["vhost"], item["name"]) in names and item.get("policy") and item["policy"] not in ours
    ]


def _is_ours(kind: str, item: Mapping[str, Any], actual: Definitions, vhosts: set[str]) -> bool:
    if kind == "users":  # users are shared by all vhosts: only one that has rights in ours is ours
        rights = {p["user"] for p in actual.get("permissions", ()) if p["vhost"] in vhosts}
        return bool(_PARTY_NAME.match(item["name"])) and item["name"] in rights
    if kind in ("permissions", "topic_permissions"):
        return bool(_PARTY_NAME.match(item["user"]))
    if kind == "queues":
        return bool(_PARTY_QUEUE.match(item["name"]))
    if kind == "bindings":  # whoever adds one to our exchanges reads along
        return item["source"] in (INTAKE, CONFIRM, DEAD)
    return kind == "policies" and item["name"].startswith("koppelpunt-")


def _key(kind: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(item[name] for name in _IDENTITY[kind][0])


def _index(kind: str, definitions: Definitions) -> dict[tuple[str, ...], Any]:
    return {_key(kind, item): item for item in definitions.get(kind, ())}


def _differs(kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> bool:
    return found is None or bool(_changes(kind, wanted, found))


def _changes(kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What differs, as text; never a password's hash."""
    differing = [name for name in _IDENTITY[kind][1] if wanted[name] != found.get(name)]
    return ", ".join(
        f"{name} is another" if name == "password_hash" else f"{name} is {found.get(name)!r}, wanted {wanted[name]!r}" for name in differing
    )


def _name(kind: str, item: Mapping[str, Any]) -> str:
    if kind == "bindings":
        return f"binding of {item['source'] or 'the default exchange'} to {item['destination']} ({item['routing_key']!r})"
    where = f" on exchange {item['exchange']}" if kind == "topic_permissions" else ""
    return f"{_SINGULAR[kind]} {item.get('user') or item.get('name')}{where}"
