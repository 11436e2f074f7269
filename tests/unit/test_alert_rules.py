"""When something is an alert, who hears of it and when: one per cause, and no storm whatever happens."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.alert_signals import Facts, Failing, HeldLane, Standing, held_since, signals
from routing.alerts import (
    Alert,
    AlertState,
    Cause,
    Count,
    Kind,
    Letter,
    Pace,
    Plan,
    Rules,
    Signal,
    What,
    backoff_s,
    decide,
    digest_day,
    report_week,
)
from routing.contacts import Channel, Contact, ContactRole, QuietHours, check_mail_address, for_cause, parse_quiet
from routing.warnings import Warning, WarningKind
from schemas.faults import Owner
from schemas.oin import Oin
from schemas.privacy import PERSONAL_NUMBER

OURS, LAS, GEMEENTE, SCHOOL = "00000099000000010000", "00000001900000001000", "00000001900000002000", "0000000700000AV00000"
NOON = datetime(2026, 11, 25, 11, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)


def us(at: datetime) -> int:
    return int(at.timestamp() * 1e6)


def a_contact(id: str, party: str = LAS, **more: object) -> Contact:
    fields: dict[str, object] = {"role": ContactRole.TECHNICAL, "channel": Channel.EMAIL, "address": f"{id}@example.nl"}
    return Contact(id=id, party=party, **(fields | more))  # type: ignore[arg-type]


def a_signal(
    at: datetime, n: int = 5_000, of: int | None = None, *, partner: str = LAS, code: str = "Client.DK0004", **more: object
) -> Signal:
    fields: dict[str, object] = {
        "cause": Cause(kind=Kind.FAILURES, partner=partner, dienst="vva", code=code, about="supplier"),
        "counts": (Count(n, of), Count(n, of)),
        "since_us": us(at),
        "last_us": us(at),
        "size": n,
        "says": ("fout", "wrong"),
        "do": ("herstel", "mend"),
    }
    return Signal(**(fields | more))  # type: ignore[arg-type]


class World:
    """Looks in a row, remembering what a store would."""

    def __init__(self, *contacts: Contact, rules: Rules | None = None) -> None:
        self.contacts, self.rules = contacts, rules or Rules()
        self.known: dict[Cause, Alert] = {}
        self.sent: dict[str, list[tuple[int, Pace]]] = defaultdict(list)
        self.letters: list[tuple[datetime, Letter]] = []

    def look(self, now: datetime, *found: Signal) -> Plan:
        plan = decide(now, found, self.known.values(), self.contacts, self.sent, self.rules, ours=OURS)
        self.known |= {alert.cause: alert for alert in plan.changed}
        for letter in plan.letters:
            self.sent[letter.contact.id].append((us(now), letter.pace))
            self.letters.append((now, letter))
        return plan

    def told(self) -> list[str]:
        return [letter.contact.id for _, letter in self.letters]

    def the_alert(self) -> Alert:
        (one,) = self.known.values()
        return one


# -- thresholds ------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "of", "enough"),
    [
        (4, 4, False),
        (5, 10, True),
        (5, 11, False),
        (20, 200, True),
        (20, 201, False),
        (100, 10000, True),
        (99, 10000, False),
        (1000, 10**9, True),
        (999, 10**9, False),
        (5, None, True),
        (0, 0, False),
    ],
)
def test_few_failures_are_an_alert_when_nearly_all_fail_and_many_when_few_do(n: int, of: int | None, enough: bool) -> None:
    assert bool(World().look(NOON, a_signal(NOON, n, of)).happened) is enough


def test_a_poisoned_message_is_an_alert_alone() -> None:
    facts = Facts(failures=[Failing(code="POISON", owner="us", dienst="vva", party="", hour=1, day=1, first_us=us(NOON), last_us=us(NOON))])
    (found,) = signals(facts, (), NOON, ours=OURS)
    assert found.cause.partner == OURS
    assert World().look(NOON, found).happened[0][0] is What.OPENED


def test_an_endpoint_that_is_held_for_a_moment_is_no_alert_and_one_that_stays_so_is() -> None:
    lane = HeldLane(lane=f"push {LAS} https://a.example/x", code="ENDPOINT_UNREACHABLE", probes=0, at_us=us(NOON), by_hand=False, waiting=7)
    found = signals(Facts(held=[lane]), (), NOON, ours=OURS)
    assert not World().look(NOON + timedelta(minutes=14), *found).happened
    plan = World().look(NOON + timedelta(minutes=15), *found)
    assert [(what, alert.size, alert.cause.partner) for what, alert in plan.happened] == [(What.OPENED, 7, LAS)]


def test_since_when_a_lane_is_held_follows_from_its_failed_probes() -> None:
    lane = HeldLane(lane="push x y", code=None, probes=6, at_us=us(NOON), by_hand=False, waiting=0)
    assert us(NOON) - held_since(lane) == (30 + 60 + 120 + 300 * 3) * 1_000_000


def test_all_held_endpoints_of_a_system_are_one_alert_and_what_the_operator_holds_is_ours() -> None:
    def lane(url: str, *, by_hand: bool = False) -> HeldLane:
        return HeldLane(lane=f"push {LAS} {url}", code="ENDPOINT_UNREACHABLE", probes=9, at_us=us(NOON), by_hand=by_hand, waiting=1)

    found = signals(
        Facts(held=[*(lane(f"https://a.example/{n}") for n in range(300)), lane("https://b", by_hand=True)]), (), NOON, ours=OURS
    )
    assert sorted((one.cause.partner, one.size) for one in found) == [(LAS, 300), (OURS, 1)]


def test_a_mailbox_is_named_when_something_stood_in_it_for_a_day() -> None:
    def standing(hours: int) -> list[Signal]:
        return signals(Facts(mailboxes=[Standing(system=LAS, oldest_us=us(NOON - hours * HOUR), count=3)]), (), NOON, ours=OURS)

    assert not standing(23)
    assert [(one.cause.kind, one.cause.partner, one.size) for one in standing(24)] == [(Kind.UNFETCHED, LAS, 3)]


def test_five_hundred_mandates_that_end_are_one_alert_for_their_system_and_one_more_at_each_horizon() -> None:
    def ending(within: int) -> list[Warning]:
        return [
            Warning(
                key=f"mandate-ends {n}",
                kind=WarningKind.MANDATE_ENDS,
                nl="",
                en="",
                owner=Owner.SCHOOL,
                organisation=Oin(SCHOOL),
                system=Oin(LAS),
                day=date(2027, 1, 1),
                within=within,
            )
            for n in range(500)
        ]

    found = signals(Facts(), ending(60), NOON, ours=OURS, knows=lambda party: party == LAS)
    assert [(one.cause.partner, one.size) for one in found] == [(LAS, 500)]
    assert found[0].says[0] == "Mandaten eindigen binnen 60 dagen, zonder opvolger"
    assert signals(Facts(), ending(30), NOON, ours=OURS)[0].cause.id != found[0].cause.id
    to_school = signals(Facts(), ending(60), NOON, ours=OURS, knows=lambda party: True)
    assert to_school[0].cause.partner == SCHOOL, "it is the school's turn, and it told us whom to write to"


def test_our_own_workers_that_lag_or_are_gone_are_told_to_us_at_any_hour() -> None:
    night = datetime(2026, 11, 25, 1, tzinfo=UTC)
    facts = Facts(unchained_us=us(night - HOUR), overdue_us=us(night - HOUR), missing={"relay": us(night - HOUR)})
    world = World(a_contact("ops", OURS, quiet=parse_quiet("18:00-08:00")))
    world.look(night, *signals(facts, (), night, ours=OURS))
    assert sorted(alert.cause.about for alert in world.known.values()) == ["audit", "no relay", "timetable"]
    assert world.told() == ["ops"]


def test_a_worker_that_lags_for_a_moment_is_nothing() -> None:
    assert not signals(Facts(unchained_us=us(NOON) - 59_000_000, overdue_us=us(NOON) - 299_000_000), (), NOON, ours=OURS)


# -- who hears ------------------------------------------------------------


def test_one_faulty_release_is_one_message_to_its_supplier_however_often_we_look() -> None:
    world = World(a_contact("a"), a_contact("ops", OURS))
    for minute in range(180):
        world.look(NOON + timedelta(minutes=minute), a_signal(NOON + timedelta(minutes=minute), 100 * (minute + 1)))
    assert world.told() == ["a"]
    assert world.the_alert().size == 18_000


def test_the_contact_of_the_dienst_and_of_the_role_goes_first_and_any_other_is_better_than_none() -> None:
    everything, vva = a_contact("all"), a_contact("vva", dienst="vva")
    functional = a_contact("f", role=ContactRole.FUNCTIONAL)
    assert for_cause([everything, vva], LAS, "vva", ContactRole.TECHNICAL) == ((vva,),)
    assert for_cause([everything, vva], LAS, "oso", ContactRole.TECHNICAL) == ((everything,),)
    assert for_cause([everything, functional], LAS, "vva", ContactRole.FUNCTIONAL) == ((functional,),)
    assert for_cause([everything], LAS, "vva", ContactRole.FUNCTIONAL) == ((everything,),)
    assert for_cause([everything], GEMEENTE, "vva", ContactRole.TECHNICAL) == ()


def test_a_partner_without_contacts_is_told_to_us() -> None:
    world = World(a_contact("ops", OURS))
    world.look(NOON, a_signal(NOON))
    assert world.told() == ["ops"]


def test_what_nobody_takes_goes_to_the_next_contact_and_then_to_us_and_no_further() -> None:
    world = World(a_contact("first"), a_contact("second", step=2), a_contact("ops", OURS))
    for hour in range(40):
        world.look(NOON + hour * HOUR, a_signal(NOON + hour * HOUR))
    assert [(at - NOON, letter.contact.id) for at, letter in world.letters] == [
        (0 * HOUR, "first"),
        (4 * HOUR, "second"),
        (8 * HOUR, "ops"),
    ]


def test_what_somebody_took_is_told_to_nobody_else() -> None:
    from dataclasses import replace

    world = World(a_contact("first"), a_contact("second", step=2))
    world.look(NOON, a_signal(NOON))
    one = world.the_alert()
    world.known[one.cause] = replace(one, state=AlertState.ACKNOWLEDGED, who="somebody")
    for hour in range(1, 24):
        world.look(NOON + hour * HOUR, a_signal(NOON + hour * HOUR))
    assert world.told() == ["first"]
    assert world.the_alert().state is AlertState.ACKNOWLEDGED


def test_what_the_partner_has_under_a_ticket_is_told_to_nobody_until_its_day_has_passed() -> None:
    world = World(a_contact("first"), a_contact("second", step=2))
    world.look(NOON, a_signal(NOON))
    for hour in range(1, 30):
        at = NOON + hour * HOUR
        world.look(at, a_signal(at, ticket="T-12" if hour < 24 else None))
        assert (world.the_alert().state is AlertState.ACKNOWLEDGED) is (hour < 24)
    assert [(at - NOON, letter.contact.id) for at, letter in world.letters] == [
        (0 * HOUR, "first"),
        (24 * HOUR, "first"),
        (28 * HOUR, "second"),
    ]
    new = World(a_contact("first"))
    new.look(NOON, a_signal(NOON, ticket="T-12"))
    assert (new.the_alert().who, new.the_alert().why, new.told()) == ("ticket", "T-12", [])


def test_an_alert_closes_when_it_is_calm_and_opens_again_when_it_comes_back() -> None:
    world = World(a_contact("a"))
    world.look(NOON, a_signal(NOON))
    assert [what for what, _ in world.look(NOON + 3 * HOUR, a_signal(NOON)).happened] == []
    assert [what for what, _ in world.look(NOON + 4 * HOUR, a_signal(NOON)).happened] == [What.CLOSED]
    later = NOON + 6 * HOUR
    assert [what for what, _ in world.look(later, a_signal(later)).happened] == [What.REOPENED, What.TOLD]
    assert world.the_alert().times == 2
    assert world.told() == ["a", "a"]


def test_an_alert_of_which_less_than_half_is_left_closes() -> None:
    world = World(a_contact("a"))
    world.look(NOON, a_signal(NOON, 10, 20))
    assert not world.look(NOON + HOUR, a_signal(NOON + HOUR, 3, 12)).happened
    assert [what for what, _ in world.look(NOON + 2 * HOUR, a_signal(NOON + 2 * HOUR, 3, 13)).happened] == [What.CLOSED]


def test_one_that_flaps_is_told_again_every_four_hours_at_most() -> None:
    world = World(a_contact("a"))
    for minutes in range(0, 24 * 60, 30):
        at = NOON + timedelta(minutes=minutes)
        signal = a_signal(at, cause=Cause(kind=Kind.PAUSED, partner=LAS), since_us=us(at - HOUR))
        world.look(at, *([signal] if minutes // 30 % 2 == 0 else []))
        world.look(at + timedelta(minutes=15), *([signal] if minutes // 30 % 2 == 0 else []))
    assert world.the_alert().times > 20
    assert len(world.told()) <= 6


def test_new_causes_within_a_quarter_of_an_hour_wait_and_come_in_one_message() -> None:
    world = World(a_contact("a"))
    found: list[Signal] = []
    for minute in range(15):
        found.append(a_signal(NOON, code=f"C{minute}"))
        world.look(NOON + timedelta(minutes=minute), *found)
    world.look(NOON + timedelta(minutes=15), *found)
    assert [len(letter.alerts) for _, letter in world.letters] == [1, 14]


def test_a_day_full_of_new_causes_is_twelve_messages_that_tell_of_all_of_them_in_the_end() -> None:
    world = World(a_contact("a"))
    found: list[Signal] = []
    for quarter in range(4 * 24):
        at = NOON + timedelta(minutes=15 * quarter)
        found.append(a_signal(at, code=f"C{quarter}"))
        world.look(at, *(a_signal(at, cause=one.cause) for one in found))
    assert len(world.letters) == 12
    assert world.letters[-1][0] == NOON + timedelta(minutes=15 * 11)
    world.look(NOON + 24 * HOUR, *(a_signal(NOON + 24 * HOUR, cause=one.cause) for one in found))
    assert sum(len(letter.alerts) for _, letter in world.letters) == 4 * 24


def test_a_partner_with_many_causes_does_not_keep_what_is_urgent_or_our_own_from_us() -> None:
    world = World(a_contact("ops", OURS))
    found: list[Cause] = []
    behind = Cause(kind=Kind.BEHIND, partner=OURS, about="deliver")
    own = Cause(kind=Kind.WARNING, partner=OURS, code="w")
    for quarter in range(4 * 16):
        at = NOON + timedelta(minutes=15 * quarter)
        found.append(a_signal(at, partner=f"0000000190000{quarter:03}2000", code="C").cause)
        world.look(at, *(a_signal(at, cause=one) for one in found))
    assert len(world.letters) == 12
    at = NOON + 16 * HOUR
    begun = us(at - HOUR)
    world.look(at, a_signal(at, cause=behind, urgent=True, since_us=begun), a_signal(at, cause=own, since_us=begun))
    assert world.letters[-1][0] == at
    assert [one.cause for one in world.letters[-1][1].alerts] == [behind, own]


def test_our_own_and_urgent_causes_are_no_storm_either() -> None:
    world = World(a_contact("ops", OURS))
    found: list[Signal] = []
    for quarter in range(4 * 24):
        at = NOON + timedelta(minutes=15 * quarter)
        found += [a_signal(at, partner=OURS, code=f"C{quarter}"), a_signal(at, partner=OURS, code=f"U{quarter}", urgent=True)]
        world.look(at, *(a_signal(at, cause=one.cause, urgent=one.urgent) for one in found))
    assert Counter(letter.pace for _, letter in world.letters) == {Pace.URGENT: 12, Pace.OWN: 12}


def test_of_one_partner_we_hear_every_four_hours_of_all_its_causes_together() -> None:
    world = World(a_contact("ops", OURS))
    found: list[Signal] = []
    for quarter in range(4 * 12):
        at = NOON + timedelta(minutes=15 * quarter)
        found.append(a_signal(at, code=f"C{quarter}"))
        world.look(at, *(a_signal(at, cause=one.cause) for one in found))
    assert [(at - NOON, len(letter.alerts)) for at, letter in world.letters] == [(0 * HOUR, 1), (4 * HOUR, 16), (8 * HOUR, 16)]


def test_a_step_whose_contact_is_not_to_be_disturbed_is_waited_for_and_not_passed_over() -> None:
    world = World(a_contact("first"), a_contact("second", step=2, quiet=parse_quiet("12:00-20:00")), a_contact("ops", OURS))
    for hour in range(20):
        world.look(NOON + hour * HOUR, a_signal(NOON + hour * HOUR))
    assert [(at - NOON, letter.contact.id) for at, letter in world.letters] == [
        (0 * HOUR, "first"),
        (8 * HOUR, "second"),  # 20:00 in Amsterdam
        (12 * HOUR, "ops"),
    ]


def test_what_is_gone_again_is_not_told_while_we_wait_whether_it_stays_away() -> None:
    world = World(a_contact("a", quiet=parse_quiet("12:00-13:00")))  # it is noon in Amsterdam
    at = NOON
    world.look(at, a_signal(at, cause=Cause(kind=Kind.PAUSED, partner=LAS), since_us=us(at - HOUR)))
    for minutes in (50, 55, 60, 64):
        world.look(NOON + timedelta(minutes=minutes))
    assert world.told() == []
    assert world.the_alert().state is AlertState.OPEN


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40),  # minutes until the next look
            st.lists(
                st.tuples(st.sampled_from([LAS, GEMEENTE, OURS]), st.integers(0, 12), st.integers(0, 100_000), st.sampled_from(list(Kind))),
                max_size=12,
            ),
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_no_storm_whatever_happens(looks: list[tuple[int, list[tuple[str, int, int, Kind]]]], urgent: bool) -> None:
    """However causes come, go and come back: never two messages in a quarter of an hour to one contact, never more than twelve of a pace in
    24 hours, and never the same alert twice to the same contact within four hours."""
    world = World(
        a_contact("a"), a_contact("b", step=2), a_contact("c", GEMEENTE, quiet=parse_quiet("12:30-13:00")), a_contact("ops", OURS)
    )
    now = NOON
    for minutes, found in looks:
        now += timedelta(minutes=minutes)
        made = [
            a_signal(now, n, partner=partner, code=f"C{code}", cause=Cause(kind=kind, partner=partner, code=f"C{code}"), urgent=urgent)
            for partner, code, n, kind in found
        ]
        world.look(now, *{one.cause: one for one in made}.values())
    for id in ("a", "b", "c", "ops"):
        at = [when for when, letter in world.letters if letter.contact.id == id]
        assert all(after - before >= timedelta(minutes=15) for before, after in itertools.pairwise(at))
        for pace in Pace:
            paced = [when for when, letter in world.letters if letter.contact.id == id and letter.pace is pace]
            assert all(sum(one <= other < one + 24 * HOUR for other in paced) <= 12 for one in paced)
        told = [(when, alert.id) for when, letter in world.letters if letter.contact.id == id for alert in letter.alerts]
        for when, alert in told:
            assert not [1 for other, same in told if same == alert and when < other < when + 4 * HOUR]
    assert all(not letter.contact.quiet.cover(when) or urgent for when, letter in world.letters)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["", "few", "many"]), max_size=40))
def test_every_alert_that_stays_is_told_in_the_end_and_every_one_that_goes_is_closed(course: list[str]) -> None:
    world = World(a_contact("a", quiet=parse_quiet("18:00-08:00 za zo")))
    now = NOON
    for step in course:
        now += HOUR
        world.look(now, *([a_signal(now, 3 if step == "few" else 5_000)] if step else []))
    before = len(world.letters)
    for _ in range(80):
        now += HOUR
        world.look(now, a_signal(now))
    assert world.the_alert().told == {"a"}
    assert len(world.letters) - before <= 1
    for _ in range(5):
        now += HOUR
        world.look(now)
    assert world.the_alert().state is AlertState.CLOSED


# -- quiet hours ------------------------------------------------------------


def test_in_quiet_hours_an_alert_waits_until_they_are_over_and_what_is_urgent_does_not() -> None:
    evening = datetime(2026, 11, 25, 17, 30, tzinfo=UTC)  # 18:30 in Amsterdam
    world = World(a_contact("a", quiet=parse_quiet("18:00-08:00")))
    for quarter in range(4 * 20):
        at = evening + timedelta(minutes=15 * quarter)
        world.look(at, a_signal(at))
    assert [at for at, _ in world.letters] == [datetime(2026, 11, 26, 7, tzinfo=UTC)]
    urgent = World(a_contact("a", quiet=parse_quiet("18:00-08:00")))
    urgent.look(evening, a_signal(evening, urgent=True))
    assert urgent.told() == ["a"]


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        ("2026-10-25T00:29+00:00", False),  # 02:29 summer time
        ("2026-10-25T00:30+00:00", True),  # 02:30
        ("2026-10-25T00:59+00:00", True),
        ("2026-10-25T01:00+00:00", False),  # 02:00 once more, winter time
        ("2026-10-25T01:30+00:00", True),  # 02:30 once more
        ("2026-10-25T02:00+00:00", False),  # 03:00
        ("2027-03-28T00:59+00:00", False),  # 01:59; the next minute is 03:00
        ("2027-03-28T01:00+00:00", False),
    ],
)
def test_quiet_hours_are_those_on_the_clock_when_it_is_put_back_or_forward(at: str, quiet: bool) -> None:
    assert parse_quiet("02:30-03:00").cover(datetime.fromisoformat(at)) is quiet


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        ("2026-11-27T16:59+00:00", False),  # Friday 17:59
        ("2026-11-27T17:00+00:00", True),
        ("2026-11-28T11:00+00:00", True),  # Saturday noon
        ("2026-11-29T22:59+00:00", True),  # Sunday 23:59
        ("2026-11-30T06:59+00:00", True),  # Monday 07:59
        ("2026-11-30T07:00+00:00", False),
    ],
)
def test_a_weekend_is_quiet_to_whoever_says_so(at: str, quiet: bool) -> None:
    assert parse_quiet("18:00-08:00 za zo").cover(datetime.fromisoformat(at)) is quiet


@given(st.sampled_from(["", "18:00-08:00", "za zo", "12:00-13:00 ma", "00:00-23:59 zo"]))
def test_quiet_hours_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_quiet(text)) == text


@pytest.mark.parametrize("text", ["25:00-08:00", "18:00", "zat", "18:00-08:00 12:00-13:00", "8-18"])
def test_quiet_hours_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as '18:00-08:00 za zo'"):
        parse_quiet(text)


def test_no_quiet_hours_are_never_quiet() -> None:
    assert not any(QuietHours().cover(NOON + hour * HOUR) for hour in range(200))


@pytest.mark.parametrize(
    "text", ["a@b.nl\nBcc: x@y.nl", "a b@c.nl", "a@", "@b.nl", "a@b..nl", "a@-b.nl", "<a@b.nl>", "a@b.nl,c@d.nl", "á@b.nl"]
)
def test_what_could_add_a_header_or_another_receiver_is_no_mail_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an e-mail address"):
        check_mail_address(text)


# -- times ------------------------------------------------------------


def test_a_digest_is_due_from_its_hour_on_and_a_report_from_mondays_on() -> None:
    rules = Rules()
    assert digest_day(datetime(2026, 11, 27, 6, 59, tzinfo=UTC), rules) is None
    assert digest_day(datetime(2026, 11, 27, 7, 0, tzinfo=UTC), rules) == date(2026, 11, 27)
    assert report_week(datetime(2026, 11, 30, 6, 59, tzinfo=UTC), rules) is None
    assert report_week(datetime(2026, 11, 30, 7, 0, tzinfo=UTC), rules) == date(2026, 11, 23)
    assert report_week(datetime(2026, 12, 4, 7, 0, tzinfo=UTC), rules) == date(2026, 11, 23), "the machine was down on Monday"


def test_what_is_not_taken_is_tried_for_two_days_ever_less_often() -> None:
    waits = [wait for n in range(1, 60) if (wait := backoff_s(n)) is not None]
    assert waits == sorted(waits)
    assert 40 * 3_600 < sum(waits) < 56 * 3_600
    assert backoff_s(60) is None


def test_ids_of_alerts_have_no_shape_of_a_personal_number_and_are_each_causes_own() -> None:
    ids = Counter(Cause(kind=Kind.FAILURES, partner=LAS, code=str(n)).id for n in range(2_000))
    assert max(ids.values()) == 1
    assert not any(PERSONAL_NUMBER.search(id) for id in ids)
