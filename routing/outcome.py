"""What came of offering a message to an endpoint: one pure function over what was heard (Edukoppeling facts 6.3).

    was it sent?  ->  did an answer come?  ->  is it the receiver's?  ->  what does it say?

"Nobody heard" is not "nobody listened": what was sent and not answered may have been processed. Only what is idempotent goes again then,
with the same ids; and an answer that cannot be trusted means that it was probably processed: it never goes again by itself (WB013).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.faults import CODES, FaultKind, Owner, kind_of, short
from schemas.oin import Oin


class Wire(StrEnum):
    """How far an attempt came."""

    NOT_ALLOWED = "not-allowed"  #: the register's URL may not be called: not https, or an address the operator does not allow
    UNREACHABLE = "unreachable"  #: no connection, or TLS failed: nothing was sent
    NOT_TRUSTED = "not-trusted"  #: the endpoint's certificate is of no CA that is trusted here, has expired, or has another name
    REFUSES_US = "refuses-us"  #: the endpoint does not take our certificate
    SILENT = "silent"  #: sent, and no whole answer came in time
    CUT = "cut"  #: sent, and the connection ended before a whole answer had come
    UNREADABLE = "unreadable"  #: an answer came that is too large, packed, or no answer at all
    ANSWERED = "answered"  #: a whole answer came


#: The call ended before the receiver's software could read anything of it.
NOT_OFFERED: Final = frozenset({Wire.NOT_ALLOWED, Wire.UNREACHABLE, Wire.NOT_TRUSTED, Wire.REFUSES_US})


class Trust(StrEnum):
    """Whether an answer is the receiver's: signature, certificate, From, RelatesTo, Timestamp, SignatureConfirmation."""

    GOOD = "good"  #: all of it, as far as the dienst's profile has it
    UNSIGNED = "unsigned"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one attempt heard. Texts are the receiver's words, personal numbers masked, or ours about what is wrong with the answer."""

    wire: Wire
    status: int = 0  #: HTTP
    soap: bool = False  #: a SOAP envelope came
    fault: str | None = None  #: faultcode without its prefix: `Client.DK0002`, `Server`
    rejected: bool = False  #: a functional rejection: processed, and not accepted
    trust: Trust = Trust.UNSIGNED
    says: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an answer must answer to."""

    message_id: str
    receiver: Oin  #: organisation or routeringskenmerk
    system: Oin  #: whose endpoint it is: it signs
    signed: bool = True  #: the dienst's profile has signed answers (2W-be-S, WB011)


class Lane(StrEnum):
    """What it says of the endpoint, whatever became of the message (circuit breaker, routing.release)."""

    WORKS = "works"
    FAILS = "fails"
    STOP = "stop"  #: the receiver asked us to come back later


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What it comes to. `postponed` says that it may be tried again; when, and whether there is still time, is for routing.retry."""

    state: str  #: acknowledged, postponed, uncertain or failed
    lane: Lane
    code: str | None = None
    owner: Owner | None = None
    reason: str = ""
    wait_s: float = 0.0  #: at least so long
    alert: bool = False  #: somebody here must look at it now


#: A receiver may ask us to stay away for so long, in seconds.
LONGEST_STOP_S: Final = 86_400.0
#: HTTP statuses of a server that is there and cannot do it now.
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Statuses that speak of us, or of the address, and not of this message.
_OF_US: Final = frozenset({401, 403, 407, 421, 495, 496})
_NO_SUCH_PLACE: Final = frozenset({404, 405, 410, 501})
#: What an alert belongs to: we, or a certificate or mandate, are refused (facts 6.3).
_ALERTING: Final = frozenset({"Client.DK0002", "Client.EK0030", "Client.EK0031"})
#: Codes about the envelope: when that was ours, the mistake is ours too.
_OF_ENVELOPE: Final = frozenset(
    {"VersionMismatch.DK0001", "Client.EK0031"} | {f"Client.DK{n:04}" for n in range(3, 12)} | {f"Client.EK{n:04}" for n in range(20, 24)}
)
#: faultcode: class, code of the table, and perhaps a short text behind it (facts 6.1).
_FAULTCODE: Final = re.compile(r"(\w+)(?:\.([A-Z]{2}\d{4}))?(?:\..*)?\Z", re.DOTALL)
#: "We have that message already", in the words of those who say so: about the message or its ids, and nothing else. A pupil who is
#: enrolled twice, or a program that stumbles over a duplicate of its own, is something else.
_IT: Final = r"\b(?:identificatiecode ?bedrijfsdocument|message ?-?id|bericht(?:kenmerk|id)?|message|request|bedrijfsdocument)\b"
_HAD: Final = (
    r"\b(?:niet uniek|not unique|(?:al|reeds)(?: eerder)? (?:ontvangen|verwerkt|aangeleverd)|already (?:been )?(?:received|processed)"
    r"|(?:is )?(?:een )?duplicaa?te?|dubbel (?:ontvangen|aangeleverd)|komt (?:al|reeds) voor|bestaat (?:al|reeds))\b"
)
_DOUBLE: Final = re.compile(
    rf"{_IT}[^.;]{{0,60}}?{_HAD}|\b(?:duplicate|dubbele?) (?:message ?-?id|message|bericht|request)\b", re.IGNORECASE
)


def judge(heard: Heard, *, ours: bool, idempotent: bool = True, may_have_arrived: bool = False) -> Outcome:
    """The outcome. `ours`: it travelled in our envelope. `idempotent`: the contract's word. `may_have_arrived`: an earlier attempt was not
    answered."""
    if heard.wire is not Wire.ANSWERED:
        return _not_answered(heard, idempotent)
    if heard.fault is not None:
        return _fault(heard, ours, may_have_arrived)
    if heard.soap and heard.status == 200:
        return _answer(heard, may_have_arrived)
    return _bare(heard)


def fault_kind(faultcode: str) -> tuple[str, FaultKind | None]:
    """The SOAP class of a faultcode, and the row of its code where the standard's table has it."""
    found = _FAULTCODE.match(faultcode.rpartition(":")[2].strip())
    if found is None:
        return "", None
    code = found.group(2)
    kind = kind_of(code) if code and any(short(row) == code for row in CODES) else None
    return found.group(1), kind


def _not_answered(heard: Heard, idempotent: bool) -> Outcome:
    match heard.wire:
        case Wire.UNREADABLE:
            return _doubtful(heard)
        case Wire.SILENT | Wire.CUT if not idempotent:
            return Outcome(state="uncertain", lane=Lane.FAILS, code="ANSWER_NOT_HEARD", owner=Owner.RECEIVER, reason=heard.says, alert=True)
        case Wire.SILENT | Wire.CUT:
            return _later("ANSWER_NOT_HEARD", heard)
        case Wire.REFUSES_US:
            return _failed("ENDPOINT_REFUSES_US", heard, lane=Lane.FAILS, alert=True)
        case Wire.NOT_TRUSTED:
            return _later("ENDPOINT_NOT_TRUSTED", heard, alert=True)
        case Wire.NOT_ALLOWED:
            return _later("ENDPOINT_NOT_ALLOWED", heard, alert=True)
        case _:
            return _later("ENDPOINT_UNREACHABLE", heard)


def _fault(heard: Heard, ours: bool, may_have_arrived: bool) -> Outcome:
    """A fault means: not processed. Many servers do not sign theirs; one whose signature is broken is nobody's word."""
    if heard.trust is Trust.BROKEN:
        return _doubtful(heard)
    group, kind = fault_kind(heard.fault or "")
    if (kind is None or kind.code == "Server.DK0050") and _DOUBLE.search(heard.says):
        return _double(heard, may_have_arrived)
    if kind is None:
        return _later("ENDPOINT_UNAVAILABLE", heard) if group == "Server" else _failed("RECEIVER_REFUSED", heard)
    if kind.code == "Server.DK0051":
        return _later("ENDPOINT_UNAVAILABLE", heard)
    owner = Owner.US if ours and kind.code in _OF_ENVELOPE else kind.owner
    lane = Lane.FAILS if kind.code == "Client.EK0030" else Lane.WORKS
    return _failed(kind.code, heard, lane=lane, owner=owner, alert=kind.code in _ALERTING)


def _answer(heard: Heard, may_have_arrived: bool) -> Outcome:
    if heard.trust is not Trust.GOOD:
        return _doubtful(heard)
    if not heard.rejected:
        return Outcome(state="acknowledged", lane=Lane.WORKS)
    return _double(heard, may_have_arrived) if _DOUBLE.search(heard.says) else _failed("RECEIVER_REJECTED", heard)


def _bare(heard: Heard) -> Outcome:
    """HTTP without a SOAP message that says more."""
    status = heard.status
    if 300 <= status < 400:
        return _later("ENDPOINT_REDIRECTS", heard)
    if status in _OF_US:
        return _failed("ENDPOINT_REFUSES_US", heard, lane=Lane.FAILS, alert=True)
    if status in _NO_SUCH_PLACE:
        return _later("ENDPOINT_NOT_THERE", heard)
    if status in _LATER:
        return _later("ENDPOINT_UNAVAILABLE", heard)
    if status >= 400:
        return _later("ENDPOINT_UNAVAILABLE", heard) if status >= 500 else _failed("RECEIVER_REFUSED", heard)
    return _doubtful(heard)


def _later(code: str, heard: Heard, *, alert: bool = False) -> Outcome:
    stop = heard.retry_after_s is not None and heard.retry_after_s > 0
    wait_s = min(heard.retry_after_s or 0.0, LONGEST_STOP_S)
    lane = Lane.STOP if stop else Lane.FAILS
    return Outcome(state="postponed", lane=lane, code=code, owner=kind_of(code).owner, reason=heard.says, wait_s=wait_s, alert=alert)


def _failed(code: str, heard: Heard, *, lane: Lane = Lane.WORKS, owner: Owner | None = None, alert: bool = False) -> Outcome:
    return Outcome(state="failed", lane=lane, code=code, owner=owner or kind_of(code).owner, reason=heard.says, alert=alert)


def _doubtful(heard: Heard) -> Outcome:
    """Probably processed; what the answer says is not used, and the message does not go again (WB013). An endpoint that only answers so
    is held: each message would need somebody to ask."""
    owner = kind_of("RESPONSE_NOT_TRUSTED").owner
    return Outcome(state="uncertain", lane=Lane.FAILS, code="RESPONSE_NOT_TRUSTED", owner=owner, reason=heard.says, alert=True)


def _double(heard: Heard, may_have_arrived: bool) -> Outcome:
    """The receiver says that it has it: by an attempt of ours of which we did not hear, or because somebody brought it before. It ends
    well on the receiver's own word only: anything may stand before a service and say so without a signature."""
    if may_have_arrived and heard.trust is not Trust.GOOD:
        return _doubtful(heard)
    if may_have_arrived:
        return Outcome(state="acknowledged", lane=Lane.WORKS, code="PROBABLY_DELIVERED", reason=heard.says)
    return _failed("RECEIVER_DUPLICATE", heard)
