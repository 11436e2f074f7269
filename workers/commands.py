"""Commands about what the store holds: status, outbox, failures, one message, the journal; and how what they find is shown.

`run.py` passes the store in. Each command returns its exit status, and its options stand beside it.
"""

from __future__ import annotations

import os
import pwd
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final, Protocol

from broker_config.settings import mask
from routing.actions import checked_reason
from routing.board import View
from routing.ports import Store
from routing.work import OutboxFilter
from schemas.events import Event, as_dict
from schemas.faults import CODES, remedy_of
from workers.board_commands import fallen_rows, filter_arguments, filters, open_rows, rebuild, with_life
from workers.clock import Clock
from workers.loop import SEEN_EVERY_S
from workers.tables import age, print_json, print_table, say, when


class WrongArgument(Exception):
    """What was typed cannot be read, or names nothing; the text is one sentence that says what to type instead."""


def operator(environment: Mapping[str, str]) -> str:
    """Who is at the keyboard, for the journal: as the environment says (a unit of systemd or a container may not), or as the system has
    the user by which this runs."""
    return f"operator {environment.get('SUDO_USER') or environment.get('USER') or environment.get('LOGNAME') or _system_user()}"


def _system_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def parse_age(text: str) -> timedelta:
    """`90s`, `15m`, `4h`, `2d` -> a time span. Raises ValueError."""
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    if not text[:-1].isdigit() or text[-1:] not in units:
        raise ValueError(f"{text[:20]!r} is not an age: write a number and s, m, h or d, such as 15m")
    return timedelta(seconds=int(text[:-1]) * units[text[-1]])


def outbox_arguments(parser: ArgumentParser) -> None:
    """`outbox`."""
    parser.add_argument("--party", metavar="OIN", help="sender, receiver or connecting system")
    parser.add_argument("--dienst", metavar="D")
    parser.add_argument("--state", metavar="S", help="only this state, finished ones included")
    parser.add_argument("--older-than", metavar="T", help="handed in longer ago than this, such as 15m, 4h or 2d")
    filter_arguments(parser)


def outbox(arguments: Namespace, store: Store) -> int:
    """What is open."""
    now_us, before = Clock().now_us(), None
    if arguments.older_than:
        try:
            before = now_us - int(parse_age(arguments.older_than).total_seconds() * 1e6)
        except ValueError as error:
            raise WrongArgument(str(error)) from error
    if (narrow := filters(arguments, View.OPEN, before_us=before, now_us=now_us)) is not None:
        rows = open_rows(store.board, narrow, now_us=now_us)
    else:
        rows = store.queries.outbox(OutboxFilter(party=arguments.party, dienst=arguments.dienst, state=arguments.state, before_us=before))
    show_outbox(rows, now_us=now_us, as_json=arguments.json)
    return 0


def show_outbox(rows: Sequence[Mapping[str, Any]], *, now_us: int, as_json: bool) -> None:
    """What is open, oldest first."""
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "age": age(row["received_us"], now_us),
            "reference": row["reference"],
            "bericht": f"{row['dienst']}/{row['bericht']}",
            "receiver": row["receiver"],
            "state": row["state"],
            "waits for": row.get("code"),
            "turn of": row.get("owner"),
        }
        for row in rows
    ]
    print_table(("age", "reference", "bericht", "receiver", "state", "waits for", "turn of"), shown, empty="Nothing is open.")


def failures_arguments(parser: ArgumentParser) -> None:
    """`failures`."""
    parser.add_argument("--group", action="store_true", help="by cause and owner")
    filter_arguments(parser, party=True)


def failures(arguments: Namespace, store: Store) -> int:
    """What fell out."""
    now_us = Clock().now_us()
    narrow = filters(arguments, View.FALLEN, now_us=now_us)
    if arguments.group and narrow is not None:
        raise WrongArgument("--group shows all groups: leave the filters out, or leave out --group.")
    if arguments.group:
        show_failure_groups(with_life(store.queries.failure_groups(), store.board, now_us=now_us), as_json=arguments.json)
    else:
        rows = store.queries.failures() if narrow is None else fallen_rows(store.board, narrow, now_us=now_us)
        show_failures(rows, as_json=arguments.json)
    return 0


def show_failures(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What fell out, newest first."""
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "when (UTC)": when(row["at_us"]),
            "reference": row["reference"],
            "code": row["code"],
            "turn of": row["owner"],
            "reason": row["reason"] or (CODES[row["code"]].nl if row["code"] in CODES else ""),
        }
        for row in rows
    ]
    print_table(("when (UTC)", "reference", "code", "turn of", "reason"), shown, empty="Nothing fell out.")


def show_failure_groups(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What fell out, by cause and owner, with what to do about it."""
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "count": row["count"],
            "open": row["still_open"],
            "state": " ".join(filter(None, (row["state"], row["ticket"]))),
            "code": row["code"],
            "turn of": row["owner"],
            "system": row["system"],
            "last (UTC)": when(row["last_us"]),
            "remedy": remedy_of(row["code"], row["owner"])[0] or "",
        }
        for row in rows
    ]
    print_table(("count", "open", "state", "code", "turn of", "system", "last (UTC)", "remedy"), shown, empty="Nothing fell out.")


def message_arguments(parser: ArgumentParser) -> None:
    """`message`, and the first of `resolve`."""
    parser.add_argument("id", metavar="ID", help="reference, delivery_id, MessageID or identificatiecodeBedrijfsdocument")


def message(arguments: Namespace, store: Store) -> int:
    """One message's whole timeline."""
    reference = _found(store, arguments.id)
    row = store.queries.message(reference) or {"reference": reference}
    show_message(row, store.journal.of_message(reference), store.journal.decisions_of(reference), as_json=arguments.json)
    return 0


def _found(store: Store, id: str) -> str:
    """The reference of what was typed. Raises WrongArgument."""
    reference = store.queries.find(id)
    if reference is None:
        raise WrongArgument(f"There is no message, delivery or refusal {id[:60]}; give a reference, delivery_id, MessageID or business id.")
    return reference


def show_message(message: Mapping[str, Any], events: Sequence[Event], decisions: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """One message's whole timeline: what was decided, by which rule, and what happened."""
    if as_json:
        print_json({"message": message, "events": [as_dict(event) for event in events], "decisions": decisions})
        return
    facts = (
        "reference",
        "state",
        "dienst",
        "bericht",
        "sender",
        "system",
        "receiver",
        "message_id",
        "business_id",
        "via",
        "code",
        "owner",
        "reason",
    )
    rows = [{"": name, " ": message[name]} for name in facts if message.get(name)]
    if message.get("answers"):
        rows.append({"": "answers", " ": message["answers"]["reference"]})
    rows += [{"": "answered by", " ": reference} for d in message.get("deliveries", ()) for reference in d["answers"]]
    print_table(("", " "), rows, title="Message")
    if message.get("deliveries"):
        rows = [
            {
                "delivery_id": d["id"],
                "target": d["target"],
                "receiver": d["receiver"],
                "state": d["state"],
                "tries": d["attempts"],
                "why": d["code"] or d["hold_code"],
                "turn of": d["owner"],
            }
            for d in message["deliveries"]
        ]
        print_table(("delivery_id", "target", "receiver", "state", "tries", "why", "turn of"), rows, title="Deliveries")
    timeline = [(event.at_us, event.kind, _about(event), event.actor) for event in events]
    timeline += [
        (d["at_us"], f"{d['question']}?", f"{d['outcome']}: {d['nl']} / {d['en']}", f"register {d['register_version']}") for d in decisions
    ]
    print_table(
        ("when (UTC)", "what", "about", "by"),
        [
            {"when (UTC)": when(at), "what": what, "about": about, "by": by}
            for at, what, about, by in sorted(timeline, key=lambda row: row[0])
        ],
        title="Timeline",
    )


#: Events of which the system matters more than the receiver: who had it, or said something of it.
_OF_SYSTEM: Final = frozenset({"withdrawn", "seen", "taken_back", "resolved", "confirmation_refused"})


def _about(event: Event) -> str:
    system = f"system {event.receiver_system}" if event.kind in _OF_SYSTEM and event.receiver_system else None
    return " ".join(filter(None, (event.receiver, system, event.code, event.owner, event.reason, event.details.get("why"))))


class Repairable(Store, Protocol):
    """A store in which what failed can be offered again."""

    @property
    def repair(self) -> Any: ...


def retry(arguments: Namespace, store: Repairable, *, who: str) -> int:
    """What failed of one message is offered again: the whole of it to routing, or failed deliveries with the same ids; the journal says by
    whom. Raises CannotRetry, with the reason, when there is nothing to offer again, and CannotAct for a reason that cannot be kept."""
    reference = _found(store, arguments.id[0])
    reason = checked_reason(arguments.reason) if arguments.reason else ""
    done = store.repair.retry(reference, actor=who, now_us=Clock().now_us(), reason=reason)
    show_retried(reference, message=done.message, deliveries=done.deliveries, superseded=done.superseded, as_json=arguments.json)
    return 0


def resolve_arguments(parser: ArgumentParser) -> None:
    """`resolve`."""
    message_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--delivered", action="store_true", help="the receiver has it: finished")
    which.add_argument("--failed", action="store_true", help="the receiver does not have it: failed, and `retry` may offer it again")


def resolve(arguments: Namespace, store: Repairable, *, who: str) -> int:
    """Records whether an uncertain delivery arrived, as its receiver was asked. Raises CannotRetry when nothing is uncertain."""
    reference = _found(store, arguments.id)
    delivery = arguments.id if _is_delivery(store, reference, arguments.id) else ""
    count = store.repair.resolve(reference, delivery=delivery, arrived=arguments.delivered, actor=who, now_us=Clock().now_us())
    if arguments.json:
        print_json({"reference": reference, "deliveries": count, "state": "acknowledged" if arguments.delivered else "failed"})
    else:
        say(f"{count} deliveries of {reference} are recorded as {'delivered' if arguments.delivered else 'failed'}.")
    return 0


def _is_delivery(store: Store, reference: str, id: str) -> bool:
    return any(row["id"] == id for row in (store.queries.message(reference) or {}).get("deliveries", ()))


def show_retried(reference: str, *, message: bool, deliveries: int, superseded: int, as_json: bool) -> None:
    """What of one message is offered again: the whole of it, or so many deliveries."""
    if as_json:
        print_json({"reference": reference, "message": message, "deliveries": deliveries, "superseded": superseded})
    elif message:
        say(f"{reference} is offered to routing again; see what comes of it with `message`.")
    else:
        say(f"{deliveries} failed deliveries of {reference} are offered again.")
        if superseded:
            say(f"{superseded} are superseded instead: a newer state came since.")


def journal_arguments(parser: ArgumentParser) -> None:
    """`journal verify` and `journal rebuild-board`."""
    words = "walk the hash chain, end to end; or make the board anew, out of journal and tables"
    parser.add_argument("what", choices=("verify", "rebuild-board"), help=words)


def journal(arguments: Namespace, store: Store) -> int:
    """Walks the hash chain: exit 1 when it is broken. Or makes the board anew."""
    if arguments.what == "rebuild-board":
        return rebuild(arguments, store)
    result = store.journal.verify()
    if arguments.json:
        print_json(asdict(result))
    elif result.whole:
        say(f"The journal is whole: {result.events} events in {result.blocks} blocks; {result.waiting} wait to be chained.")
    else:
        say(f"The journal is BROKEN after {result.events} good events: {result.problem}.")
    return 0 if result.whole else 1


#: States in which somebody still has to do something with a delivery.
_OPEN: Final = frozenset({"routed", "waiting", "released", "postponed", "uncertain", "delivered"})


def status(
    arguments: Namespace, store: Store, *, queues: Mapping[str, int], crls: Iterable[Mapping[str, Any]], wanted: Collection[str]
) -> int:
    """What runs, what is queued, what is open, how old register and CRLs are. Exit 1 when one of the `wanted` workers is missing."""
    now_us = Clock().now_us()
    alive = [w for w in store.registry.workers() if now_us - w["seen_us"] < 3 * SEEN_EVERY_S * 1e6]
    loaded, counts = store.registry.register_age(), store.queries.counts()
    found = {
        "workers": [
            {**{name: w[name] for name in ("name", "pid", "host", "state", "handled", "metrics")}, "seen": age(w["seen_us"], now_us)}
            for w in alive
        ],
        "queues": queues,
        "messages": counts["messages"],
        "open": {state: count for state, count in counts["deliveries"].items() if state in _OPEN},
        "register": {"version": loaded[0] if loaded else 0, "age": age(loaded[1], now_us) if loaded else None},
        "crls": [
            {
                "source": crl["source"],
                "age": age(crl["fetched_us"], now_us),
                "next_update_us": crl["next_update_us"],
                "state": crl["state"],
            }
            for crl in crls
        ],
    }
    show_status(found, as_json=arguments.json)
    return 0 if {w["name"] for w in alive} >= set(wanted) else 1


def show_status(status: Mapping[str, Any], *, as_json: bool) -> None:
    """What runs, what is queued, what is open, and how old register and CRLs are."""
    if as_json:
        print_json(status)
        return
    print_table(("name", "pid", "host", "state", "handled", "seen", "metrics"), status["workers"], title="Workers", empty="no worker runs")
    depths = [{"queue": name, "messages": depth} for name, depth in sorted(status["queues"].items()) if depth]
    print_table(("queue", "messages"), depths, title="Queues that are not empty", empty="all empty")
    open_rows = [{"state": state, "deliveries": count} for state, count in sorted(status["open"].items())]
    print_table(("state", "deliveries"), open_rows, title="Open deliveries", empty="none")
    register = status["register"]
    print_table(
        ("what", "version", "age"),
        [
            {"what": "service register", "version": register["version"], "age": register["age"]},
            *({"what": f"CRL {crl['source']}", "version": crl["state"], "age": crl["age"]} for crl in status["crls"]),
        ],
        title="Register and CRLs",
    )


def crl_arguments(parser: ArgumentParser) -> None:
    """`crl fetch`."""
    parser.add_argument("what", choices=("fetch",), help="every list of KOPPELPUNT_CRL now, whatever its age")


def crls(arguments: Namespace, sources: Sequence[str], known: Iterable[Mapping[str, Any]], refused: Mapping[str, str]) -> int:
    """What came of fetching these lists. Exit 1 when one could not be used, or there is none."""
    standing = {crl["source"]: crl for crl in known}
    rows: list[dict[str, Any]] = [
        {
            "source": mask(source),
            "fetched": source not in refused,
            "problem": refused.get(source),
            "state": standing[source]["state"] if source in standing else "missing",
            "next_update_us": standing[source]["next_update_us"] if source in standing else None,
        }
        for source in sources
    ]
    if arguments.json:
        print_json(rows)
    else:
        shown = [
            {**row, "now": "fetched" if row["fetched"] else row["problem"], "until (UTC)": when(row["next_update_us"])} for row in rows
        ]
        print_table(("source", "now", "state", "until (UTC)"), shown, empty="KOPPELPUNT_CRL names no lists: revocation is not checked.")
    return 0 if rows and not refused else 1


def show_settings(arguments: Namespace, rows: Iterable[Any]) -> int:
    """`settings`: each with its value and meaning."""
    shown = [asdict(row) for row in rows]
    if arguments.json:
        print_json(shown)
    else:
        print_table(("name", "value", "meaning"), shown)
    return 0


def show_demo(summary: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> None:
    """What became of the season."""
    names = ("sent", "delivered", "filtered", "superseded", "waiting", "lost", "duplicated", "seconds")
    print_table(names, [summary], title="The season")
    owners = {group["code"]: group["owner"] for group in groups}
    rows = [
        {
            "count": count,
            "code": code,
            "turn of": owners.get(code) or str(CODES[code].owner),
            "what is wrong": CODES[code].nl,
            "what to do": remedy_of(code, owners.get(code))[0],
        }
        for code, count in summary["failed"].items()
    ]
    print_table(("count", "code", "turn of", "what is wrong", "what to do"), rows, title="What fell out or waits, and whose turn it is")
