"""What the pages of accounts say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACCOUNT_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "accounts": ("Accounts", "Accounts"),
    "accounts.what": (
        "Wie in het portaal mag kijken en wat die mag. Elke wijziging gaat in het journaal, met uw naam.",
        "Who may look at the portal, and what each may do. Every change goes into the journal, with your name.",
    ),
    "accounts.find": ("Naam, rol of OIN", "Name, role or OIN"),
    "accounts.none": ("Geen account voldoet hieraan.", "No account fits this."),
    "accounts.new": ("Nieuw account", "New account"),
    "accounts.name": ("Gebruikersnaam", "User name"),
    "accounts.name.what": ("2 tot 64 tekens: a-z, 0-9 en ._@+-.", "2 to 64 characters: a-z, 0-9 and ._@+-."),
    "accounts.roles": ("Rollen", "Roles"),
    "accounts.sees": ("Ziet", "Sees"),
    "accounts.sees_all": ("de hele keten", "the whole chain"),
    "accounts.organisations": ("Organisaties", "Organisations"),
    "accounts.organisations.what": (
        "Scholen en gemeenten waarvan het account het verkeer ziet: een OIN of BRIN per regel.",
        "Schools and municipalities whose traffic the account sees: one OIN or BRIN per line.",
    ),
    "accounts.systems": ("Systemen", "Systems"),
    "accounts.systems.what": (
        "Systemen van een leverancier waarvan het account het verkeer ziet: een OIN per regel.",
        "Systems of a supplier whose traffic the account sees: one OIN per line.",
    ),
    "accounts.unknown": ("niet in het register", "not in the register"),
    "accounts.email": ("E-mailadres van de persoon (mag leeg)", "The person's e-mail address (may be empty)"),
    "accounts.email.what": (
        "Twee accounts met hetzelfde adres zijn van dezelfde persoon: die geeft geen akkoord op een eigen opdracht.",
        "Two accounts with the same address are one person's, who does not approve a job of his own.",
    ),
    "accounts.with_totp": ("Met een tweede factor (code uit een app)", "With a second factor (a code from an app)"),
    "accounts.add": ("Account maken", "Make the account"),
    "accounts.state": ("Stand", "State"),
    "accounts.state.in_use": ("in gebruik", "in use"),
    "accounts.state.one_time": ("moet wachtwoord kiezen", "must choose a password"),
    "accounts.state.one_time_over": ("eenmalig wachtwoord verlopen", "one-time password is over"),
    "accounts.state.disabled": ("geblokkeerd", "disabled"),
    "accounts.source": ("Meldt zich aan met", "Signs in with"),
    "accounts.source.local": ("wachtwoord", "password"),
    "accounts.source.oidc": ("aanmelddienst", "identity provider"),
    "accounts.factor": ("Tweede factor", "Second factor"),
    "accounts.factor.totp": ("ja", "yes"),
    "accounts.factor.none": ("nee", "no"),
    "accounts.factor.provider": ("aanmelddienst", "identity provider"),
    "accounts.change": ("Rollen en organisaties", "Roles and organisations"),
    "accounts.save": ("Opslaan", "Save"),
    "accounts.provider": (
        "Rollen en organisaties komen bij elke aanmelding van de aanmelddienst; wijzig ze daar.",
        "Roles and organisations come from the identity provider at every sign-in; change them there.",
    ),
    "accounts.access": ("Toegang", "Access"),
    "accounts.own.more": (
        "Uw eigen account krijgt hier geen rol of organisatie erbij, en geen ander e-mailadres: dat doet een andere beheerder.",
        "Your own account gets no more roles or organisations here, and no other e-mail address: another operator does that.",
    ),
    "accounts.own": (
        "Dit is uw eigen account. Kies een ander wachtwoord via uw naam bovenaan; een andere beheerder geeft u een nieuwe tweede factor.",
        "This is your own account. Choose another password by your name at the top; another operator gives you a new second factor.",
    ),
    "accounts.disable": ("Blokkeren", "Disable"),
    "accounts.disable.what": ("Meldt af, en tokens tellen niet meer.", "Signs it out, and its tokens count no more."),
    "accounts.enable": ("Weer toelaten", "Let in again"),
    "accounts.password": ("Nieuw wachtwoord geven", "Give a new password"),
    "accounts.totp": ("Nieuwe tweede factor geven", "Give a new second factor"),
    "accounts.no_totp": ("Tweede factor weghalen", "Take the second factor away"),
    "accounts.sign_out": ("Overal afmelden", "Sign out everywhere"),
    "accounts.tokens": ("API-tokens", "API tokens"),
    "accounts.tokens.what": (
        "Een programma met een token ziet en doet wat dit account mag, in de JSON-API.",
        "A program with a token sees and does what this account may, in the JSON API.",
    ),
    "accounts.tokens.none": ("Er zijn geen tokens.", "There are no tokens."),
    "accounts.token": ("Token", "Token"),
    "accounts.token.label": ("Waarvoor", "What for"),
    "accounts.token.days": ("Dagen geldig (1 tot {most})", "Days it counts (1 to {most})"),
    "accounts.token.made": ("Gemaakt", "Made"),
    "accounts.token.until": ("Tot", "Until"),
    "accounts.token.counts": ("geldt", "counts"),
    "accounts.token.over": ("geldt niet meer", "counts no more"),
    "accounts.token.make": ("Token maken", "Make a token"),
    "accounts.token.end": ("Intrekken", "End"),
    "accounts.token.theirs": (
        "Met een token voor dit account zou u in naam van een ander handelen of inhoud inzien. Wie op de server mag, maakt het met "
        "run.py account tokens make.",
        "With a token for this account you would act or look at content in somebody else's name. Who may on the server makes it with "
        "run.py account tokens make.",
    ),
    "accounts.token.wrong": (
        "Zeg in 1 tot 100 tekens waarvoor het token is, en geef 1 tot {most} dagen.",
        "Say in 1 to 100 characters what the token is for, and give 1 to {most} days.",
    ),
    "accounts.token.gone": ("Dat token gold al niet meer.", "That token counted no more already."),
    "accounts.once": (
        "Geef dit nu door; het wordt niet nog eens getoond.",
        "Pass this on now; it is not shown again.",
    ),
    "accounts.once.password": ("Wachtwoord, te wijzigen bij de eerste aanmelding", "Password, to be changed at the first sign-in"),
    "accounts.once.totp": ("Tweede factor, voor een authenticator-app", "Second factor, for an authenticator app"),
    "accounts.once.token": ("API-token", "API token"),
    "accounts.said.toegevoegd": ("Het account is gemaakt.", "The account was made."),
    "accounts.said.wijzigen": ("De rollen en organisaties zijn opgeslagen.", "The roles and organisations were saved."),
    "accounts.said.blokkeren": ("Het account is geblokkeerd en afgemeld.", "The account was disabled, and signed out."),
    "accounts.said.toelaten": ("Het account mag zich weer aanmelden.", "The account may sign in again."),
    "accounts.said.wachtwoord": (
        "Er is een nieuw wachtwoord; het account is afgemeld.",
        "There is a new password; the account was signed out.",
    ),
    "accounts.said.factor": (
        "Er is een nieuwe tweede factor; het account is afgemeld.",
        "There is a new second factor; the account was signed out.",
    ),
    "accounts.said.zonder": ("Het account heeft geen tweede factor meer.", "The account has no second factor any more."),
    "accounts.said.afmelden": ("Het account is overal afgemeld.", "The account was signed out everywhere."),
    "accounts.said.token": ("Er is een nieuw token.", "There is a new token."),
    "accounts.said.token_einde": ("Het token geldt niet meer.", "The token counts no more."),
}
