"""What somebody must look at now, and what will break unless somebody acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portal.api.calls import Asked, found, get, post
from portal.api.problems import not_found
from portal.api.values import OIN, YES, Field, one_of, shaped, text_of, whole
from routing.actions import checked_reason
from routing.alerts import Alert
from routing.contacts import Channel, Contact, ContactRole, within
from routing.people import SEE, Permission
from routing.warning_board import KeptWarning
from routing.warnings import WarningKind

_ID: Final = Field(
    name="id",
    kind=shaped("[A-Z2-7]{5}-[A-Z2-7]{5}", "dit is de id van een melding", "it is the id of an alert"),
    required=True,
    about="Of the alert.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """One for each cause and partner."""

    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyContact:
    """One address of a party."""

    id: str
    party: str
    dienst: str  #: empty: every one
    role: ContactRole
    channel: Channel
    address: str | None  #: of a mailbox; a webhook's is between its owner and us
    language: str
    quiet: str  #: hours and days in Amsterdam
    step: int
    digest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyContacts:
    """By dienst and step."""

    contacts: tuple[PartyContact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warnings:
    """The first to happen first."""

    warnings: tuple[KeptWarning, ...]


@get(
    "/alerts",
    tag="alerts",
    summary="Alerts that are open or taken, the most pressing first",
    permission=SEE,
    answer=Alerts,
    query=(
        Field(name="closed", kind=YES, default=False, about="Those that are over instead, the newest first."),
        Field(name="limit", kind=whole(1, 500), default=200, about="Alerts, at most."),
    ),
)
def alerts(asked: Asked) -> Alerts:
    """Of the scope."""
    return Alerts(alerts=tuple(asked.alerts.alerts(asked.scope, closed=asked["closed"], limit=asked["limit"])))


@get("/alerts/{id}", tag="alerts", summary="One alert", permission=SEE, answer=Alert, place=(_ID,))
def alert(asked: Asked) -> Alert:
    """One of them."""
    return _alert(asked)


def _alert(asked: Asked) -> Alert:
    one: Alert = found(asked.alerts.alert(asked.scope, asked["id"]))
    return one


@post(
    "/alerts/{id}/acknowledge",
    tag="alerts",
    summary="Take it: nobody else is told",
    permission=Permission.GROUPS,
    answer=Alert,
    place=(_ID,),
    body=(Field(name="why", kind=text_of(500), required=True, about="What is being done, for the journal."),),
)
def acknowledge_alert(asked: Asked) -> Alert:
    """Somebody has it."""
    _alert(asked)
    why = checked_reason(asked["why"])
    return asked.alerts.acknowledge(asked.scope, asked["id"], who=asked.who, why=why, now_us=asked.now_us)


@get(
    "/warnings",
    tag="alerts",
    summary="Certificates, mandates and endpoints that are about to end, and more of that kind",
    permission=SEE,
    answer=Warnings,
    query=(Field(name="kind", kind=one_of(WarningKind), about="What it is about."),),
)
def warnings(asked: Asked) -> Warnings:
    """Of the scope."""
    scope, kind = asked.scope, asked["kind"]
    parties = None if scope.everything else {*scope.organisations, *scope.systems}
    if parties is not None and not parties:
        return Warnings(warnings=())
    return Warnings(warnings=tuple(asked.warnings.standing(parties=parties, kinds=None if kind is None else {kind})))


@get(
    "/parties/{oin}/contacts",
    tag="parties",
    summary="Whom a party wants to be told of what is amiss, by dienst and step",
    permission=SEE,
    answer=PartyContacts,
    place=(Field(name="oin", kind=OIN, required=True, about="Of a system or an organisation."),),
)
def party_contacts(asked: Asked) -> PartyContacts:
    """Of a party in the scope."""
    if not within(asked.scope, asked["oin"]):
        raise not_found()
    return PartyContacts(contacts=tuple(map(_contact, asked.alerts.contacts(asked.scope, asked["oin"]))))


def _contact(one: Contact) -> PartyContact:
    same = ("id", "party", "dienst", "role", "channel", "language", "step", "digest")
    address = one.address if one.channel is Channel.EMAIL else None
    return PartyContact(**{name: getattr(one, name) for name in same}, address=address, quiet=str(one.quiet))


CALLS: Final = (alerts, alert, acknowledge_alert, party_contacts)
WARNING_CALLS: Final = (warnings,)
