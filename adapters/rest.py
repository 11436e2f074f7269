"""What the gateway answers at `/rest`: hand in by the Edukoppeling REST/SaaS profile, in XML or JSON (facts 7.1).

    who (https.Door) -> content type, edu-from, edu-to, Idempotency-Key, size, time -> content -> `Counter` (routing.ports) -> JSON

There is no message signature: mutual TLS is the identity, as in WUS profile 2W-be. So what is handed in is put into an envelope of that
profile (From and To of edu-from and edu-to, the Action of the message whose root element it is) and goes the way of all others. It travels
on in an envelope that we sign. Errors are `application/problem+json` (adapters.problem), with the codes of WUS.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web
from lxml import etree

from adapters import problem, soap
from adapters.https import LARGEST, OUTCOME, Door, Outcome, fault_in, read_body
from adapters.json_content import read_json
from routing.ports import Counter
from routing.work import HandInResult, NewMessage, NewRefusal
from schemas.contract import Contract, MessageKind
from schemas.contracts import Contracts
from schemas.faults import Fault, OurFailure, Owner, Refused, kind_of
from schemas.oin import Oin, is_oin
from schemas.privacy import redact

#: Bytes of a body that is read at once, which takes 3 ms at most; a larger one in a thread, one of each system at a time.
MOST_AT_ONCE: Final = 8 << 10
#: The content has this many levels at most, so that there are some left for its envelope.
LIMITS: Final = soap.Limits(size=LARGEST, depth=250)
#: Namespace of the MessageIDs made from an Idempotency-Key that is no UUID.
KEYS: Final = uuid.UUID("0d7e3c9c-6a55-5c39-9f0f-3a2f6f3b8a11")

_TYPE = re.compile(r"\s*([^;\s]+)\s*((?:;[^;]*)*)\Z")
_CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^";\s]+)"?""", re.IGNORECASE)
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z", re.IGNORECASE)
_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")
#: A refusal's reason with its place, as the store keeps it.
_PLACED = re.compile(r"(.*) \(at ([^()]{1,500})\)\Z", re.DOTALL)
#: What the envelope's headers are called over REST.
_HERE: Final = {"To": "edu-to", "From": "edu-from"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parties:
    """Who sends to whom, from the query; and how the sender's software knows this hand-in again."""

    sender: Oin
    receiver: Oin
    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request as the counter takes it."""

    envelope: bytes  #: what came, when it could not be put into one
    message_id: str | None
    fault: Refused | None = None
    unfit: Refused | None = None  #: as of `Counter.hand_in`


class RestPages:
    """`POST /rest/{dienst}/{versie}?edu-from=OIN&edu-to=OIN`."""

    def __init__(self, counter: Counter, door: Door, contracts: Contracts) -> None:
        self._counter, self._door, self._contracts = counter, door, contracts
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rest")
        self._lines: dict[Oin, asyncio.Lock] = {}  # of systems that the register has, so not many

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.post("/rest/{dienst}/{versie}", self._post),)

    async def _post(self, request: web.Request) -> web.Response:
        """One message in; 201 with its reference, or a problem, out."""
        outcome = OUTCOME.get()
        try:
            with self._door.admitted(request) as system:
                return await self._hand_in(request, system, outcome)
        except Exception as error:  # noqa: BLE001 (`fault_in` logs what nobody expected)
            return _refused(fault_in(error), outcome, close=not request.content.is_eof())

    async def _hand_in(self, request: web.Request, system: Oin, outcome: Outcome) -> web.Response:
        contract = self._contracts.find(request.match_info["dienst"], request.match_info["versie"])
        raw = await read_body(request)
        asked = _read(request, raw, contract) if len(raw) <= MOST_AT_ONCE else await self._read_beside(request, raw, contract, system)
        try:
            item, result = await self._counter.hand_in(
                asked.envelope,
                system=system,
                via="rest",
                message_id=lambda: asked.message_id,
                fault=asked.fault,
                unsigned=True,
                unfit=asked.unfit,
            )
        except OurFailure as failure:
            return _refused(failure, outcome)
        outcome.reference, outcome.code = result.reference, result.code
        if result.accepted:
            return _accepted(result)
        return _refused(_fault_of(item, result), outcome, reference=result.reference)

    async def _read_beside(self, request: web.Request, raw: bytes, contract: Contract | None, system: Oin) -> _Asked:
        """JSON of some megabytes is half a second of Python: a thread of its own at least stops for others."""
        act = partial(copy_context().run, _read, request, raw, contract)
        async with self._lines.setdefault(system, asyncio.Lock()):
            return await asyncio.get_running_loop().run_in_executor(self._reading, act)


def _accepted(result: HandInResult) -> web.Response:
    said = {
        "reference": result.reference,
        "received_at": datetime.fromtimestamp(result.received_us / 1e6, UTC).isoformat(),
        "accepted": True,
        "warnings": list(result.warnings),
        "message_id": result.message_id,
    }
    headers = {"Location": f"/rest/status?reference={result.reference}"}
    return web.Response(status=201, body=json.dumps(said, ensure_ascii=False).encode(), content_type="application/json", headers=headers)


def _refused(fault: Fault, outcome: Outcome, *, reference: str | None = None, close: bool = False) -> web.Response:
    outcome.code = fault.code
    response = problem.response(fault, reference=reference)
    if close:  # what is still to come of the request is not waited for
        response.force_close()
    return response


def _fault_of(item: NewMessage | NewRefusal, result: HandInResult) -> Fault:
    """A refusal as the store keeps it (`code: sentence (at place)`), in words of REST."""
    code = result.code or ""
    reason, where = (result.reason or "").removeprefix(f"{kind_of(code).code}: "), None
    if placed := _PLACED.match(reason):
        reason, where = placed.groups()
    reason, where = problem.here(reason), _HERE.get((where or "").removeprefix("wsa:"), where)
    if isinstance(item, NewRefusal):
        return Fault(code, reason, where=where, details=item.details, owner=Owner(item.owner))
    return Fault(code, reason, where=where)


# -- the request ---------------------------------------------------------------------------------------------------------------------------


def _read(request: web.Request, raw: bytes, contract: Contract | None) -> _Asked:
    """The request as an envelope, or with what is wrong with it."""
    parties: _Parties | None = None
    try:
        if contract is None or not contract.rest:
            why = "there is no such dienst and version" if contract is None else "this dienst is not there over REST, only over WUS"
            raise Refused("UNKNOWN_DIENST", why, where="path")
        parties = _parties(request)
        if _is_json(request):
            written = read_json(raw, contract)
            kind, content, unfit = written.kind, written.xml, written.unfit
        else:
            (kind, content), unfit = _read_xml(raw, contract), None
        return _Asked(envelope=_envelope(kind, content, parties), message_id=parties.message_id, unfit=unfit)
    except Refused as fault:
        return _Asked(envelope=raw, message_id=parties.message_id if parties else None, fault=fault)


def _is_json(request: web.Request) -> bool:
    """Whether the body is JSON, and not XML. Raises Refused for anything else, and for another charset than UTF-8."""
    values = request.headers.getall("Content-Type", [])
    given = _TYPE.match(values[0]) if len(values) == 1 else None
    kind, parameters = (given.group(1).lower(), given.group(2)) if given else ("", "")
    if kind not in ("application/json", "application/xml", "text/xml"):
        raise Refused("Client.DK0009", "the content type must be application/json, application/xml or text/xml", where="Content-Type")
    charset = _CHARSET.search(parameters)
    if charset and charset.group(1).lower() not in ("utf-8", "utf8"):
        raise Refused("Client.DK0009", "the content type names another charset; only UTF-8 is taken", where="Content-Type")
    return kind == "application/json"


def _parties(request: web.Request) -> _Parties:
    """Raises Refused."""
    sender = _party(request, "edu-from", "Client.EK0020", "Client.EK0021")
    receiver = _party(request, "edu-to", "Client.DK0005", "Client.EK0022")
    return _Parties(sender=sender, receiver=receiver, message_id=_message_id(request, sender))


def _party(request: web.Request, name: str, missing: str, wrong: str) -> Oin:
    values = request.query.getall(name, [])
    if not values:
        raise Refused(missing, f"the query parameter {name} is missing", where=name)
    if len(values) > 1:
        raise Refused("Client.DK0011", f"the query parameter {name} is there more than once", where=name)
    if not is_oin(values[0]):
        raise Refused(
            wrong, f"{name} is no OIN or routeringskenmerk: 20 positions, eight digits and then twelve digits or capitals", where=name
        )
    return Oin(values[0])


def _message_id(request: web.Request, sender: Oin) -> str:
    """The Idempotency-Key as MessageID: a UUID itself, another one turned into a UUID (per system and sender: a successor of the school's
    counts from 1 too); without a key a new one."""
    values = request.headers.getall("Idempotency-Key", [])
    if not values:
        return f"urn:uuid:{uuid.uuid4()}"
    key = values[0].strip()
    key = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key  # a string of RFC 8941, as the header's draft has it
    if len(values) > 1 or not _KEY.match(key):
        raise Refused("Client.DK0011", "Idempotency-Key must be there once, with 1 to 200 printable characters", where="Idempotency-Key")
    if found := _UUID.match(key):
        return f"urn:uuid:{found.group(1).lower()}"
    if redact(key) != key:
        raise Refused("Client.DK0011", "Idempotency-Key holds what may be a personal number; use a UUID", where="Idempotency-Key")
    return f"urn:uuid:{uuid.uuid5(KEYS, f'{OUTCOME.get().system} {sender} {key}')}"


# -- the content ---------------------------------------------------------------------------------------------------------------------------


def _read_xml(raw: bytes, contract: Contract) -> tuple[MessageKind, bytes]:
    """The message's kind and its element. Raises Refused."""
    root = soap.parse(raw, limits=LIMITS)
    kinds = {f"{{{kind.namespace}}}{kind.name}": kind for kind in contract.kinds.values()}
    kind = kinds.get(str(root.tag))
    if kind is None:
        known = f"{contract.namespace} and one of: {', '.join(sorted(one.name for one in kinds.values()))}"
        raise Refused(
            "UNKNOWN_DIENST",
            f"the root element must be of namespace {known}",
            where=f"/{soap.local_name(root)}",
        )
    return kind, etree.tostring(root, encoding="UTF-8")


def _envelope(kind: MessageKind, content: bytes, parties: _Parties) -> bytes:
    return soap.unsigned_envelope(
        content=content,
        to=soap.address(parties.receiver),
        sender=soap.address(parties.sender),
        action=kind.action,
        message_id=parties.message_id,
    )
