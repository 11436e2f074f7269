"""What the pages say beside the glossary's words: for each key a sentence in Dutch and one in English. `{name}` is filled in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from portal.texts_accounts import ACCOUNT_TEXTS
from portal.texts_pages import PAGE_TEXTS
from schemas.glossary import GLOSSARY

#: (Dutch, English)
Text = tuple[str, str]

#: The layout, signing in, and what went wrong.
_SHELL: Final[Mapping[str, Text]] = {
    "app": ("Koppelpunt", "Koppelpunt"),
    "app.of": ("{title} · Koppelpunt", "{title} · Koppelpunt"),
    "skip": ("Naar de inhoud", "Skip to content"),
    "nav": ("Hoofdmenu", "Main menu"),
    "footer": ("Over dit portaal", "About this portal"),
    "language": ("Taal", "Language"),
    "language.other": ("English", "Nederlands"),
    "theme": ("Weergave", "Appearance"),
    "theme.licht": ("Licht", "Light"),
    "theme.donker": ("Donker", "Dark"),
    "theme.auto": ("Als het apparaat", "As the device"),
    "signed_in_as": ("Aangemeld als {name}", "Signed in as {name}"),
    "sign_out": ("Afmelden", "Sign out"),
    "home": ("Overzicht", "Overview"),
    "home.welcome": ("U bent aangemeld.", "You are signed in."),
    "home.sees_everything": ("U ziet het verkeer van de hele keten.", "You see the traffic of the whole chain."),
    "home.sees_own": ("U ziet het verkeer van:", "You see the traffic of:"),
    "home.roles": ("Uw rollen", "Your roles"),
    "sign_in": ("Aanmelden", "Sign in"),
    "sign_in.name": ("Gebruikersnaam", "User name"),
    "sign_in.password": ("Wachtwoord", "Password"),
    "sign_in.code": ("Code uit uw authenticator-app", "Code from your authenticator app"),
    "sign_in.code.hint": ("Zes cijfers. Leeg laten als u er geen hebt.", "Six digits. Leave empty if you have none."),
    "sign_in.with": ("Aanmelden met {provider}", "Sign in with {provider}"),
    "sign_in.or": ("of", "or"),
    "sign_in.wrong": (
        "Naam, wachtwoord of code klopt niet. Probeer het opnieuw; na vijf keer moet u een kwartier wachten.",
        "Name, password or code is wrong. Try again; after five times you have to wait a quarter of an hour.",
    ),
    "sign_in.refused": (
        "De aanmelding bij {provider} is niet gelukt. Probeer het opnieuw of vraag uw beheerder om een rol.",
        "Signing in with {provider} did not work. Try again, or ask your administrator for a role.",
    ),
    "sign_in.stale": ("Deze pagina stond te lang open. Probeer het opnieuw.", "This page was open for too long. Try again."),
    "sign_in.one_time_over": (
        "Dit eenmalige wachtwoord is niet meer geldig. Vraag de beheerder om een nieuw.",
        "This one-time password is over. Ask the operator for another.",
    ),
    "sign_in.unreadable": (
        "Uw tweede factor kan nu niet worden gelezen. Probeer het over een minuut opnieuw; blijft het zo, vraag dan de beheerder.",
        "Your second factor cannot be read now. Try again in a minute; if it stays so, ask the operator.",
    ),
    "second_factor": ("Tweede factor", "Second factor"),
    "second_factor.why": (
        "Uw rol vraagt om een tweede factor. Stel die nu in; daarna kunt u verder.",
        "Your role needs a second factor. Set it up now; then you can go on.",
    ),
    "second_factor.scan": (
        "Scan deze code met een authenticator-app en vul de zes cijfers in die de app toont.",
        "Scan this code with an authenticator app, and enter the six digits that it shows.",
    ),
    "second_factor.picture": ("QR-code voor uw authenticator-app", "QR code for your authenticator app"),
    "second_factor.type": ("Of typ deze sleutel over:", "Or type this key:"),
    "second_factor.save": ("Instellen", "Set up"),
    "second_factor.wrong": (
        "Deze code klopt niet. Wacht op de volgende code en probeer het opnieuw.",
        "This code is wrong. Wait for the next one, and try again.",
    ),
    "second_factor.again": ("Opnieuw beginnen met een andere code om te scannen", "Begin again, with another code to scan"),
    "second_factor.stale": (
        "Deze pagina stond te lang open. Scan de nieuwe code.",
        "This page was open for too long. Scan the new code.",
    ),
    "second_factor.there": (
        "U hebt een tweede factor. Voor een andere vraagt u de beheerder.",
        "You have a second factor. Ask the operator for another.",
    ),
    "second_factor.not_here": (
        "Uw tweede factor hoort bij uw eigen aanmelddienst; stel hem daar in.",
        "Your second factor belongs to your own identity provider; set it up there.",
    ),
    "password": ("Nieuw wachtwoord", "New password"),
    "password.change": ("Wachtwoord wijzigen", "Change password"),
    "password.why": (
        "Iemand anders koos uw wachtwoord. Kies nu een eigen wachtwoord van minstens 12 tekens.",
        "Somebody else chose your password. Choose one of your own now, of at least 12 characters.",
    ),
    "password.now": ("Huidig wachtwoord", "Current password"),
    "password.new": ("Nieuw wachtwoord", "New password"),
    "password.again": ("Nieuw wachtwoord, nog eens", "New password, once more"),
    "password.save": ("Opslaan", "Save"),
    "password.short": ("Het nieuwe wachtwoord heeft minder dan 12 tekens.", "The new password has fewer than 12 characters."),
    "password.long": ("Het nieuwe wachtwoord heeft meer dan 200 tekens.", "The new password has more than 200 characters."),
    "password.differs": ("De twee nieuwe wachtwoorden zijn niet gelijk.", "The two new passwords are not the same."),
    "password.same": ("Kies een ander wachtwoord dan het huidige.", "Choose another password than the current one."),
    "password.wrong": ("Het huidige wachtwoord klopt niet.", "The current password is wrong."),
    "password.not_here": (
        "Uw wachtwoord hoort bij uw eigen aanmelddienst; wijzig het daar.",
        "Your password belongs to your own identity provider; change it there.",
    ),
    "role.chain_manager": ("ketenregisseur", "chain manager"),
    "role.operator": ("beheerder", "operator"),
    "role.partner": ("ketenpartner", "partner"),
    "role.school": ("school", "school"),
    "role.auditor": ("auditor", "auditor"),
    "role.reader": ("meelezer", "reader"),
    "error.400": ("Dit verzoek klopt niet", "This request is not right"),
    "error.400.what": ("Ga terug en probeer het opnieuw.", "Go back and try again."),
    "error.400.week": (
        "Geef een week van deze eeuw, zoals 2026-W05.",
        "Give a week of this century, such as 2026-W05.",
    ),
    "error.401": ("U bent niet aangemeld", "You are not signed in"),
    "error.401.what": (
        "Meld u aan; een programma stuurt zijn token mee als Authorization: Bearer.",
        "Sign in; a program sends its token along as Authorization: Bearer.",
    ),
    "error.403": ("Dit mag u niet", "You may not do this"),
    "error.403.what": (
        "Uw rol laat dit niet toe. Vraag de beheerder als u dit nodig hebt.",
        "Your role does not allow it. Ask the operator if you need it.",
    ),
    "error.403.forged": (
        "Dit verzoek kwam niet van een pagina van dit portaal, of de pagina stond te lang open. Ververs de pagina en probeer het opnieuw.",
        "This request did not come from a page of this portal, or the page was open for too long. Reload it and try again.",
    ),
    "error.404": ("Niet gevonden", "Not found"),
    "error.404.what": (
        "Op dit adres is niets, of niets dat u mag zien. Zoek het op vanuit het overzicht.",
        "Nothing is at this address, or nothing that you may see. Look for it from the overview.",
    ),
    "error.405": ("Dit kan hier niet", "That cannot be done here"),
    "error.405.what": ("Gebruik de knoppen op de pagina.", "Use the buttons on the page."),
    "error.413": ("Te groot", "Too large"),
    "error.413.what": ("Wat u instuurde is groter dan dit portaal aanneemt.", "What you sent is more than this portal takes."),
    "error.429": ("Te veel pogingen", "Too many tries"),
    "error.429.what": ("Wacht {minutes} minuten en probeer het dan opnieuw.", "Wait {minutes} minutes, and try again then."),
    "error.429.export": (
        "Er wordt al een bestand voor u gemaakt. Wacht tot dat er is en probeer het dan opnieuw.",
        "A file is being made for you already. Wait until it is there, and try again then.",
    ),
    "error.500": ("Er ging hier iets mis", "Something went wrong here"),
    "error.500.what": (
        "De beheerder ziet dit in zijn logboek. Probeer het later opnieuw. Er is niets half gedaan.",
        "The operator finds it in the log. Try again later. Nothing was done by half.",
    ),
    "error.503": ("De gegevens zijn nu niet bereikbaar", "The data cannot be reached now"),
    "error.503.what": (
        "De opslag antwoordt niet. Berichten blijven bewaard. Deze pagina probeert het na enkele seconden opnieuw.",
        "The store does not answer. Messages stay safe. This page tries again in a few seconds.",
    ),
    "dropped": (
        "Een persoonsgebonden nummer hoort niet in een adres: het is weggelaten, en er is niet op gezocht. "
        "Zoek een leerling bij Openstaand.",
        "A personal number does not belong in an address: it was taken out, and not looked for. Look for a pupil under Outstanding.",
    ),
    "error.back": ("Naar het overzicht", "To the overview"),
}

TEXTS: Final[Mapping[str, Text]] = MappingProxyType({**_SHELL, **PAGE_TEXTS, **ACCOUNT_TEXTS})


def text(key: str, language: str, **values: object) -> str:
    """The sentence of a key, or the glossary's word. Raises KeyError for one that does not exist."""
    if key in GLOSSARY:
        return GLOSSARY[key].word(language)
    nl, en = TEXTS[key]
    return (en if language == "en" else nl).format(**values)
