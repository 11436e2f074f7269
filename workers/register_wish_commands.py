"""`register mandate`, `endpoint`, `delegation` and `redivide`: what was typed becomes a wish, which the register's rules judge."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final

from routing.register import Register
from routing.register_rows import key_of
from routing.register_wishes import (
    ABSENT,
    AddEndpoint,
    ChangeEndpoint,
    Delegate,
    EndDelegation,
    EndEndpoint,
    EndMandate,
    EndMandates,
    GiveMandate,
    MoveAddress,
    Redivide,
    RevokeMandate,
    Wish,
)
from schemas.oin import Oin
from workers.commands import WrongArgument
from workers.register_work import Work, change_options, day_of, grant, oin_of, some_day

#: What stands for no URL in `endpoint move`.
MAILBOX: Final = "mailbox"

Common = Callable[[ArgumentParser], None]


def add_arguments(what: Any, common: Common) -> None:
    """The four, below `register`."""
    _mandate(what.add_parser("mandate", help="give, end or revoke a mandate; the endpoints under it are shortened with it"), common)
    _endpoint(what.add_parser("endpoint", help="add, change or end an endpoint, or move a system's address for all its schools"), common)
    _delegation(what.add_parser("delegation", help="let a region receive a dienst for a municipality, or end that"), common)
    redivide = what.add_parser("redivide", help="municipalities go up in another one, on 1 January")
    redivide.add_argument("--ended", metavar="OIN", action="append", default=[], help="a municipality that ends; may be repeated")
    redivide.add_argument("--into", metavar="OIN", required=True, help="the one that goes on")
    redivide.add_argument("--day", metavar="DAY", required=True, help="the first day of the new division")
    redivide.add_argument("--code", metavar="NNNN", action="append", default=[], help="a gemeentecode it has from then on; may be repeated")
    change_options(redivide)
    common(redivide)


def _mandate(parser: ArgumentParser, common: Common) -> None:
    how = parser.add_subparsers(dest="how", required=True, metavar="give|end|revoke")
    give = how.add_parser("give", help="a school, or a board for all its schools, lets a system act for it")
    give.add_argument("--organisation", metavar="OIN", required=True, help="organisation (OIN or BRIN), or board")
    give.add_argument("--dienst", metavar="CODE", required=True)
    give.add_argument("--system", metavar="OIN", required=True)
    give.add_argument("--from", dest="from_day", metavar="DAY", help="its first day (default: today)")
    give.add_argument("--until", metavar="DAY", help="its last day (default: none)")
    end = how.add_parser("end", help="a mandate's last day; what was handed in under it goes on")
    end.add_argument("--until", metavar="DAY", required=True, help="its last day; before its first day, it is taken back whole")
    revoke = how.add_parser("revoke", help="at once, and what was handed in under it goes no further")
    for one in (end, revoke):
        one.add_argument("token", nargs="?", metavar="TOKEN", help="the mandate; or name organisation, dienst and system")
        one.add_argument("--organisation", metavar="OIN", help="OIN or BRIN; to end those of all its schools, a board")
        one.add_argument("--dienst", metavar="CODE")
        one.add_argument("--system", metavar="OIN")
    _all(common, give, end, revoke)


def _endpoint(parser: ArgumentParser, common: Common) -> None:
    how = parser.add_subparsers(dest="how", required=True, metavar="add|change|end|move")
    add = how.add_parser("add", help="where an organisation receives a dienst version")
    add.add_argument("--organisation", metavar="OIN", help="OIN or BRIN (default: that of the routeringskenmerk)")
    add.add_argument("--routeringskenmerk", metavar="KENMERK", help="only for this administration of it")
    add.add_argument("--dienst", metavar="CODE", required=True)
    add.add_argument("--versie", metavar="VERSION", required=True)
    add.add_argument("--system", metavar="OIN", required=True)
    add.add_argument("--token", metavar="TOKEN", help="of the mandate (default: whichever covers the days)")
    add.add_argument("--from", dest="from_day", metavar="DAY", help="its first day (default: today, or the mandate's first)")
    add.add_argument("--until", metavar="DAY", help="its last day (default: the mandate's)")
    change = how.add_parser("change", help="its delivery or days")
    change.add_argument("id", metavar="ID")
    change.add_argument("--day", metavar="DAY", help="from this day on; until then it stays as it was (default: the row as a whole)")
    change.add_argument("--from", dest="from_day", metavar="DAY", help="another first day")
    change.add_argument("--until", metavar="DAY", help="another last day, or `none`")
    for one, required in ((add, True), (change, False)):
        where = one.add_mutually_exclusive_group(required=required)
        where.add_argument("--url", metavar="URL")
        where.add_argument("--mailbox", action="store_true", help="the system's mailbox")
        one.add_argument("--attribute", metavar="WORD", action="append", help="may be repeated")
        one.add_argument("--address", metavar="URI", help="wsa:To, where the backbone writes the envelope")
        one.add_argument("--at-once", metavar="N", type=int, help="calls under way at a time, at most")
        one.add_argument("--per-second", metavar="N", type=float, help="calls a second, at most")
    end = how.add_parser("end", help="its last day")
    end.add_argument("id", metavar="ID")
    end.add_argument("--until", metavar="DAY", required=True)
    move = how.add_parser("move", help="every endpoint of a system at one address goes to another, from a day on")
    move.add_argument("--system", metavar="OIN", required=True)
    move.add_argument("--old", metavar="URL", required=True, help="the address now, or `mailbox`")
    move.add_argument("--new", metavar="URL", required=True, help="the address from that day on, or `mailbox`")
    move.add_argument("--day", metavar="DAY", required=True)
    _all(common, add, change, end, move)


def _delegation(parser: ArgumentParser, common: Common) -> None:
    how = parser.add_subparsers(dest="how", required=True, metavar="give|end")
    give = how.add_parser("give", help="a region receives a dienst for a municipality")
    give.add_argument("--municipality", metavar="OIN", required=True)
    give.add_argument("--dienst", metavar="CODE", required=True)
    give.add_argument("--region", metavar="OIN", required=True)
    give.add_argument("--from", dest="from_day", metavar="DAY", help="its first day (default: today)")
    give.add_argument("--until", metavar="DAY", help="its last day (default: none)")
    end = how.add_parser("end", help="its last day")
    end.add_argument("id", metavar="ID")
    end.add_argument("--until", metavar="DAY", required=True)
    _all(common, give, end)


def _all(common: Common, *parsers: ArgumentParser) -> None:
    for parser in parsers:
        change_options(parser)
        common(parser)


def run(arguments: Namespace, work: Work) -> int:
    """One of them. Raises RuleBroken and WrongArgument."""
    make = _WISHES[arguments.what, getattr(arguments, "how", "")]
    return grant(arguments, work, lambda register: make(arguments, work, register))


def _give(given: Namespace, work: Work, register: Register) -> Wish:
    start, until = some_day(given.from_day), some_day(given.until)
    return GiveMandate(organisation=oin_of(given.organisation), dienst=given.dienst, system=oin_of(given.system), start=start, until=until)


def _end(given: Namespace, work: Work, register: Register) -> Wish:
    if not given.token and given.organisation and given.dienst and given.system and oin_of(given.organisation) in register.boards:
        board, system = oin_of(given.organisation), oin_of(given.system)
        return EndMandates(organisation=board, dienst=given.dienst, system=system, until=day_of(given.until))
    organisation, token = _token(given, work, register)
    return EndMandate(organisation=organisation, token=token, until=day_of(given.until))


def _revoke(given: Namespace, work: Work, register: Register) -> Wish:
    organisation, token = _token(given, work, register)
    return RevokeMandate(organisation=organisation, token=token)


def _token(given: Namespace, work: Work, register: Register) -> tuple[Oin, str]:
    """The mandate that was named by its token, or by what it is for. Raises WrongArgument when there is none, or more than one."""
    if given.token:
        rows = work.book.rows("mandates", key=given.token)
        if not rows:
            raise WrongArgument(f"There is no mandate {given.token[:60]}; `register show mandates` lists them.")
        return Oin(rows[0]["organisation"]), given.token
    if not (given.organisation and given.dienst and given.system):
        raise WrongArgument("Name the mandate by its token, or by --organisation, --dienst and --system.")
    organisation, system = oin_of(given.organisation), oin_of(given.system)
    mandates = [row for row in register.mandates_of(organisation, given.dienst) if row.system == system and not row.revoked]
    found = [row for row in mandates if row.until is None or row.until >= work.today]
    if len(found) != 1:
        which = f": {', '.join(key_of(row) for row in found)}; name one" if found else ""
        raise WrongArgument(f"{organisation} has {len(found)} current or coming mandates for {system} and {given.dienst[:40]}{which}.")
    return organisation, key_of(found[0])


def _add(given: Namespace, work: Work, register: Register) -> Wish:
    kenmerk = oin_of(given.routeringskenmerk) if given.routeringskenmerk else None
    if not given.organisation and kenmerk is None:
        raise WrongArgument("Say whose endpoint it is: --organisation or --routeringskenmerk.")
    return AddEndpoint(
        organisation=oin_of(given.organisation) if given.organisation else Oin(str(kenmerk)[:15] + "00000"),
        routeringskenmerk=kenmerk,
        dienst=given.dienst,
        versie=given.versie,
        system=oin_of(given.system),
        url=given.url,
        token=given.token,
        attributes=tuple(given.attribute or ()),
        start=some_day(given.from_day),
        until=some_day(given.until),
        more=_more(given),
    )


def _change(given: Namespace, work: Work, register: Register) -> Wish:
    fields: dict[str, Any] = {}
    if given.url or given.mailbox:
        fields["url"] = given.url
    if given.attribute is not None:
        fields["attributes"] = tuple(given.attribute)
    if given.from_day is not None:
        fields["start"] = day_of(given.from_day)
    if given.until is not None:
        fields["until"] = None if given.until == "none" else day_of(given.until)
    more = _more(given)
    if not fields and not more:
        raise WrongArgument("Say what is to change: --url, --mailbox, --until, or another option of `register endpoint change --help`.")
    return ChangeEndpoint(id=given.id, day=some_day(given.day), more=more, **{"url": ABSENT} | fields)


def _more(given: Namespace) -> dict[str, Any]:
    named = {"address": given.address, "at_once": given.at_once, "per_second": given.per_second}
    return {name: value for name, value in named.items() if value is not None}


def _end_endpoint(given: Namespace, work: Work, register: Register) -> Wish:
    return EndEndpoint(id=given.id, until=day_of(given.until))


def _move(given: Namespace, work: Work, register: Register) -> Wish:
    old, new = (None if url == MAILBOX else url for url in (given.old, given.new))
    return MoveAddress(system=oin_of(given.system), old=old, new=new, day=day_of(given.day))


def _delegate(given: Namespace, work: Work, register: Register) -> Wish:
    start, until = some_day(given.from_day), some_day(given.until)
    municipality, region = oin_of(given.municipality), oin_of(given.region)
    return Delegate(municipality=municipality, dienst=given.dienst, region=region, start=start, until=until)


def _end_delegation(given: Namespace, work: Work, register: Register) -> Wish:
    return EndDelegation(id=given.id, until=day_of(given.until))


def _redivide(given: Namespace, work: Work, register: Register) -> Wish:
    if not given.ended and not given.code:
        raise WrongArgument("Say what changes: --ended or --code.")
    ended = tuple(oin_of(oin) for oin in given.ended)
    return Redivide(ended=ended, into=oin_of(given.into), day=day_of(given.day), codes=tuple(given.code))


_WISHES: Final[Mapping[tuple[str, str], Callable[[Namespace, Work, Register], Wish]]] = {
    ("mandate", "give"): _give,
    ("mandate", "end"): _end,
    ("mandate", "revoke"): _revoke,
    ("endpoint", "add"): _add,
    ("endpoint", "change"): _change,
    ("endpoint", "end"): _end_endpoint,
    ("endpoint", "move"): _move,
    ("delegation", "give"): _delegate,
    ("delegation", "end"): _end_delegation,
    ("redivide", ""): _redivide,
}
