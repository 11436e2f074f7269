"""What people read: Dutch and English, what happened, how many, since when, whose turn, what to do; and nothing of a person."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest

from routing.alerts import Alert, AlertState, Cause, Kind, Letter
from routing.board import Flow, Report, ReportLine
from routing.contacts import Channel, Contact, ContactRole
from routing.tellings import Written, new_id
from schemas.faults import CODES
from schemas.privacy import PERSONAL_NUMBER
from workers.alert_words import MOST, Day, Words, write_alerts, write_digest, write_report, write_test

LAS, OURS = "00000001900000001000", "00000099000000010000"
AT = int(datetime(2026, 7, 1, 8, 2, tzinfo=UTC).timestamp() * 1e6)
WORDS = Words(portal="https://portaal.example.nl", ours=OURS, name=lambda oin: "LAS <Een> & Twee")
CONTACT = Contact(id="c", party=LAS, role=ContactRole.TECHNICAL, channel=Channel.EMAIL, address="a@example.nl")


def an_alert(kind: Kind = Kind.FAILURES, **more: object) -> Alert:
    code = CODES["Client.DK0004"]
    fields: dict[str, object] = {
        "cause": Cause(kind=kind, partner=LAS, dienst="vva", code=code.code, about="supplier"),
        "state": AlertState.OPEN,
        "size": 5_000,
        "since_us": AT,
        "last_us": AT + 600_000_000,
        "opened_us": AT,
        "says": (code.nl, code.en),
        "do": (code.remedy_nl, code.remedy_en),
        "role": ContactRole.TECHNICAL,
    }
    return Alert(**(fields | more))  # type: ignore[arg-type]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]


def tags(html: str) -> _Tags:
    found = _Tags()
    found.feed(html)
    return found


def test_an_alert_says_what_how_many_since_when_whose_turn_and_what_to_do_in_two_languages() -> None:
    made = write_alerts(Letter(contact=CONTACT, alerts=(an_alert(),)), WORDS)
    dutch, _, english = made.text.partition("In English")
    for said, text in (
        (dutch, "5.000 keer in het afgelopen etmaal; sinds 01-07-2026 10:02, het laatst 01-07-2026 10:12"),
        (dutch, f"Wie is aan zet: leverancier, LAS <Een> & Twee ({LAS})"),
        (dutch, "Wat te doen: Herstel dit in het verzendende systeem"),
        (english, "5,000 times in the last 24 hours; since 01-07-2026 10:02, last 01-07-2026 10:12"),
        (english, f"Whose turn it is: supplier, LAS <Een> & Twee ({LAS})"),
        (english, "What to do: Mend this in the sending system"),
    ):
        assert text in said
    link = f"https://portaal.example.nl/openstaand?lijst=uitval&dienst=vva&systeem={LAS}&code=Client.DK0004"
    assert link in made.text
    found = tags(made.html)
    assert "een" not in found.tags and found.links[0] == link


def test_an_english_contact_reads_english_first() -> None:
    made = write_alerts(Letter(contact=replace(CONTACT, language="en"), alerts=(an_alert(),)), WORDS)
    assert made.subject == "[Koppelpunt] Message does not conform to its XSD"
    assert made.text.index("What to do") < made.text.index("In het Nederlands") < made.text.index("Wat te doen")


def test_a_hundred_causes_are_twenty_and_a_number() -> None:
    many = tuple(an_alert(cause=Cause(kind=Kind.FAILURES, partner=LAS, code=f"C{n}", about="us")) for n in range(100))
    made = write_alerts(Letter(contact=CONTACT, alerts=many), WORDS)
    assert made.subject.endswith("(en nog 99)")
    assert made.text.count("Wat te doen") == MOST
    assert "En nog 80 meldingen" in made.text


def test_one_partners_many_causes_do_not_take_the_place_of_anothers() -> None:
    causes = [Cause(kind=Kind.FAILURES, partner=LAS, code=f"C{n}") for n in range(30)]
    many = tuple(an_alert(cause=cause) for cause in (*causes, Cause(kind=Kind.PAUSED, partner=f"{LAS[:-1]}9")))
    made = write_alerts(Letter(contact=replace(CONTACT, party=OURS), alerts=many), WORDS)
    assert made.text.count("Wat te doen") == 6
    assert f"{LAS[:-1]}9" in made.text
    assert "En nog 25 meldingen" in made.text


def test_whoever_hears_of_anothers_alert_reads_that_nobody_took_it() -> None:
    ours = replace(CONTACT, party=OURS)
    assert "nog niemand aangenomen" in write_alerts(Letter(contact=ours, alerts=(an_alert(),)), WORDS).text
    assert "nog niemand aangenomen" not in write_alerts(Letter(contact=CONTACT, alerts=(an_alert(),)), WORDS).text


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_alert_can_be_told_and_followed(kind: Kind) -> None:
    made = write_alerts(Letter(contact=CONTACT, alerts=(an_alert(kind),)), WORDS)
    assert "https://portaal.example.nl/" in made.text
    assert "{" not in made.text
    without = write_alerts(Letter(contact=CONTACT, alerts=(an_alert(kind),)), replace(WORDS, portal=""))
    assert "https://" not in without.text


def test_a_digest_shows_what_stands_what_is_well_again_and_who_took_what() -> None:
    taken = an_alert(state=AlertState.ACKNOWLEDGED, who="Anna", why="ticket 12", times=3)
    over = an_alert(state=AlertState.CLOSED, says=("Weg", "Gone"))
    day = Day(day=date(2026, 7, 1), standing=[taken], closed=[over], fallen={"Client.DK0004": 1_200, "ODD": 3}, waiting=40)
    made = write_digest(day, CONTACT, WORDS)
    assert made.subject == "[Koppelpunt] Dagoverzicht 01-07-2026"
    for text in (
        "Openstaand: 40; Uitval: 1.203",
        "Aangenomen door Anna: ticket 12",
        "Dit is de 3e keer",
        "Weg (",
        "3 x ODD",
        "Taken by Anna",
    ):
        assert text in made.text
    assert not Day(day=date(2026, 7, 1), standing=[], closed=[], fallen={}, waiting=40)


def test_a_report_has_every_number_in_its_csv() -> None:
    flow = Flow(handed_in=1_500, refused=12, delivered=1_400, failed=30, took_s=140_000, in_minute=700, in_hour=1_330, in_day=1_400)
    line = ReportLine(code="Client.DK0004", owner="supplier", dienst="vva", fallen=12, schools=3, still_open=2)
    report = Report(
        system=LAS,
        monday=date(2026, 6, 29),
        flows={"vva": flow},
        received={"oso": flow},
        codes=(line,),
        received_codes=(replace(line, code="NOT_ENROLLED", dienst="oso"),),
        waiting=58,
        fallen=2,
        oldest_us=AT,
    )
    made = write_report([report], date(2026, 6, 29), CONTACT, WORDS)
    assert made.subject == "[Koppelpunt] Weekoverzicht 2026-W27 (29-06 t/m 05-07-2026)"
    said = "vva: aangeleverd 1.500, geweigerd 12, geleverd 1.400, uitgevallen 30; gemiddeld 100 seconden, 95% binnen een uur"
    assert said in made.text
    assert "oso: ontvangen 1.400, uitgevallen 30" in made.text
    assert "12 x Client.DK0004: Bericht niet conform XSD (vva); nog open: 2; aan zet: leverancier" in made.text
    assert "12 x NOT_ENROLLED" in made.text.split("van wat voor dit systeem was")[1]
    assert "Openstaand: 58 (oudste 01-07-2026 10:02); Uitval: 2" in made.text
    assert made.attachment is not None
    name, text = made.attachment
    rows = list(csv.DictReader(io.StringIO(text)))
    assert name == "koppelpunt-2026-W27.csv"
    assert {(row["what"], row["dienst"]): row["number"] for row in rows}[("received_in_hour", "oso")] == "1330"
    assert [(row["code"], row["number"]) for row in rows if row["what"] == "received_fallen"] == [("NOT_ENROLLED", "12")]
    assert [row["number"] for row in rows if row["what"] in ("fallen", "schools", "still_open", "waiting_now")] == ["12", "3", "2", "58"]


@pytest.mark.parametrize("number", ["999900006", "9999.00.006", "999 900 006"])
def test_whatever_has_the_shape_of_a_personal_number_is_masked(number: str) -> None:
    words = replace(WORDS, name=lambda oin: f"Jan {number}")
    cause = Cause(kind=Kind.PAUSED, partner=LAS, dienst=number, code=number, about=f"push x https://a/{number}")
    one = an_alert(cause=cause, says=(f"fout {number}", f"wrong {number}"), do=(number, number), size=999_900_006, who=number, why=number)
    day = Day(day=date(2026, 7, 1), standing=[one], closed=[one], fallen={number: 999_900_006}, waiting=999_900_006)
    for made in (
        write_alerts(Letter(contact=CONTACT, alerts=(one,)), words),
        write_digest(day, CONTACT, words),
        write_test(CONTACT, words),
    ):
        assert not PERSONAL_NUMBER.search(f"{made.subject} {made.text} {made.html}")
        assert not PERSONAL_NUMBER.search(made.as_json())


def test_a_message_comes_out_of_the_store_as_it_went_in() -> None:
    made = write_test(CONTACT, WORDS)
    assert Written.from_json(made.as_json()) == made
    with_csv = replace(made, attachment=("a.csv", "x,y\r\n"))
    assert Written.from_json(with_csv.as_json()) == with_csv


def test_ids_of_messages_have_no_shape_of_a_personal_number() -> None:
    assert not any(PERSONAL_NUMBER.search(new_id(4)) for _ in range(2_000))
