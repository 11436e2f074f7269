"""
Fault                    every reason for which a message can stop
+- Refused               the message is wrong: tell the sender, never retry the same bytes
|  +- NotAllowed         signature and content may be fine, but the sender may not do this
+- Unroutable            the register has no answer (yet): somebody must mend it; the message waits
+- Undelivered           the other side is silent or refuses
+- OurFailure            we cannot judge or store it now: the sender may simply try again

Each fault has one row in `CODES`: its class, the owner of the next action, whether retrying makes sense, and two
sentences in Dutch and English. `DK`/`EK` codes: Edukoppeling 1.2 "Technische foutmeldingen" (facts 6.2); the others are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from schemas.privacy import redact


class Cause(StrEnum):
    """Error classes of the audit store; every code maps to exactly one (domain facts 10.3)."""

    TRANSPORT = "TRANSPORT"
    CERT = "CERT"
    AUTH = "AUTH"
    ROUTE = "ROUTE"
    SCHEMA = "SCHEMA"
    CONTENT = "CONTENT"
    DUPLICATE = "DUPLICATE"
    RECEIVER = "RECEIVER"
    EXPIRED = "EXPIRED"
    INTERNAL = "INTERNAL"


class Owner(StrEnum):
    """Whose turn it is."""

    SCHOOL = "school"
    SUPPLIER = "supplier"
    RECEIVER = "receiver"
    MUNICIPALITY = "municipality"
    US = "us"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What is always true of a code."""

    code: str  #: as on the wire: `Client.EK0031`, or one of ours such as `ROUTE_NO_ENDPOINT`
    cause: Cause
    owner: Owner  #: of the next action
    retry: bool  #: whether the same message may succeed later without being changed
    nl: str  #: what is wrong
    en: str
    remedy_nl: str  #: what to do about it
    remedy_en: str


_C, _O = Cause, Owner
_RESEND_NL, _RESEND_EN = (
    "Herstel dit in het verzendende systeem en lever opnieuw aan.",
    "Mend this in the sending system and hand in again.",
)

_ROWS: Final = (
    # Digikoppeling and Edukoppeling (facts 6.2)
    FaultKind("VersionMismatch.DK0001", _C.SCHEMA, _O.SUPPLIER, False, "Ongeldige SOAP-envelop: alleen SOAP 1.1", "Invalid SOAP envelope: SOAP 1.1 only", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0002", _C.AUTH, _O.SCHOOL, False, "Niet geautoriseerd voor deze aanroep", "Not authorised for this call", "Laat de school in het serviceregister een mandaat voor dit systeem en deze dienst vastleggen, en lever opnieuw aan.", "Have the school record a mandate for this system and dienst in the service register, then hand in again."),
    FaultKind("Client.DK0003", _C.SCHEMA, _O.SUPPLIER, False, "Ongeldige SOAPAction", "Invalid SOAPAction", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0004", _C.SCHEMA, _O.SUPPLIER, False, "Bericht niet conform XSD", "Message does not conform to its XSD", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0005", _C.SCHEMA, _O.SUPPLIER, False, "wsa:To ontbreekt", "wsa:To is missing", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0006", _C.SCHEMA, _O.SUPPLIER, False, "wsa:Action ontbreekt", "wsa:Action is missing", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0007", _C.SCHEMA, _O.SUPPLIER, False, "wsa:MessageID ontbreekt", "wsa:MessageID is missing", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0008", _C.SCHEMA, _O.SUPPLIER, False, "wsa:RelatesTo ontbreekt", "wsa:RelatesTo is missing", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0009", _C.SCHEMA, _O.SUPPLIER, False, "Bericht is geen UTF-8", "Message is not UTF-8", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0010", _C.SCHEMA, _O.SUPPLIER, False, "Onverwachte header", "Unexpected header", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.DK0011", _C.SCHEMA, _O.SUPPLIER, False, "Onjuiste waarde in een WS-Addressing-header", "Wrong value in a WS-Addressing header", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.EK0020", _C.SCHEMA, _O.SUPPLIER, False, "wsa:From ontbreekt", "wsa:From is missing", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.EK0021", _C.SCHEMA, _O.SUPPLIER, False, "wsa:From bevat geen geldig OIN", "wsa:From holds no valid OIN", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.EK0022", _C.SCHEMA, _O.SUPPLIER, False, "wsa:To bevat geen geldig OIN", "wsa:To holds no valid OIN", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.EK0023", _C.SCHEMA, _O.SUPPLIER, False, "wsa:MessageID is geen UUID", "wsa:MessageID is not a UUID", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.EK0030", _C.CERT, _O.SUPPLIER, False, "OIN ontbreekt in het certificaat of is ongeldig", "OIN missing from the certificate, or invalid", "Gebruik een certificaat met precies één OIN in subject.serialNumber.", "Use a certificate with exactly one OIN in subject.serialNumber."),
    FaultKind("Client.EK0031", _C.CERT, _O.SUPPLIER, False, "Ondertekening ontbreekt of is onjuist", "Signature missing or wrong", "Controleer certificaat, klok en ondertekening van het verzendende systeem en lever opnieuw aan.", "Check the sending system's certificate, clock and signing, then hand in again."),
    FaultKind("Server.DK0050", _C.RECEIVER, _O.RECEIVER, False, "Verwerking van het verzoek mislukt", "Handling of the request failed", "Neem contact op met de ontvanger; vermeld de referentie.", "Contact the receiver and quote the reference."),
    FaultKind("Server.DK0051", _C.INTERNAL, _O.US, True, "Service niet beschikbaar", "Service not available", "Bied het bericht later opnieuw aan; het hoeft niet te worden gewijzigd.", "Offer the message again later; it need not be changed."),
    # the envelope, beyond the standard's table
    FaultKind("Client.NOT_XML", _C.SCHEMA, _O.SUPPLIER, False, "Geen leesbaar XML", "Not readable as XML", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.NOT_JSON", _C.SCHEMA, _O.SUPPLIER, False, "Geen leesbare JSON", "Not readable as JSON", _RESEND_NL, _RESEND_EN),
    FaultKind("Client.TOO_LARGE", _C.SCHEMA, _O.SUPPLIER, False, "Bericht is te groot", "Message is too large", "Splits het bericht, of gebruik de koppeling over HTTPS.", "Split the message, or use the interface over HTTPS."),
    FaultKind("UNKNOWN_DIENST", _C.SCHEMA, _O.SUPPLIER, False, "Onbekende dienst, versie of berichtsoort", "Unknown dienst, version or message kind", "Controleer wsa:Action; de ondersteunde diensten staan in de documentatie.", "Check wsa:Action; the documentation lists the diensten that are supported."),
    FaultKind("DUPLICATE_OTHER_CONTENT", _C.DUPLICATE, _O.SUPPLIER, False, "Dit kenmerk is al gebruikt voor een bericht met andere inhoud", "This id was used before for a message with other content", "Gebruik voor een nieuw bericht een nieuw MessageID en een nieuwe identificatiecodeBedrijfsdocument.", "Use a new MessageID and a new identificatiecodeBedrijfsdocument for a new message."),
    # questions over REST
    FaultKind("REQUEST_INVALID", _C.SCHEMA, _O.SUPPLIER, False, "Het verzoek is onjuist", "The request is wrong", "Herstel het verzoek; de OpenAPI-beschrijving zegt wat mag.", "Mend the request; the OpenAPI description says what is allowed."),
    FaultKind("DELIVERY_UNKNOWN", _C.ROUTE, _O.SUPPLIER, False, "Deze levering staat niet in een postbus van dit systeem", "This delivery does not stand in a mailbox of this system", "Vraag de lijst van de postbus opnieuw op.", "Ask for the mailbox's list again."),
    FaultKind("DELIVERY_FINISHED", _C.DUPLICATE, _O.SUPPLIER, False, "Deze levering is al anders afgerond", "This delivery was finished otherwise already", "Er is geen actie nodig; wat eerst is gezegd, telt.", "Nothing to do; what was said first counts."),
    # content
    FaultKind("PGN_INVALID", _C.CONTENT, _O.SCHOOL, False, "Het persoonsgebonden nummer voldoet niet aan de elfproef", "The personal number fails its check digit", "Controleer het nummer in de leerlingadministratie bij de bron en lever opnieuw aan.", "Check the number at its source in the pupil administration and hand in again."),
    FaultKind("PGN_KIND", _C.CONTENT, _O.SUPPLIER, False, "BSN en onderwijsnummer zijn verwisseld", "BSN and onderwijsnummer are mixed up", "Zet het nummer in het element dat bij de soort hoort.", "Put the number in the element of its own kind."),
    FaultKind("BRIN_NOT_SENDER", _C.CONTENT, _O.SUPPLIER, False, "De BRIN in het bericht is niet die van de afzender", "The BRIN in the message is not the sender's", "Lever aan namens de school waarvan het bericht komt.", "Hand in on behalf of the school the message is from."),
    FaultKind("HEADER_NOT_SENDER", _C.CONTENT, _O.SUPPLIER, False, "verzendendeInstantie of ontvangendeInstantie komt niet overeen met From of To", "verzendendeInstantie or ontvangendeInstantie differs from From or To", _RESEND_NL, _RESEND_EN),
    FaultKind("GEMEENTECODE_UNKNOWN", _C.CONTENT, _O.SCHOOL, False, "De gemeentecode bestaat niet", "The gemeentecode does not exist", "Controleer het adres van de leerling en lever opnieuw aan.", "Check the pupil's address and hand in again."),
    FaultKind("DATE_IMPLAUSIBLE", _C.CONTENT, _O.SCHOOL, False, "Een datum in het bericht kan niet kloppen", "A date in the message cannot be right", "Controleer de datum bij de bron en lever opnieuw aan.", "Check the date at its source and hand in again."),
    FaultKind("STATUS_STALE", _C.CONTENT, _O.SUPPLIER, False, "Er is al een nieuwere status van deze aanmelding ontvangen", "A newer status of this application was received already", "Lever statussen aan in volgorde van wijzigingsvolgnummer; deze hoeft niet opnieuw.", "Hand statuses in by wijzigingsvolgnummer; this one need not be sent again."),
    FaultKind("STATUS_ORDER", _C.CONTENT, _O.SUPPLIER, False, "Deze status kan niet op de vorige volgen", "This status cannot follow the one before it", "Controleer de statusovergang van de aanmelding en lever opnieuw aan.", "Check the application's change of status and hand in again."),
    FaultKind("CONTENT_RULE", _C.CONTENT, _O.SCHOOL, False, "De inhoud voldoet niet aan een regel van de dienst", "The content breaks a rule of the dienst", _RESEND_NL, _RESEND_EN),
    FaultKind("ANSWER_UNKNOWN", _C.CONTENT, _O.SUPPLIER, False, "Antwoord op een bericht dat niet bij deze afzender is afgeleverd", "Answer to a message that was not delivered to this sender", "Noem het beantwoorde bericht zoals het is ontvangen, en stuur het antwoord aan de afzender ervan.", "Name the answered message as it was received, and address the answer to its sender."),
    # routing (domain facts section 1, recipe)
    FaultKind("ROUTE_UNKNOWN_PARTY", _C.ROUTE, _O.SUPPLIER, False, "De ontvanger staat niet in het serviceregister", "The receiver is not in the service register", "Controleer het OIN of routeringskenmerk in wsa:To.", "Check the OIN or routeringskenmerk in wsa:To."),
    FaultKind("ROUTE_NO_ENDPOINT", _C.ROUTE, _O.SUPPLIER, True, "De ontvanger heeft geen endpoint voor deze dienst", "The receiver has no endpoint for this dienst", "De leverancier van de ontvanger moet een endpoint vastleggen; het bericht wacht.", "The receiver's supplier must record an endpoint; the message waits."),
    FaultKind("ROUTE_AMBIGUOUS", _C.ROUTE, _O.SCHOOL, True, "De ontvanger heeft meer dan één endpoint en het bericht noemt geen routeringskenmerk", "The receiver has several endpoints and the message names no routeringskenmerk", "Laat de school bepalen welke administratie dit bericht krijgt; het bericht wacht.", "Have the school decide which administration gets this message; the message waits."),
    FaultKind("ROUTE_NO_MANDATE", _C.ROUTE, _O.SCHOOL, True, "Het systeem van de ontvanger heeft geen geldig mandaat", "The receiver's system has no valid mandate", "De ontvangende school moet het mandaat vastleggen of verlengen; het bericht wacht.", "The receiving school must record or extend the mandate; the message waits."),
    FaultKind("ROUTE_REGISTER_AWAY", _C.ROUTE, _O.US, True, "Het andere serviceregister geeft geen antwoord", "The other service register does not answer", "De beheerder gaat na waarom het andere register geen antwoord geeft; het bericht wacht.", "The operator finds out why the other register does not answer; the message waits."),
    FaultKind("ROUTE_GEMEENTE_ENDED", _C.ROUTE, _O.SCHOOL, False, "De gemeentecode is opgeheven", "The gemeentecode has ended", "Neem de nieuwe gemeente over in de administratie en lever opnieuw aan.", "Take over the new municipality in the administration and hand in again."),
    FaultKind("ROUTE_GEMEENTE_NOT_CONNECTED", _C.ROUTE, _O.MUNICIPALITY, True, "De gemeente is niet aangesloten op deze dienst", "The municipality is not connected to this dienst", "De gemeente moet zich aansluiten; het bericht wacht.", "The municipality must connect; the message waits."),
    FaultKind("PEER_TO_PEER", _C.ROUTE, _O.SUPPLIER, False, "Deze dienst loopt rechtstreeks tussen systemen", "This dienst runs directly between systems", "Vraag met /rest/where waar de ontvanger het bericht aanneemt, en lever het daar af.", "Ask with /rest/where where the receiver takes it, and deliver it there."),
    FaultKind("ROUTE_MANDATE_REVOKED", _C.AUTH, _O.SCHOOL, False, "Het mandaat van de afzender is per direct ingetrokken", "The sender's mandate was revoked at once", "De school bepaalt wie dit bericht opnieuw aanbiedt.", "The school decides who offers this message again."),
    # delivery
    FaultKind("MAILBOX_REFUSED", _C.RECEIVER, _O.SCHOOL, False, "De ontvanger weigert het bericht", "The receiver refuses the message", "Lees de reden van de ontvanger en lever zo nodig een verbeterd bericht aan.", "Read the receiver's reason and hand in a corrected message where needed."),
    FaultKind("NOT_OUR_RESIDENT", _C.RECEIVER, _O.SCHOOL, False, "De gemeente kent deze leerling niet als inwoner", "The municipality does not know this pupil as a resident", "Controleer het woonadres van de leerling en lever opnieuw aan met de juiste gemeentecode.", "Check the pupil's address and hand in again with the right gemeentecode."),
    FaultKind("NOT_ENROLLED", _C.RECEIVER, _O.SCHOOL, False, "De leerling is niet ingeschreven bij de ontvanger", "The pupil is not enrolled at the receiver", "Controleer de latende school van de leerling bij DUO.", "Check the pupil's current school with DUO."),
    FaultKind("MAILBOX_UNREADABLE", _C.RECEIVER, _O.US, False, "De ontvanger kan het bericht niet lezen", "The receiver cannot read the message", "Zoek met de ontvanger uit wat er mis is en bied daarna opnieuw aan.", "Find out with the receiver what is wrong, then offer it again."),
    FaultKind("MAILBOX_DOUBLE", _C.DUPLICATE, _O.SUPPLIER, False, "De ontvanger had dit bericht al", "The receiver had this message already", "Er is geen actie nodig; meld herhaling aan de leverancier.", "Nothing to do; report repeats to the supplier."),
    FaultKind("MAILBOX_NOT_FETCHED", _C.RECEIVER, _O.RECEIVER, True, "De ontvanger heeft het bericht niet op tijd opgehaald", "The receiver did not fetch the message in time", "De ontvanger moet zijn postbus legen.", "The receiver must empty its mailbox."),
    FaultKind("MAILBOX_FULL", _C.RECEIVER, _O.RECEIVER, True, "De ontvanger leegt zijn postbus niet", "The receiver does not empty its mailbox", "De ontvanger moet zijn postbus legen; het bericht wacht.", "The receiver must empty its mailbox; the message waits."),
    FaultKind("HELD_BY_OPERATOR", _C.INTERNAL, _O.US, True, "De beheerder houdt de berichten aan deze ontvanger vast", "The operator holds what goes to this receiver", "Het bericht wacht tot de beheerder het laat gaan.", "The message waits until the operator lets it go."),
    FaultKind("ANSWER_MISSING", _C.EXPIRED, _O.RECEIVER, True, "De ontvanger heeft niet op tijd geantwoord", "The receiver did not answer in time", "De ontvanger moet alsnog antwoorden; vraag ernaar en vermeld de referentie.", "The receiver must still answer; ask for it and quote the reference."),
    FaultKind("ENDPOINT_UNREACHABLE", _C.TRANSPORT, _O.RECEIVER, True, "Het systeem van de ontvanger is niet bereikbaar", "The receiver's system cannot be reached", "Het bericht wacht en wordt opnieuw aangeboden.", "The message waits and is offered again."),
    FaultKind("ENDPOINT_NOT_TRUSTED", _C.TRANSPORT, _O.RECEIVER, True, "Het certificaat van het endpoint wordt niet vertrouwd", "The endpoint's certificate is not trusted", "De ontvanger moet een geldig certificaat plaatsen dat bij het adres hoort; het bericht wacht.", "The receiver must install a valid certificate that belongs to the address; the message waits."),
    FaultKind("ENDPOINT_REFUSES_US", _C.CERT, _O.RECEIVER, False, "Het endpoint weigert ons certificaat", "The endpoint refuses our certificate", "De ontvanger moet ons certificaat (OIN) toelaten; bied daarna opnieuw aan.", "The receiver must admit our certificate (OIN); offer it again after that."),
    FaultKind("ENDPOINT_NOT_ALLOWED", _C.TRANSPORT, _O.US, True, "Het adres van het endpoint mag niet worden aangeroepen", "The endpoint's address may not be called", "Controleer het adres in het serviceregister, of laat de beheerder het toestaan met KOPPELPUNT_PUSH_NETWORKS.", "Check the address in the service register, or have the operator allow it with KOPPELPUNT_PUSH_NETWORKS."),
    FaultKind("ENDPOINT_REDIRECTS", _C.TRANSPORT, _O.RECEIVER, True, "Het endpoint verwijst door naar een ander adres", "The endpoint redirects to another address", "De ontvanger moet het juiste adres in het serviceregister zetten; het bericht wacht.", "The receiver must put the right address in the service register; the message waits."),
    FaultKind("ENDPOINT_NOT_THERE", _C.TRANSPORT, _O.RECEIVER, True, "Op het adres van het endpoint is deze dienst niet", "The dienst is not at the endpoint's address", "De ontvanger moet het adres in het serviceregister of zijn server herstellen; het bericht wacht.", "The receiver must mend the address in the service register, or its server; the message waits."),
    FaultKind("ENDPOINT_UNAVAILABLE", _C.TRANSPORT, _O.RECEIVER, True, "Het systeem van de ontvanger is tijdelijk niet beschikbaar", "The receiver's system is not available now", "Het bericht wacht en wordt opnieuw aangeboden.", "The message waits and is offered again."),
    FaultKind("ANSWER_NOT_HEARD", _C.TRANSPORT, _O.RECEIVER, True, "Het bericht is verzonden, maar er kwam geen antwoord", "The message was sent, and no answer came", "Het bericht wordt met hetzelfde kenmerk opnieuw aangeboden; vraag bij herhaling de ontvanger of het is verwerkt.", "The message is offered again with the same ids; if it keeps happening, ask the receiver whether it was processed."),
    FaultKind("RESPONSE_NOT_TRUSTED", _C.RECEIVER, _O.US, False, "Het antwoord van de ontvanger is niet te vertrouwen", "The receiver's answer cannot be trusted", "Vraag de ontvanger of het bericht is verwerkt en leg dat vast; het wordt niet vanzelf opnieuw verzonden.", "Ask the receiver whether the message was processed and record that; it is not sent again by itself."),
    FaultKind("RECEIVER_REFUSED", _C.RECEIVER, _O.RECEIVER, False, "Het systeem van de ontvanger weigert het bericht", "The receiver's system refuses the message", "Neem contact op met de ontvanger; vermeld de referentie.", "Contact the receiver and quote the reference."),
    FaultKind("RECEIVER_REJECTED", _C.RECEIVER, _O.SCHOOL, False, "De ontvanger heeft het bericht verwerkt en afgekeurd", "The receiver processed the message and rejected it", "Lees de reden van de ontvanger, herstel de gegevens bij de bron en lever opnieuw aan.", "Read the receiver's reason, mend the data at its source and hand in again."),
    FaultKind("RECEIVER_DUPLICATE", _C.DUPLICATE, _O.SUPPLIER, False, "De ontvanger had een bericht met dit kenmerk al", "The receiver had a message with these ids already", "Ga na of het eerder langs een andere weg is geleverd; zo niet, lever aan met een nieuw kenmerk.", "Find out whether it was delivered before by another way; if not, hand in with new ids."),
    FaultKind("PROBABLY_DELIVERED", _C.DUPLICATE, _O.US, False, "De ontvanger had het bericht al, van een poging waarop geen antwoord kwam", "The receiver had the message already, from an attempt that was not answered", "Er is geen actie nodig.", "Nothing to do."),
    FaultKind("DEADLINE_PASSED", _C.EXPIRED, _O.US, False, "De uiterste termijn voor levering is verstreken", "The deadline for delivery has passed", "Beoordeel of het bericht nog nodig is; zo ja, bied het opnieuw aan.", "Judge whether the message is still needed; if so, offer it again."),
    FaultKind("POISON", _C.INTERNAL, _O.US, False, "Het bericht kon herhaaldelijk niet worden verwerkt", "The message repeatedly could not be processed", "De beheerder zoekt de oorzaak in de logboeken en biedt daarna opnieuw aan.", "The operator finds the cause in the logs, then offers it again."),
)  # fmt: skip

#: code -> what is always true of it
CODES: Final[Mapping[str, FaultKind]] = MappingProxyType({row.code: row for row in _ROWS})


def short(code: str) -> str:
    """The part after the SOAP class: `EK0031` of `Client.EK0031`; ours are returned as they are."""
    return code.rpartition(".")[2]


_BY_SHORT: Final = MappingProxyType({short(row.code): row for row in _ROWS})


def kind_of(code: str) -> FaultKind:
    """The row of a code, given whole or without its SOAP class. Raises KeyError for one that is not in the table."""
    return CODES.get(code) or _BY_SHORT[short(code)]


#: What to do instead, where it is another's turn than a code usually gives it to.
_REMEDY_OF_ANOTHER: Final[Mapping[tuple[str, str], tuple[str, str]]] = MappingProxyType(
    {
        ("Client.DK0002", Owner.SUPPLIER): (
            "De reden zegt welke van deze: lever aan wat het eigen systeem heeft ondertekend, laat dat systeem door de beheerder in het serviceregister zetten, of zet in wsa:From het OIN van een school die daarin staat.",
            "The reason says which of these: hand in what your own system signed, have the operator put that system in the service register, or name in wsa:From the OIN of a school that is in it.",
        ),
    }
)


def remedy_of(code: str | None, owner: str | None = None) -> tuple[str, str] | tuple[None, None]:
    """What to do about a code, in Dutch and English, when it is this owner's turn; nothing for a code that is not in the table."""
    kind = CODES.get(code or "")
    if kind is None:
        return None, None
    return _REMEDY_OF_ANOTHER.get((kind.code, owner or kind.owner), (kind.remedy_nl, kind.remedy_en))


class Fault(Exception):
    """A reason to stop, with its code, a sentence about this very case, and where it was found.

    Personal numbers in the texts are masked here, so no caller can forget it.
    """

    def __init__(
        self,
        code: str,
        reason: str = "",
        *,
        where: str | None = None,
        details: Iterable[str] = (),
        owner: Owner | None = None,
        remedy: tuple[str, str] | None = None,
    ) -> None:
        self.kind = kind_of(code)
        self.reason = redact(reason) or self.kind.en  #: this very case, in English; no content, no personal numbers
        self.where = redact(where) if where else None  #: XPath, header name or register row
        self.details = tuple(redact(detail) for detail in details)
        self.owner = owner or self.kind.owner  #: of the next action; a case may point elsewhere than its code usually does
        self.remedy = remedy or remedy_of(self.kind.code, self.owner)  #: what to do, in Dutch and English
        super().__init__(str(self))

    @property
    def code(self) -> str:
        """The code as on the wire."""
        return self.kind.code

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is otherwise made again from its text
        return _made_again, (type(self), self.code, self.reason, self.where, self.details, self.owner, self.remedy)

    def __str__(self) -> str:
        place = f" (at {self.where})" if self.where else ""
        return f"{self.code}: {self.reason}{place}"


def _made_again(
    kind: type[Fault], code: str, reason: str, where: str | None, details: tuple[str, ...], owner: Owner, remedy: tuple[str, str]
) -> Fault:
    fault = kind.__new__(kind)
    Fault.__init__(fault, code, reason, where=where, details=details, owner=owner, remedy=remedy)
    return fault


class Refused(Fault):
    """The message is wrong; the sender must send another."""


class NotAllowed(Refused):
    """The sender may not do this (certificate, mandate, somebody else's name)."""


class Unroutable(Fault):
    """The register gives no receiver, endpoint or mandate."""


class Undelivered(Fault):
    """The receiver is silent, or refuses."""


class OurFailure(Fault):
    """Not the sender's fault: the same message may be offered again."""

    def __init__(self, reason: str, *, where: str | None = None) -> None:
        super().__init__("Server.DK0051", reason, where=where)
