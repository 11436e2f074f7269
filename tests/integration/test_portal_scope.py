"""Nobody sees or touches another's traffic: each page and each button of the portal, tried by each kind of party.

There are two portals: one with the party's own traffic only, and one in which another chain's stands beside it. Every page must be the
same on both, to the letter; and nothing that a party sends may do anything to what is not theirs. The table below must name every address
of the portal: a page that is added without a line in it fails the first test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web

from portal.server import application
from routing.actions import Order, Selection
from routing.jobs import Terms
from routing.people import Role
from tests.support.pages import (
    ALL,
    BOX,
    LAS,
    OTHER_BOX,
    OTHER_LAS,
    OTHER_SCHOOL,
    OTHER_TOWN,
    OTHERS,
    PEOPLE,
    SCHOOL,
    TOWN,
    Pages,
    alert_of,
    mine,
    others,
    pages,
)
from tests.support.store import NOW, run_sql

THEIRS = f"GEMEENTECODE_UNKNOWN~school~vva~{OTHER_LAS}~{OTHER_BOX}"
OURS = f"NOT_OUR_RESIDENT~school~vva~{LAS}~{BOX}"
#: Those who see their own traffic only.
PARTIES = [name for name, (role, _) in PEOPLE.items() if role in (Role.PARTNER, Role.SCHOOL)]

#: Address of the portal -> what is asked of it: their own, and the other chain's.
LOOKS: dict[str, list[str]] = {
    "/": ["/", "/?kaart=seizoen"],
    "/openstaand": [
        "/openstaand",
        "/openstaand?lijst=uitval",
        "/openstaand?lijst=alles&sorteer=laatst",
        f"/openstaand?lijst=alles&systeem={OTHER_LAS}",
        f"/openstaand?lijst=alles&ontvangend={OTHER_BOX}",
        f"/openstaand?lijst=alles&partij={OTHER_TOWN}",
        f"/openstaand?lijst=alles&school={OTHER_SCHOOL}",
        "/openstaand?lijst=alles&brin=02BB",
        "/openstaand?lijst=alles&code=GEMEENTECODE_UNKNOWN",
        "/openstaand?lijst=alles&nummer=other1-id",
        "/openstaand?lijst=alles&bericht-id=urn:uuid:m-other1",
        "/openstaand?lijst=alles&bedrijfsdocument=b-other1",
        f"/openstaand?lijst=alles&groep={THEIRS}",
        f"/openstaand?lijst=alles&wachtrij=mailbox+{OTHER_BOX}",
        "/openstaand?lijst=alles&leverancier=Andere+balie+BV",
    ],
    "/openstaand.csv": ["/openstaand.csv?lijst=alles", f"/openstaand.csv?lijst=alles&systeem={OTHER_LAS}"],
    "/uitval": ["/uitval", "/uitval?opgelost=ja", "/uitval?dienst=vva"],
    "/uitval/groep": [f"/uitval/groep?groep={OURS}", f"/uitval/groep?groep={THEIRS}"],
    "/bericht": [f"/bericht?id={id}" for id in ("other1-id", "other1-delivery", "urn:uuid:m-other1", "b-other1")],
    "/bericht/{reference}": [
        f"/bericht/{name}-id" for name in ("mine1", "minef", "miner", "other0", "other1", "other2", "otherf", "otherr")
    ],
    "/partijen": ["/partijen", "/partijen?zoek=andere", "/partijen?soort=municipality"],
    "/partijen/{oin}": [f"/partijen/{oin}" for oin in (SCHOOL, LAS, TOWN, BOX, OTHER_SCHOOL, OTHER_LAS, OTHER_TOWN, OTHER_BOX)],
    "/register": ["/register", "/register?zoek=andere", f"/register?zoek={OTHER_LAS}"],
    "/register/plan": ["/register/plan", f"/register/plan?van-wie={OTHER_LAS}", "/register/plan?van-wie=02BB"],
    "/register/organisatie/{oin}": [f"/register/organisatie/{oin}" for oin in (SCHOOL, TOWN, OTHER_SCHOOL, OTHER_TOWN)],
    "/register/systeem/{oin}": [f"/register/systeem/{oin}?lijst=endpoints" for oin in (LAS, BOX, OTHER_LAS, OTHER_BOX)],
    "/register/geschiedenis/{list}/{key}": [
        f"/register/geschiedenis/{list}/{key}"
        for list, key in (
            ("mandates", f"mandate-{SCHOOL[-8:]}"),
            ("mandates", f"mandate-{OTHER_SCHOOL[-8:]}"),
            ("endpoints", f"{OTHER_TOWN}/vva/1/{OTHER_BOX}"),
            ("organisations", OTHER_SCHOOL),
            ("systems", OTHER_LAS),
        )
    ],
    "/register/wens/{what}": [
        f"/register/wens/mandaat-beeindigen?mandaat=mandate-{OTHER_SCHOOL[-8:]}",
        f"/register/wens/mandaat-geven?organisatie={OTHER_SCHOOL}",
        f"/register/wens/endpoint-wijzigen?endpoint={OTHER_TOWN}/vva/1/{OTHER_BOX}",
        f"/register/wens/adres-verhuizen?systeem={OTHER_LAS}",
        f"/register/wens/mandaat-geven?organisatie={SCHOOL}",
    ],
    "/register/voorstel/{handle}": ["/register/voorstel/of-somebody-else"],
    "/rapporten": ["/rapporten", f"/rapporten?systeem={OTHER_LAS}", "/rapporten?week=2026-W02"],
    "/rapporten.csv": ["/rapporten.csv", f"/rapporten.csv?systeem={OTHER_LAS}"],
    "/rapporten/versturen/{handle}": ["/rapporten/versturen/of-somebody-else"],
    "/opdrachten": ["/opdrachten"],
    "/meldingen": ["/meldingen", "/meldingen?over=ja"],
    "/accounts": ["/accounts", "/accounts?zoek=anna"],
    "/accounts/{name}": ["/accounts/anna", "/accounts/leverancier"],
    "/opdrachten/{id}": ["/opdrachten/{job}"],
    "/opdrachten/{id}/live": ["/opdrachten/{job}/live"],
    "/opdrachten/voorstel/{handle}": ["/opdrachten/voorstel/of-somebody-else"],
}
#: Address -> its path with another's in it, and the form. None of these roles may do any of it, or it finds nothing that is theirs.
ACTS: dict[str, list[tuple[str, dict[str, str]]]] = {
    "/openstaand/zoek": [("/openstaand/zoek", {"leerling": "999990019", "terug": "lijst=alles"})],
    "/weergaven": [("/weergaven", {"naam": "alles", "terug": "lijst=alles"})],
    "/weergaven/vergeet": [("/weergaven/vergeet", {"naam": "van anna", "terug": ""})],
    "/uitval/groep": [("/uitval/groep", {"groep": THEIRS, "wat": "notitie", "tekst": "gezien"})],
    "/bericht/{reference}/inhoud": [(f"/bericht/{name}-id/inhoud", {"waarom": "nieuwsgierig"}) for name in ("other1", "mine1")],
    "/partijen/{oin}/pauze": [(f"/partijen/{OTHER_BOX}/pauze", {"wachtrij": f"mailbox {OTHER_BOX}", "wat": "pauzeren"})],
    "/partijen/{oin}/proef": [(f"/partijen/{oin}/proef", {"wachtrij": f"mailbox {OTHER_BOX}"}) for oin in (OTHER_BOX, BOX)],
    "/register/wens/{what}": [
        ("/register/wens/mandaat-geven", {"organisatie": OTHER_SCHOOL, "dienst": "vva", "systeem": LAS}),
        ("/register/wens/mandaat-intrekken", {"mandaat": f"mandate-{OTHER_SCHOOL[-8:]}"}),
        ("/register/wens/endpoint-beeindigen", {"endpoint": f"{OTHER_TOWN}/vva/1/{OTHER_BOX}", "tot": "2026-07-31"}),
        ("/register/wens/adres-verhuizen", {"systeem": OTHER_BOX, "oud": "postbus", "nieuw": "https://a.example", "dag": "2026-08-01"}),
    ],
    "/register/voorstel/{handle}": [("/register/voorstel/of-somebody-else", {"waarom": "zomaar", "gezien": "x"})],
    "/rapporten/versturen": [("/rapporten/versturen", {"systeem": system, "week": "2026-W03"}) for system in (LAS, OTHER_LAS)],
    "/rapporten/versturen/{handle}": [("/rapporten/versturen/of-somebody-else", {"aan": "iemand"})],
    "/opdrachten/voorstel": [
        ("/opdrachten/voorstel", {"actie": "archive", "id": "other1-delivery"}),
        ("/opdrachten/voorstel", {"actie": "archive", "welke": "alle", "filter": f"lijst=uitval&groep={THEIRS}"}),
        ("/opdrachten/voorstel", {"actie": "archive", "rest": "{job}"}),
    ],
    "/opdrachten/voorstel/{handle}": [("/opdrachten/voorstel/of-somebody-else", {"waarom": "zomaar"})],
    "/opdrachten/{id}": [("/opdrachten/{job}", {"wat": "annuleren"})],
    "/opdrachten/{id}/akkoord": [("/opdrachten/{job}/akkoord", {})],
    "/meldingen/{id}": [("/meldingen/{alert}", {"waarom": "voor hen"})],
    "/accounts": [("/accounts", {"naam": "nieuw", "rol": "reader"})],
    "/accounts/{name}": [
        ("/accounts/leverancier", {"wat": "wijzigen", "rol": "reader"}),
        ("/accounts/anna", {"wat": "blokkeren"}),
        ("/accounts/anna", {"wat": "wachtwoord"}),
        ("/accounts/anna", {"wat": "token", "waarvoor": "x", "dagen": "3"}),
    ],
}
#: Addresses that are for everybody, tell of no traffic, or are a stream that says only that there is news.
NOBODYS = {"/inloggen", "/uitloggen", "/wachtwoord", "/tweede-factor", "/live"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with pages(tmp_path_factory.mktemp("alone"), mine) as running:
        alert_of(running.store, LAS, f"Melding aan {LAS}")
        yield running


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with pages(tmp_path_factory.mktemp("together"), mine, others, approve_above=0) as running:
        running.store.board.note(_key(), "vertrouwelijk", who="anna", now_us=NOW)
        for system in (LAS, OTHER_LAS):
            alert_of(running.store, system, f"Melding aan {system}")
        running.ports.desk.proefs.ask(ALL, system=OTHER_BOX, who="anna")  # type: ignore[union-attr]
        yield running


def _key() -> object:
    from routing.board import GroupKey

    return GroupKey.read(THEIRS)


@pytest.fixture(scope="module")
def job(together: Pages) -> str:
    """A job of a chain manager on the other chain's traffic, which waits for a second person."""
    actions = together.ports.desk.actions  # type: ignore[union-attr]
    preview = actions.preview(ALL, Selection(ids=("other2-delivery", "other1-delivery")), Order(action="archive"), who="anna")
    return actions.confirm(ALL, preview.id, who="anna", reason="andere keten", terms=Terms()).id


@pytest.fixture(scope="module")
def fill(together: Pages, job: str) -> Callable[[str], str]:
    """Puts the other chain's job and alert into an address or a form."""
    theirs = next(one.id for one in together.store.alerts.alerts(ALL) if one.cause.partner == OTHER_LAS)
    return lambda text: text.replace("{job}", job).replace("{alert}", theirs)


def addresses(app: web.Application, *methods: str) -> set[str]:
    found = {route.resource.canonical for route in app.router.routes() if route.method in methods and route.resource}
    return {path for path in found - NOBODYS if not path.startswith(("/static", "/inloggen", "/api/"))}  # of /api/: test_portal_api


def test_every_address_of_the_portal_stands_in_these_tables(alone: Pages) -> None:
    app = application(alone.shell)
    assert addresses(app, "GET") == set(LOOKS)
    assert addresses(app, "POST") == set(ACTS)


def plain(text: str) -> str:
    """Without what differs from session to session."""
    text = re.sub(r'name="csrf" value="[^"]*"|"X-CSRF-Token":"[^"]*"|X-CSRF-Token&#34;:&#34;[^&]*', "", text)
    return re.sub(r"<time[^>]*>[^<]*</time>|\d+ (?:min|s|u)\b|\d{1,2}:\d{2}|\"at_us\": \d+", "", text)


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("path", [path for paths in LOOKS.values() for path in paths])
def test_a_page_is_the_same_whether_or_not_another_chain_stands_beside_it(
    alone: Pages, together: Pages, fill: Callable[[str], str], who: str, path: str
) -> None:
    ours = alone.signed_in(who).get(fill(path))
    beside = together.signed_in(who).get(fill(path))
    assert beside.status_code == ours.status_code
    assert plain(beside.text) == plain(ours.text)
    asked = fill(path)
    for word in OTHERS:
        assert word in asked or word not in beside.text or _in_a_choice(word, beside.text), word


def _in_a_choice(word: str, text: str) -> bool:
    """The register is everybody's to read: the name of a municipality may stand in the list to choose from, and that of an OIN that was
    asked for beside the list, as the filter that is on; and nowhere else."""
    return word not in re.sub(r'<option.*?</option>|<a class="kp-chip".*?</a>', "", text, flags=re.DOTALL)


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize("path", [path for paths in LOOKS.values() for path in paths])
def test_whoever_watches_the_whole_chain_does_see_it(together: Pages, fill: Callable[[str], str], who: str, path: str) -> None:
    """So that the test above compares pages which show something."""
    answer = together.signed_in("anna").get(fill(path), stream=True)
    # who watches the chain changes nothing in the register, and manages no accounts
    if path.startswith(("/register/wens", "/register/voorstel", "/accounts")):
        assert answer.status_code == 403
    elif "{handle}" not in path and "of-somebody-else" not in path and "week=2026-W02" not in path:
        assert answer.status_code == 200
    answer.close()


@pytest.mark.parametrize("who", PARTIES)
@pytest.mark.parametrize(("path", "form"), [act for acts in ACTS.values() for act in acts])
def test_nothing_that_a_party_sends_touches_another_chain(
    together: Pages, fill: Callable[[str], str], who: str, path: str, form: dict[str, str]
) -> None:
    store = together.store
    tables = (
        "message",
        "delivery",
        "item",
        "lane",
        "failure_group",
        "job",
        "job_item",
        "alert",
        "event",
        "register_row",
        "account",
        "account_token",
        "telling",
        "proef",
    )
    browser = together.signed_in(who)
    before = {name: run_sql(store, f"SELECT * FROM {name}") for name in tables}
    filled = {name: fill(value) for name, value in form.items()}
    answer = browser.submit(fill(path), page="/openstaand", **filled)
    assert {name: run_sql(store, f"SELECT * FROM {name}") for name in tables} == before
    for word in OTHERS:
        assert word not in answer.text or word in str(filled) or _in_a_choice(word, answer.text), word


def test_those_who_may_look_at_everything_and_do_nothing_can_press_no_button(together: Pages, fill: Callable[[str], str]) -> None:
    doing = [act for path, acts in ACTS.items() if path not in ("/openstaand/zoek", "/weergaven", "/weergaven/vergeet") for act in acts]
    for path, form in doing:
        answer = together.signed_in("rina").submit(fill(path), page="/openstaand", **form)
        assert answer.status_code == 403, path


def test_without_a_session_every_address_leads_to_the_sign_in_page(together: Pages, fill: Callable[[str], str]) -> None:
    browser = together.browser()
    for path in (fill(path) for paths in LOOKS.values() for path in paths):
        answer = browser.get(path)
        assert answer.status_code == 401 if path.startswith("/api/") else "/inloggen" in answer.url, path
    for path in (fill(path) for acts in ACTS.values() for path, _ in acts):
        assert "/inloggen" in browser.post(path).url, path
