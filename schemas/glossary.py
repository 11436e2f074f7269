"""The words of the portal, its mail and its exports: one term for each thing, in Dutch and English, with what it means.

States are named as administrators know them (domain facts 9.2, point 2); the lifecycle's own names stay in code and API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from schemas.lifecycle import DeliveryState, MessageState

LANGUAGES: Final = ("nl", "en")


@dataclass(frozen=True, slots=True)
class Term:
    """One word, and one sentence that explains it."""

    nl: str
    en: str
    explained_nl: str
    explained_en: str

    def word(self, language: str) -> str:
        """The word."""
        return self.en if language == "en" else self.nl

    def explained(self, language: str) -> str:
        """The sentence."""
        return self.explained_en if language == "en" else self.explained_nl


GLOSSARY: Final[Mapping[str, Term]] = MappingProxyType(
    {
        "openstaand": Term(
            "Openstaand",
            "Outstanding",
            "Berichten die nog niet klaar zijn: ze wachten, zijn onderweg, of er moet nog een antwoord komen.",
            "Messages that are not finished: they wait, are on their way, or an answer is still due.",
        ),
        "uitval": Term(
            "Uitval",
            "Failures",
            "Berichten die niet verder kunnen zonder dat iemand iets doet, gegroepeerd op oorzaak.",
            "Messages that cannot go on unless somebody does something, grouped by cause.",
        ),
        "proefbatch": Term(
            "Proefbatch",
            "Trial batch",
            "Een klein deel van een opdracht dat eerst gaat. Mislukt dat, dan stopt de rest.",
            "A small part of a job that goes first. If it fails, the rest stops.",
        ),
        "proefbericht": Term(
            "Proefbericht",
            "Test message",
            "Een bericht zonder persoonsgegevens dat het Koppelpunt zelf stuurt, om te zien of een adres het aanneemt.",
            "A message without personal data that the backbone itself sends, to see whether an address takes it.",
        ),
        "inhoud_inzien": Term(
            "Inhoud inzien met reden",
            "Look inside, with a reason",
            "De inhoud is verborgen. Wie hem opent geeft een reden op; die staat met naam en tijd in het journaal.",
            "The content is hidden. Whoever opens it gives a reason, which the journal keeps with name and time.",
        ),
        "gepauzeerd": Term(
            "Gepauzeerd",
            "Paused",
            "Naar dit adres gaat nu niets: het antwoordde niet meer, of iemand heeft het stilgezet. Berichten wachten op volgorde.",
            "Nothing goes to this address now: it stopped answering, or somebody holds it. Messages wait in their order.",
        ),
        "sluiten_zonder_levering": Term(
            "Sluiten zonder levering",
            "Close without delivery",
            "Het bericht wordt niet meer aangeboden en telt niet meer als uitval. Het kan weer geopend worden.",
            "The message is not offered any more and no longer counts as a failure. It can be opened again.",
        ),
        "retour": Term(
            "Retour",
            "Return",
            "Het systeem dat het bericht inleverde hoort wat er mis is en of het opnieuw moet, zonder persoonsgegevens.",
            "The system that handed the message in is told what is wrong and whether to send again, without personal data.",
        ),
        "opnieuw_aanbieden": Term(
            "Opnieuw aanbieden",
            "Offer again",
            "Hetzelfde bericht gaat nog eens naar de ontvanger, met dezelfde kenmerken.",
            "The same message goes to its receiver once more, with the same ids.",
        ),
        "omleiden": Term(
            "Omleiden",
            "Redirect",
            "Het bericht gaat naar een ander adres dat het serviceregister nu toestaat voor deze ontvanger en dienst.",
            "The message goes to another address that the service register allows now for this receiver and dienst.",
        ),
        "school": Term("School", "School", "De onderwijsinstelling namens wie wordt gestuurd.", "The institution on whose behalf is sent."),
        "systeem": Term(
            "Systeem",
            "System",
            "De software die inlevert of ophaalt, herkend aan haar certificaat.",
            "The software that hands in or fetches, known by its certificate.",
        ),
        "ontvanger": Term(
            "Ontvanger", "Receiver", "De organisatie voor wie het bericht bestemd is.", "The organisation that the message is for."
        ),
        "leverancier": Term("Leverancier", "Supplier", "Wie het systeem van een school beheert.", "Whoever runs a school's system."),
        "gemeente": Term(
            "Gemeente", "Municipality", "Ontvanger van meldingen over haar inwoners.", "Receives what concerns its residents."
        ),
        "dienst": Term("Dienst", "Dienst", "Een soort uitwisseling met een versie, zoals vva 1.0.", "A kind of exchange with a version."),
        "bericht": Term("Bericht", "Message", "Wat één keer is ingeleverd.", "What was handed in once."),
        "levering": Term("Levering", "Delivery", "Eén bericht voor één ontvanger.", "One message for one receiver."),
        "poging": Term("Poging", "Attempt", "Eén keer aanbieden bij een ontvanger.", "Offering it to a receiver once."),
        "kenmerk": Term(
            "Ontvangstkenmerk", "Receipt reference", "Het nummer op ons ontvangstbewijs.", "The number on the receipt that we gave."
        ),
        "eigenaar": Term("Wie is aan zet", "Whose turn it is", "Wie de volgende stap moet doen.", "Who has to take the next step."),
        "oorzaak": Term("Oorzaak", "Cause", "De foutcode, in gewone woorden.", "The fault code, in plain words."),
        "mandaat": Term("Mandaat", "Mandate", "De school laat dit systeem voor haar handelen.", "The school lets this system act for it."),
        "serviceregister": Term(
            "Serviceregister",
            "Service register",
            "Waarin staat wie voor wie mag handelen en waar berichten heen gaan.",
            "Says who may act for whom, and where messages go.",
        ),
        "partij": Term("Partij", "Party", "Een organisatie of systeem in de keten.", "An organisation or system in the chain."),
        "journaal": Term(
            "Journaal",
            "Journal",
            "Alles wat gebeurd is, in een keten die niet ongemerkt te wijzigen is.",
            "All that happened, in a chain that cannot be changed unnoticed.",
        ),
    }
)

_D = DeliveryState
_M = MessageState

#: How a delivery's state is called.
DELIVERY_STATES: Final[Mapping[DeliveryState, Term]] = MappingProxyType(
    {
        _D.ROUTED: Term("Wachtrij", "Queued", "Wacht op zijn beurt, op het adres of op een mandaat.", "Waits for its turn, its address or a mandate."),
        _D.FILTERED: Term("Niet voor deze ontvanger", "Not for this receiver", "De dienst bepaalt dat deze ontvanger het niet krijgt.", "The dienst's rules keep it from this receiver."),
        _D.RELEASED: Term("In verzending", "Being sent", "Wordt nu aangeboden.", "Is being offered now."),
        _D.POSTPONED: Term("Uitgesteld", "Postponed", "De ontvanger antwoordde niet; het gaat vanzelf nog eens.", "The receiver did not answer; it goes again by itself."),
        _D.UNCERTAIN: Term("Onzeker", "Uncertain", "Er kwam een antwoord dat niet te vertrouwen is; misschien is het aangekomen.", "An answer came that cannot be trusted; it may have arrived."),
        _D.DELIVERED: Term("Verzonden", "Sent", "Staat klaar bij de ontvanger, nog niet bevestigd.", "Is at the receiver's, not confirmed yet."),
        _D.ACKNOWLEDGED: Term("Ontvangst bevestigd", "Receipt confirmed", "De ontvanger heeft het. Wordt er een antwoord verwacht, dan is het in behandeling.", "The receiver has it. Where an answer is due, it is being dealt with."),
        _D.ANSWERED: Term("Beantwoord", "Answered", "Het antwoord is er.", "The answer has come."),
        _D.SUPERSEDED: Term("Vervallen", "Superseded", "Een nieuwer bericht over hetzelfde nam zijn plaats in.", "A newer message about the same took its place."),
        _D.FAILED: Term("Uitgevallen", "Failed", "Kan niet verder zonder dat iemand iets doet.", "Cannot go on unless somebody does something."),
        _D.RETURNED: Term("Retour", "Returned", "Terug naar wie het inleverde, met de reden.", "Went back to whoever handed it in, with the reason."),
        _D.ARCHIVED: Term("Gesloten zonder levering", "Closed without delivery", "Wordt niet meer aangeboden.", "Is not offered any more."),
    }
)  # fmt: skip

#: How a message's state is called, and a refused hand-in.
MESSAGE_STATES: Final[Mapping[str, Term]] = MappingProxyType(
    {
        _M.RECEIVED: Term("Ontvangen", "Received", "Ingeleverd; de ontvangers worden bepaald.", "Handed in; its receivers are being found."),
        _M.ROUTED: Term("Gerouteerd", "Routed", "De ontvangers zijn bekend; elke levering heeft haar eigen stand.", "Its receivers are known; each delivery has its own state."),
        _M.FAILED: Term("Niet te routeren", "Cannot be routed", "Er is geen ontvanger te vinden.", "No receiver can be found."),
        _M.RETURNED: Term("Retour", "Returned", "Terug naar wie het inleverde, met de reden.", "Went back to whoever handed it in, with the reason."),
        _M.ARCHIVED: Term("Gesloten zonder levering", "Closed without delivery", "Wordt niet meer aangeboden.", "Is not offered any more."),
        "refused": Term("Geweigerd", "Refused", "Niet aangenomen bij inleveren; de inleveraar weet waarom.", "Not taken in; whoever handed it in was told why."),
    }
)  # fmt: skip
