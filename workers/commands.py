"""What the command line shows of the store: status, outbox, failures, one message. Each gets its rows from a query and prints them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from schemas.events import Event, as_dict
from schemas.faults import CODES
from workers.tables import age, print_json, print_table, when


def operator(environment: Mapping[str, str]) -> str:
    """Who is at the keyboard, for the journal."""
    return f"operator {environment.get('SUDO_USER') or environment.get('USER') or environment.get('LOGNAME') or 'unknown'}"


def parse_age(text: str) -> timedelta:
    """`90s`, `15m`, `4h`, `2d` -> a time span. Raises ValueError."""
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    if not text[:-1].isdigit() or text[-1:] not in units:
        raise ValueError(f"{text[:20]!r} is not an age: write a number and s, m, h or d, such as 15m")
    return timedelta(seconds=int(text[:-1]) * units[text[-1]])


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
            "code": row["code"],
            "turn of": row["owner"],
            "system": row["system"],
            "last (UTC)": when(row["last_us"]),
            "remedy": CODES[row["code"]].remedy_nl if row["code"] in CODES else "",
        }
        for row in rows
    ]
    print_table(("count", "code", "turn of", "system", "last (UTC)", "remedy"), shown, empty="Nothing fell out.")


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
    print_table(("", " "), [{"": name, " ": message[name]} for name in facts if message.get(name)], title="Message")
    if message.get("deliveries"):
        rows = [
            {
                "target": d["target"],
                "receiver": d["receiver"],
                "state": d["state"],
                "tries": d["attempts"],
                "why": d["code"] or d["hold_code"],
                "turn of": d["owner"],
            }
            for d in message["deliveries"]
        ]
        print_table(("target", "receiver", "state", "tries", "why", "turn of"), rows, title="Deliveries")
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
    return " ".join(filter(None, (event.receiver, system, event.code, event.owner, event.reason)))


def show_status(status: Mapping[str, Any], *, as_json: bool) -> None:
    """What runs, what is queued, what is open, and how old register and CRLs are."""
    if as_json:
        print_json(status)
        return
    print_table(("name", "pid", "host", "state", "handled", "seen"), status["workers"], title="Workers", empty="no worker runs")
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
            "what to do": CODES[code].remedy_nl,
        }
        for code, count in summary["failed"].items()
    ]
    print_table(("count", "code", "turn of", "what is wrong", "what to do"), rows, title="What fell out or waits, and whose turn it is")
