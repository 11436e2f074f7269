"""Decisions: what was asked, what was answered, by which rule and register version, in words an administrator understands (rule 4).

A decision holds the row of its rule and the facts that went in; the sentences are made when somebody reads them. So it
costs about a microsecond where messages pass, and the same facts always give the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from routing.amsterdam import dutch_days
from schemas.faults import Owner
from schemas.privacy import PERSONAL_NUMBER, redact

Question = Literal["signature", "sender", "recipients", "endpoint"]
Answer = Literal["yes", "no", "wait", "filtered"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is always true of a rule. `{names}` in its sentences are inputs of the decision."""

    name: str
    question: Question
    outcome: Answer
    code: str | None  #: of schemas.faults, when the answer is not yes
    owner: Owner | None  #: of the next action; None: the judge always names one
    nl: str
    en: str


_O: Final = Owner
_NOT_ALLOWED: Final = "Client.DK0002"

_ROWS: Final = (
    # Is it signed? Answered by the verifier; recorded here in the same shape.
    Rule("signature-good", "signature", "yes", None, None, "De ondertekening van systeem {system} klopt.", "The signature of system {system} is good."),
    Rule("connection-good", "signature", "yes", None, None, "Het bericht is niet ondertekend; de verbinding is die van systeem {system} (tweezijdig TLS), en de dienst staat dat toe.", "The message is not signed; the connection is that of system {system} (mutual TLS), and the dienst allows that."),
    Rule("made-here", "signature", "yes", None, None, "Het Koppelpunt maakte dit bericht zelf, en ondertekent het bij het verzenden.", "The backbone made this message itself, and signs it when it is sent."),
    # May this system send this for this organisation? (Edukoppeling facts 5.4, steps 2, 4 and 5)
    Rule("mandate", "sender", "yes", None, None, "{sender_name} heeft {system_name} gemachtigd voor {dienst}.", "{sender_name} has mandated {system_name} for {dienst}."),
    Rule("own-certificate", "sender", "yes", None, None, "{sender_name} sluit aan met een eigen certificaat; een mandaat is niet nodig.", "{sender_name} connects with its own certificate and needs no mandate."),
    Rule("own-proef", "sender", "yes", None, None, "Het Koppelpunt stuurt zelf een proefbericht om een adres te beproeven; van dienst {dienst}, en van geen andere, mag dat zonder mandaat.", "The backbone itself sends a test message to try an address; of dienst {dienst}, and of no other, it may without a mandate."),
    Rule("system-unknown", "sender", "no", _NOT_ALLOWED, _O.SUPPLIER, "Het systeem met certificaat-OIN {system} staat niet in het serviceregister; de leverancier moet het aanmelden.", "The system with certificate OIN {system} is not in the service register; its supplier must register it."),
    Rule("system-ended", "sender", "no", _NOT_ALLOWED, _O.SUPPLIER, "{system_name} mocht tot en met {until} aanleveren.", "{system_name} could hand in up to and including {until}."),
    Rule("system-not-yet", "sender", "no", _NOT_ALLOWED, _O.SUPPLIER, "{system_name} mag pas vanaf {from} aanleveren.", "{system_name} may hand in from {from} only."),
    Rule("dienst-unknown", "sender", "no", "UNKNOWN_DIENST", _O.US, "Dienst {dienst} versie {versie} staat niet in het serviceregister; de beheerder moet die toevoegen.", "Dienst {dienst} version {versie} is not in the service register; the operator must add it."),
    Rule("dienst-ended", "sender", "no", "UNKNOWN_DIENST", _O.SUPPLIER, "Dienst {dienst} versie {versie} kon tot en met {until} worden gebruikt; gebruik een nieuwere versie.", "Dienst {dienst} version {versie} could be used up to and including {until}; use a newer version."),
    Rule("dienst-not-yet", "sender", "no", "UNKNOWN_DIENST", _O.SUPPLIER, "Dienst {dienst} versie {versie} kan pas vanaf {from} worden gebruikt.", "Dienst {dienst} version {versie} can be used from {from} only."),
    Rule("sender-unknown", "sender", "no", _NOT_ALLOWED, _O.SUPPLIER, "De afzender {sender} staat niet in het serviceregister; controleer het OIN in wsa:From.", "The sender {sender} is not in the service register; check the OIN in wsa:From."),
    Rule("sender-ended", "sender", "no", _NOT_ALLOWED, None, "{sender_name} is in het serviceregister beëindigd; de laatste dag was {until}.", "{sender_name} has ended in the service register; its last day was {until}."),
    Rule("sender-not-yet", "sender", "no", _NOT_ALLOWED, None, "{sender_name} doet pas vanaf {from} mee.", "{sender_name} takes part from {from} only."),
    Rule("role-not-allowed", "sender", "no", _NOT_ALLOWED, _O.SUPPLIER, "{sender_name} mag geen {bericht} sturen; dat mag alleen een organisatie met de rol {roles}.", "{sender_name} may not send {bericht}; only an organisation with the role {roles} may."),
    Rule("mandate-missing", "sender", "no", _NOT_ALLOWED, None, "{sender_name} heeft {system_name} niet gemachtigd voor {dienst}; leg het mandaat vast in het serviceregister.", "{sender_name} has not mandated {system_name} for {dienst}; record the mandate in the service register."),
    Rule("mandate-ended", "sender", "no", _NOT_ALLOWED, None, "Het mandaat van {sender_name} voor {system_name} en {dienst} liep tot en met {until}; verleng het, of laat het nieuwe systeem aanleveren.", "The mandate of {sender_name} for {system_name} and {dienst} ran up to and including {until}; extend it, or let the new system hand in."),
    Rule("mandate-not-yet", "sender", "no", _NOT_ALLOWED, None, "Het mandaat van {sender_name} voor {system_name} en {dienst} gaat pas in op {from}.", "The mandate of {sender_name} for {system_name} and {dienst} starts on {from} only."),
    Rule("mandate-revoked", "sender", "no", _NOT_ALLOWED, None, "{sender_name} heeft het mandaat voor {system_name} en {dienst} per direct ingetrokken.", "{sender_name} revoked the mandate for {system_name} and {dienst} at once."),
    Rule("sender-register-away", "sender", "wait", "ROUTE_REGISTER_AWAY", _O.US, "Het serviceregister op {register} geeft sinds {since} geen antwoord ({trouble}); of {sender_name} {system_name} heeft gemachtigd is nu niet na te gaan.", "The service register at {register} does not answer since {since} ({trouble}); whether {sender_name} has mandated {system_name} cannot be found out now."),
    Rule("mandate-still-good", "sender", "yes", None, None, "Het mandaat bij de aanlevering is niet ingetrokken; het bericht mag verder.", "The mandate at hand-in was not revoked; the message may go on."),
    Rule("mandate-revoked-since", "sender", "no", "ROUTE_MANDATE_REVOKED", None, "{sender_name} heeft het mandaat voor {system_name} en {dienst} na de aanlevering per direct ingetrokken; het bericht gaat niet verder.", "{sender_name} revoked the mandate for {system_name} and {dienst} at once, after the hand-in; the message goes no further."),
    # Is a system ready for a school? (`routing.readiness`; no message is there yet)
    Rule("connection", "sender", "yes", None, None, "{system_name} is aangesloten.", "{system_name} is connected."),
    Rule("certificate-ended", "sender", "no", "Client.EK0030", _O.SUPPLIER, "Het certificaat van deze verbinding is geldig tot en met {until}; vervang het voor die tijd.", "The certificate of this connection is valid up to and including {until}; replace it before then."),
    Rule("dienst-current", "sender", "yes", None, None, "Dienst {dienst} versie {versie} kan worden gebruikt.", "Dienst {dienst} version {versie} can be used."),
    Rule("endpoint-there", "endpoint", "yes", None, None, "{system_name} heeft een endpoint van {name} voor {dienst} versie {versie}: {how}.", "{system_name} has an endpoint of {name} for {dienst} version {versie}: {how}."),
    # Who gets it?
    Rule("addressed", "recipients", "yes", None, None, "Het bericht noemt {name} als ontvanger.", "The message names {name} as its receiver."),
    Rule("role", "recipients", "yes", None, None, "Dit bericht gaat altijd naar {name} ({role}).", "This message always goes to {name} ({role})."),
    Rule("brin", "recipients", "yes", None, None, "Het bericht noemt {name} (BRIN {brin}).", "The message names {name} (BRIN {brin})."),
    Rule("gemeente", "recipients", "yes", None, None, "Gemeentecode {gemeentecode} hoort bij {name}.", "Gemeentecode {gemeentecode} belongs to {name}."),
    Rule("condition", "recipients", "filtered", None, None, "Niet voor deze ontvanger bestemd.", "Not meant for this receiver."),
    Rule("school-ended", "recipients", "filtered", None, None, "{name} (BRIN {brin}) is geen huidige school meer; de laatste dag was {until}.", "{name} (BRIN {brin}) is no current school any more; its last day was {until}."),
    Rule("school-not-yet", "recipients", "filtered", None, None, "{name} (BRIN {brin}) is pas vanaf {from} een school.", "{name} (BRIN {brin}) is a school from {from} only."),
    Rule("school-not-relevant", "recipients", "filtered", None, None, "{name} (BRIN {brin}) heeft niet de rol {role}.", "{name} (BRIN {brin}) does not have the role {role}."),
    Rule("receiver-unknown", "recipients", "no", "ROUTE_UNKNOWN_PARTY", _O.SUPPLIER, "De ontvanger {receiver} staat niet in het serviceregister; controleer het OIN of routeringskenmerk in wsa:To.", "The receiver {receiver} is not in the service register; check the OIN or routeringskenmerk in wsa:To."),
    Rule("brin-unknown", "recipients", "no", "ROUTE_UNKNOWN_PARTY", _O.SCHOOL, "BRIN {brin} staat niet in het serviceregister; controleer de school in de administratie.", "BRIN {brin} is not in the service register; check the school in the administration."),
    Rule("brin-absent", "recipients", "no", "ROUTE_UNKNOWN_PARTY", _O.SCHOOL, "Het bericht noemt geen school ({fact}).", "The message names no school ({fact})."),
    Rule("role-unknown", "recipients", "no", "ROUTE_UNKNOWN_PARTY", _O.US, "Geen organisatie heeft nu de rol {role}; de beheerder moet die in het serviceregister zetten.", "No organisation has the role {role} now; the operator must put it in the service register."),
    Rule("role-ambiguous", "recipients", "no", "ROUTE_AMBIGUOUS", _O.US, "Meer dan één organisatie heeft nu de rol {role}; de beheerder moet er één kiezen.", "More than one organisation has the role {role} now; the operator must choose one."),
    Rule("gemeente-absent", "recipients", "no", "GEMEENTECODE_UNKNOWN", _O.SCHOOL, "Het bericht noemt geen gemeentecode ({fact}).", "The message names no gemeentecode ({fact})."),
    Rule("gemeente-unknown", "recipients", "no", "GEMEENTECODE_UNKNOWN", _O.SCHOOL, "Gemeentecode {gemeentecode} bestaat niet; controleer het adres van de leerling.", "Gemeentecode {gemeentecode} does not exist; check the pupil's address."),
    Rule("gemeente-ended", "recipients", "no", "ROUTE_GEMEENTE_ENDED", _O.SCHOOL, "Gemeentecode {gemeentecode} ({name}) bestond tot en met {until}; neem de nieuwe gemeente over en lever opnieuw aan.", "Gemeentecode {gemeentecode} ({name}) existed up to and including {until}; take over the new municipality and hand in again."),
    Rule("gemeente-not-yet", "recipients", "wait", "ROUTE_GEMEENTE_NOT_CONNECTED", _O.MUNICIPALITY, "Gemeentecode {gemeentecode} ({name}) geldt pas vanaf {from}; het bericht wacht tot die dag.", "Gemeentecode {gemeentecode} ({name}) is valid from {from} only; the message waits for that day."),
    Rule("fact-unreadable", "recipients", "no", "CONTENT_RULE", _O.US, "De waarde van {fact} is geen geheel getal; het contract van de dienst klopt niet.", "The value of {fact} is not a whole number; the contract of the dienst is wrong."),
    # Where is it delivered, and may that system have it? (domain facts section 1, recipe)
    Rule("endpoint", "endpoint", "yes", None, None, "{name} ontvangt {dienst} via {system_name}.", "{name} receives {dienst} through {system_name}."),
    Rule("peer-to-peer", "endpoint", "yes", None, None, "{name} ontvangt {dienst} rechtstreeks: {system_name} op {url}.", "{name} receives {dienst} directly: {system_name} at {url}."),
    Rule("peer-to-peer-mailbox", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "{name} ontvangt {dienst} in een postbus van {system_name}; deze dienst loopt rechtstreeks, dus de leverancier moet een adres vastleggen.", "{name} receives {dienst} in a mailbox of {system_name}; this dienst runs directly, so its supplier must record an address."),
    Rule("not-carried", "recipients", "no", "PEER_TO_PEER", _O.SUPPLIER, "{dienst} versie {versie} loopt rechtstreeks tussen systemen en wordt hier niet aangenomen; vraag met /rest/where waar het heen moet.", "{dienst} version {versie} runs directly between systems and is not taken in here; ask with /rest/where where it must go."),
    Rule("endpoint-delegated", "endpoint", "yes", None, None, "{municipality_name} heeft {dienst} gedelegeerd aan {name}, die het ontvangt via {system_name}.", "{municipality_name} has delegated {dienst} to {name}, which receives it through {system_name}."),
    Rule("delegation-region-gone", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.MUNICIPALITY, "{municipality_name} heeft {dienst} gedelegeerd aan regio {region}, die nu niet meedoet; het bericht wacht.", "{municipality_name} has delegated {dienst} to region {region}, which does not take part now; the message waits."),
    Rule("endpoint-not-theirs", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.MUNICIPALITY, "Berichten voor {receiver} gaan nu niet naar endpoint {endpoint}: een delegatie van {dienst} is begonnen of voorbij.", "Messages for {receiver} do not go to endpoint {endpoint} now: a delegation of {dienst} has begun or is over."),
    Rule("party-unknown", "endpoint", "no", "ROUTE_UNKNOWN_PARTY", _O.SUPPLIER, "De ontvanger {receiver} staat niet in het serviceregister; controleer het OIN of routeringskenmerk in wsa:To.", "The receiver {receiver} is not in the service register; check the OIN or routeringskenmerk in wsa:To."),
    Rule("party-ended", "endpoint", "no", "ROUTE_UNKNOWN_PARTY", _O.SUPPLIER, "{name} is in het serviceregister beëindigd; de laatste dag was {until}.", "{name} has ended in the service register; its last day was {until}."),
    Rule("party-not-yet", "endpoint", "wait", "ROUTE_NO_ENDPOINT", None, "{name} doet pas vanaf {from} mee; het bericht wacht.", "{name} takes part from {from} only; the message waits."),
    Rule("no-endpoint", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "Er is geen endpoint van {name} voor {dienst} versie {versie}; de leverancier moet het vastleggen, het bericht wacht.", "There is no endpoint of {name} for {dienst} version {versie}; its supplier must record one, the message waits."),
    Rule("no-system", "endpoint", "wait", "ROUTE_NO_ENDPOINT", None, "{name} heeft nog geen systeem gemachtigd dat {dienst} versie {versie} ontvangt; het bericht wacht.", "{name} has mandated no system yet that receives {dienst} version {versie}; the message waits."),
    Rule("endpoint-ended", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "Het endpoint van {name} voor {dienst} versie {versie} gold tot en met {until}; het bericht wacht op een opvolger.", "The endpoint of {name} for {dienst} version {versie} was valid up to and including {until}; the message waits for a successor."),
    Rule("endpoint-not-yet", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "Het endpoint van {name} voor {dienst} versie {versie} gaat in op {from}; het bericht wacht.", "The endpoint of {name} for {dienst} version {versie} starts on {from}; the message waits."),
    Rule("endpoint-gone", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "Endpoint {endpoint} staat niet meer in het serviceregister; het bericht wacht op een opvolger.", "Endpoint {endpoint} is not in the service register any more; the message waits for a successor."),
    Rule("endpoint-moved", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "Endpoint {endpoint} is niet meer de mailbox van systeem {system}.", "Endpoint {endpoint} is not the mailbox of system {system} any more."),
    Rule("endpoint-system-not-current", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.SUPPLIER, "{system_name}, het systeem achter het endpoint van {name}, is nu niet aangesloten; het bericht wacht.", "{system_name}, the system behind the endpoint of {name}, is not connected now; the message waits."),
    Rule("endpoint-register-away", "endpoint", "wait", "ROUTE_REGISTER_AWAY", _O.US, "Het serviceregister op {register} geeft sinds {since} geen antwoord ({trouble}); het bericht wacht.", "The service register at {register} does not answer since {since} ({trouble}); the message waits."),
    Rule("endpoint-system-unknown", "endpoint", "wait", "ROUTE_NO_ENDPOINT", _O.US, "Het endpoint van {name} voor {dienst} is van systeem {system}, dat hier niet in het serviceregister staat; de beheerder moet het toevoegen, het bericht wacht.", "The endpoint of {name} for {dienst} is of system {system}, which is not in the service register here; the operator must add it, the message waits."),
    Rule("ambiguous", "endpoint", "wait", "ROUTE_AMBIGUOUS", None, "{name} heeft meer dan één endpoint voor {dienst} en het bericht noemt geen routeringskenmerk; het bericht wacht.", "{name} has several endpoints for {dienst} and the message names no routeringskenmerk; the message waits."),
    Rule("endpoint-mandate-missing", "endpoint", "wait", "ROUTE_NO_MANDATE", None, "{name} heeft {system_name} niet gemachtigd voor {dienst}; het bericht wacht.", "{name} has not mandated {system_name} for {dienst}; the message waits."),
    Rule("endpoint-mandate-ended", "endpoint", "wait", "ROUTE_NO_MANDATE", None, "Het mandaat van {name} voor {system_name} en {dienst} liep tot en met {until}; het bericht wacht.", "The mandate of {name} for {system_name} and {dienst} ran up to and including {until}; the message waits."),
    Rule("endpoint-mandate-not-yet", "endpoint", "wait", "ROUTE_NO_MANDATE", None, "Het mandaat van {name} voor {system_name} en {dienst} gaat in op {from}; het bericht wacht.", "The mandate of {name} for {system_name} and {dienst} starts on {from}; the message waits."),
    Rule("endpoint-mandate-revoked", "endpoint", "wait", "ROUTE_NO_MANDATE", None, "{name} heeft het mandaat voor {system_name} en {dienst} per direct ingetrokken; het bericht wacht.", "{name} revoked the mandate for {system_name} and {dienst} at once; the message waits."),
)  # fmt: skip
# ruff: noqa: E501 - one rule, one line: the table is read downwards

#: rule name -> what is always true of it
RULES: Final[Mapping[str, Rule]] = MappingProxyType({row.name: row for row in _ROWS})

_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer. Made by `decide`; `to_dict` is its record."""

    row: Rule
    code: str | None  #: the rule's, unless the case has a code of its own (a municipality that is not connected)
    owner: Owner | None  #: of the next action; None when nobody needs to act
    register_version: int  #: the register that was read
    inputs: Mapping[str, str]  #: what was looked at, by name; days as YYYY-MM-DD; never anything about a pupil
    candidates: tuple[str, ...] = ()  #: endpoints, mandates or organisations that were considered
    reason: tuple[str, str] | None = None  #: Dutch and English sentence of the contract, where its condition decided
    _json: str = field(default="", init=False, repr=False, compare=False)

    @property
    def question(self) -> Question:
        """Which of the separate questions of rule 4 this answers."""
        return self.row.question

    @property
    def outcome(self) -> Answer:
        """The answer. `wait` may become `yes` when the register or the day changes; `no` and `filtered` are final for this message."""
        return self.row.outcome

    @property
    def rule(self) -> str:
        """Name of the rule that decided, a key of `RULES`."""
        return self.row.name

    @property
    def text_nl(self) -> str:
        """One sentence for an administrator, in Dutch; days as 31-07-2026."""
        words = self.reason[0] if self.reason else self.row.nl.format_map(self.inputs)
        return redact(dutch_days(words))

    @property
    def text_en(self) -> str:
        """The same sentence in English; days as 2026-07-31."""
        return redact(self.reason[1] if self.reason else self.row.en.format_map(self.inputs))

    @property
    def fleeting(self) -> bool:
        """Whether it holds for moments only, because another register was asked: `register` says which, `asked` when."""
        return "register" in self.inputs

    def to_dict(self) -> dict[str, object]:
        """The record: fields that are set, ready for JSON. Personal numbers are masked, should one ever get in."""
        record: dict[str, object] = {"question": self.row.question, "outcome": self.row.outcome, "rule": self.row.name}
        if self.code:
            record["code"] = self.code
        if self.owner:
            record["owner"] = self.owner.value
        record["register_version"] = self.register_version
        record["inputs"] = {name: redact(value) for name, value in self.inputs.items()} if self._personal() else self.inputs
        if self.candidates:
            record["candidates"] = self.candidates
        record["nl"], record["en"] = self.text_nl, self.text_en
        return record

    def to_json(self) -> str:
        """The record as compact JSON; made once, because a cached decision is recorded for thousands of messages."""
        if not self._json:
            object.__setattr__(self, "_json", _ENCODE(self.to_dict()))
        return self._json

    def _personal(self) -> bool:
        """Whether an input holds what may be a personal number: one look at all of them, because the answer is no."""
        return PERSONAL_NUMBER.search("\n".join(self.inputs.values())) is not None


def decide(
    rule: str,
    register_version: int,
    inputs: Mapping[str, str],
    candidates: tuple[str, ...] = (),
    *,
    code: str | None = None,
    owner: Owner | None = None,
    reason: tuple[str, str] | None = None,
) -> Decision:
    """The answer a rule gives in this case; `code`, `owner` and `reason` replace the rule's own. Raises KeyError for an unknown rule."""
    row = RULES[rule]
    return Decision(row, code or row.code, owner or row.owner, register_version, inputs, candidates, reason)
