"""What the gateway answers at `/wus`: hand in by SOAP, and the descriptions of each dienst version. Facts 1.4, 2.6 and 6.

    who (https.Door) -> content type, SOAPAction, size, time -> the message itself (`Counter`, routing.ports) -> answer

Whether message and answer are signed is for the dienst's profile to say. What comes for no dienst at all gets a signed answer.

A message that is refused is answered with a SOAP fault and HTTP 500, as SOAP 1.1 has it, whatever was wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from adapters import wsdl
from adapters.answers import Answers, Request, fault_of
from adapters.https import LIMITS, OUTCOME, Door, Outcome, fault_in, read_body
from adapters.problem import COME_AGAIN_S
from routing.ports import Counter
from routing.work import NewRefusal
from schemas.contract import Contract
from schemas.contracts import Contracts
from schemas.envelope import Envelope
from schemas.faults import Fault, OurFailure, Refused
from schemas.oin import Oin

_TYPE = re.compile(r"\s*([^;\s]+)\s*((?:;[^;]*)*)\Z")
_CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^";\s]+)"?""", re.IGNORECASE)


#: Bytes of a refused message that are read again for its answer. Larger ones were read elsewhere (`seen` of `Counter.hand_in`), or not
#: at all.
MOST_GLANCED: Final = 64 << 10


class WusPages:
    """`POST /wus/{dienst}/{versie}`, and `GET` of its WSDL."""

    def __init__(self, counter: Counter, door: Door, contracts: Contracts, answers: Answers, *, url: str) -> None:
        """`url`: our address as senders know it, without a path; it stands in the WSDLs."""
        self._counter, self._door, self._contracts, self._url = counter, door, contracts, url
        self._answers, self._unsigned = answers, answers.unsigned()

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.post("/wus/{dienst}/{versie}", self._wus), web.get("/wus/{dienst}/{versie}", self._description))

    async def _wus(self, request: web.Request) -> web.Response:
        """One message in, a receipt or fault out."""
        outcome = OUTCOME.get()
        contract = self._contracts.find(request.match_info["dienst"], request.match_info["versie"])
        answers = self._unsigned if contract is not None and not contract.signed else self._answers
        try:
            with self._door.admitted(request) as system:
                return await self._hand_in(request, contract, answers, system, outcome)
        except Exception as error:  # noqa: BLE001 (`fault_in` logs what nobody expected)
            # its From was not read: the answer is for whoever is connected
            asked = Request(sender=outcome.system, unread=True)
            return _refused(answers, asked, fault_in(error), outcome, close=not request.content.is_eof())

    async def _hand_in(
        self, request: web.Request, contract: Contract | None, answers: Answers, system: Oin, outcome: Outcome
    ) -> web.Response:
        action = soap_action(request)
        fault = wrong_properties(request)
        if contract is None:
            fault = Refused("UNKNOWN_DIENST", "there is no such dienst and version", where="path")
        raw = await read_body(request)
        verified: list[Envelope] = []
        glanced: list[Request] = []

        def question(envelope: Envelope) -> None:
            verified.append(envelope)
            if action is None or action not in ("", envelope.action):
                what = "is missing" if action is None else "is not equal to wsa:Action"
                raise Refused("Client.DK0003", f"the HTTP header SOAPAction {what}", where="SOAPAction")
            if contract is not None and envelope.action not in contract.kinds:
                raise Refused("UNKNOWN_DIENST", f"{contract.dienst} {contract.versie} has no message with this Action", where="wsa:Action")

        def asked() -> Request:
            if verified:
                return Request.of(verified[0])
            if not glanced:
                glanced.append(Request.glance(raw, LIMITS) if len(raw) <= MOST_GLANCED else Request(sender=system, unread=True))
            return glanced[0]

        try:
            item, result = await self._counter.hand_in(
                raw,
                system=system,
                via="https",
                message_id=lambda: asked().message_id,
                fault=fault,
                question=question,
                unsigned=contract is not None and not contract.signed,
                seen=glanced.append,
            )
        except OurFailure as failure:
            return _refused(answers, asked(), failure, outcome)
        outcome.reference, outcome.code = result.reference, result.code
        if result.accepted:
            received_at = datetime.fromtimestamp(result.received_us / 1e6, UTC)
            return _xml(200, answers.receipt(asked(), reference=result.reference, received_at=received_at, warnings=result.warnings))
        details = item.details if isinstance(item, NewRefusal) else ()
        return _refused(answers, asked(), fault_of(result.code or "", result.reason or "", details), outcome, reference=result.reference)

    async def _description(self, request: web.Request) -> web.Response:
        """`GET …?wsdl`, and the XSDs it names. No certificate is needed: it says nothing that the documentation does not."""
        contract = self._contracts.find(request.match_info["dienst"], request.match_info["versie"])
        if contract is None:
            return web.Response(status=404, text="There is no such dienst and version.\n")
        asked = {name.lower(): value for name, value in request.query.items()}
        if "wsdl" in asked:
            return _xml(200, wsdl.description(contract, url=self._place(contract)))
        document = wsdl.documents(contract).get(asked.get("xsd", ""))
        if document is None:
            return web.Response(status=404, text="Ask for ?wsdl, or hand in a message with POST.\n")
        return _xml(200, document)

    def _place(self, contract: Contract) -> str:
        return f"{self._url}/wus/{contract.dienst}/{contract.versie}"


def _refused(
    answers: Answers, asked: Request, fault: Fault, outcome: Outcome, *, reference: str | None = None, close: bool = False
) -> web.Response:
    outcome.code = fault.code
    response = _xml(500, answers.fault(asked, fault, reference=reference))
    if fault.kind.retry:
        response.headers["Retry-After"] = str(COME_AGAIN_S)
    if close:  # what is still to come of the request is not waited for
        response.force_close()
    return response


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "text/xml; charset=utf-8"})


def soap_action(request: web.Request) -> str | None:
    """The header's value without its quotes; None when it is not there exactly once."""
    values = request.headers.getall("SOAPAction", [])
    return values[0].strip().strip('"') if len(values) == 1 else None


def wrong_properties(request: web.Request) -> Fault | None:
    """What is wrong with the content type (facts 1.4; SOAP 1.1, 6)."""
    given = _TYPE.match(request.headers.get("Content-Type", ""))
    kind, parameters = (given.group(1).lower(), given.group(2)) if given else ("", "")
    if kind == "application/soap+xml":
        return Refused("VersionMismatch.DK0001", "the content type is that of SOAP 1.2; only SOAP 1.1 is taken", where="Content-Type")
    if kind != "text/xml":
        return Refused("Client.DK0009", "the content type must be text/xml; charset=utf-8", where="Content-Type")
    charset = _CHARSET.search(parameters)
    if charset and charset.group(1).lower() not in ("utf-8", "utf8"):
        return Refused("Client.DK0009", "the content type names another charset; only UTF-8 is taken", where="Content-Type")
    return None
