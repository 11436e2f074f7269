"""The command `certificate`: our own certificate, the next one, and which of the two is used towards whom.

`run.py` passes in what reads certificates and what keeps the steps.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from routing.amsterdam import start_of_day
from routing.register import Register
from routing.rollover import NextCertificate, RollOver, Standing
from schemas.oin import parse_oin
from workers.clock import micros
from workers.commands import WrongArgument
from workers.tables import print_json, print_table, say, when


class Steps(Protocol):
    """The store's side."""

    def read(self) -> RollOver: ...

    def change(
        self, step: Callable[[RollOver], RollOver], *, kind: str, who: str, now_us: int, systems: Iterable[str] = ()
    ) -> RollOver: ...


class Certificate(Protocol):
    """What is shown of a certificate."""

    @property
    def sha256(self) -> str: ...

    @property
    def pem(self) -> str: ...

    @property
    def oin(self) -> str: ...

    @property
    def not_before_us(self) -> int: ...

    @property
    def not_after_us(self) -> int: ...


def add_arguments(parser: ArgumentParser, common: Callable[[ArgumentParser], None]) -> None:
    """`certificate show|next|confirm|switch|back|withdraw`."""
    what = parser.add_subparsers(dest="what", required=True, metavar="show|next|confirm|switch|back|withdraw")
    show = what.add_parser("show", help="the certificate in use, the next one, and how far each receiver is")
    following = what.add_parser("next", help="publish the certificate that is to follow")
    following.add_argument("--cert", type=Path, required=True, metavar="FILE", help="PEM; the same path on every machine")
    following.add_argument("--key", type=Path, required=True, metavar="FILE", help="its private key; the same path on every machine")
    following.add_argument("--from", dest="from_day", required=True, metavar="DAY", help="day of the switch, as YYYY-MM-DD")
    following.add_argument("--short-notice", action="store_true", help="less than 60 days ahead")
    confirm = what.add_parser("confirm", help="a receiver says that it registered the next certificate")
    confirm.add_argument("--party", required=True, metavar="OIN", help="its system")
    confirm.add_argument("--by", required=True, metavar="NAME", help="who there said so")
    switch = what.add_parser("switch", help="use the next certificate towards a receiver from now on")
    back = what.add_parser("back", help="use the one before towards a receiver again")
    withdraw = what.add_parser("withdraw", help="no next certificate any more: it has taken over, or it is not to come")
    for sub in (switch, back):
        whom = sub.add_mutually_exclusive_group(required=True)
        whom.add_argument("--party", metavar="OIN", help="its system")
        whom.add_argument("--all", action="store_true", help="every system that has a mailbox or endpoint")
    switch.add_argument("--unconfirmed", action="store_true", help="also those that did not confirm")
    for sub in (show, following, confirm, switch, back, withdraw):
        common(sub)


def run(
    arguments: Namespace,
    steps: Steps,
    register: Register,
    *,
    current: Certificate,
    read: Callable[[Path, Path], Certificate],
    who: str,
    now: datetime,
) -> int:
    """One step, or a look. `read`: a certificate with its key; raises a sentence when they do not belong together. Raises CannotRollOver
    and WrongArgument."""
    now_us = micros(now)

    def change(kind: str, step: Callable[[RollOver], RollOver], systems: Collection[str] = ()) -> None:
        show(current, steps.change(step, kind=f"certificate_{kind}", who=who, now_us=now_us, systems=systems), register, arguments.json)

    if arguments.what == "show":
        show(current, steps.read(), register, arguments.json)
    elif arguments.what == "next":
        fresh = _next(arguments, current, read, who=who, now_us=now_us)
        change("published", lambda at: at.published(fresh, current=current.sha256, at_short_notice=arguments.short_notice))
    elif arguments.what == "confirm":
        oin = _party(arguments.party, register)
        change("confirmed", lambda at: at.confirmed(oin, by=arguments.by[:200], now_us=now_us), [oin])
    elif arguments.what == "switch":
        whom = receivers(register) if arguments.all else [_party(arguments.party, register)]
        change("switched", lambda at: at.switched(whom, now_us=now_us, unconfirmed=arguments.unconfirmed), whom)
    elif arguments.what == "back":
        whom = receivers(register) if arguments.all else [_party(arguments.party, register)]
        change("switched_back", lambda at: at.back(whom), whom)
    else:
        change("withdrawn", lambda at: at.withdrawn(current=current.sha256))
    return 0


def _next(
    arguments: Namespace, current: Certificate, read: Callable[[Path, Path], Certificate], *, who: str, now_us: int
) -> NextCertificate:
    try:
        day = date.fromisoformat(arguments.from_day)
    except ValueError:
        raise WrongArgument(f"--from {arguments.from_day[:40]!r} is not a day such as 2027-03-01.") from None
    found = read(arguments.key, arguments.cert)
    if found.oin != current.oin:
        raise WrongArgument(f"{arguments.cert} is of {found.oin}, and we are {current.oin}: a party is known by its OIN.")
    from_us = micros(start_of_day(day))
    if found.not_after_us < from_us:
        raise WrongArgument(f"{arguments.cert} ends before {day}.")
    return NextCertificate(
        pem=found.pem,
        sha256=found.sha256,
        cert=str(arguments.cert.resolve()),
        key=str(arguments.key.resolve()),
        not_before_us=found.not_before_us,
        from_us=from_us,
        published_us=now_us,
        published_by=who,
    )


def receivers(register: Register) -> list[str]:
    """Systems that receive something."""
    return sorted({str(place.system) for place in register.parts.lanes()})


def _party(given: str, register: Register) -> str:
    try:
        oin = str(parse_oin(given))
    except ValueError as error:
        raise WrongArgument(f"--party: {error}") from None
    if oin not in receivers(register):
        raise WrongArgument(f"System {oin} receives nothing by the service register; `register show endpoints` lists those that do.")
    return oin


def show(current: Certificate, at: RollOver, register: Register, as_json: bool) -> None:
    """The certificate in use, the next one, and how far each receiver is."""
    rows = [_row(oin, at.parties.get(oin, Standing())) for oin in sorted({*receivers(register), *at.parties})]
    if as_json:
        of_now = {name: getattr(current, name) for name in ("sha256", "oin", "not_before_us", "not_after_us", "pem")}
        coming = at.to_dict()["next"]
        print_json({"current": of_now, "next": coming, "receivers": rows})
        return
    say(f"In use     {current.oin}, until {when(current.not_after_us)} UTC\n           SHA-256 {current.sha256}")
    if at.next is None:
        say("Next       none; `certificate next` publishes one")
        return
    say(
        f"Next       from {when(at.next.from_us)} UTC, published {when(at.next.published_us)} by {at.next.published_by}\n"
        f"           SHA-256 {at.next.sha256}"
    )
    if at.next.sha256 == current.sha256:
        say("           It has taken over everywhere; `certificate withdraw` ends this.")
    shown: list[Mapping[str, Any]] = [
        {
            "system": row["system"],
            "confirmed (UTC)": when(row["confirmed_us"]),
            "by": row["confirmed_by"],
            "uses": "next" if row["switched_us"] else "current",
            "since (UTC)": when(row["switched_us"]),
        }
        for row in rows
    ]
    print_table(("system", "confirmed (UTC)", "by", "uses", "since (UTC)"), shown, title="Receivers", empty="none")


def _row(oin: str, standing: Standing) -> dict[str, Any]:
    return {
        "system": oin,
        "confirmed_us": standing.confirmed_us,
        "confirmed_by": standing.confirmed_by,
        "switched_us": standing.switched_us,
    }
