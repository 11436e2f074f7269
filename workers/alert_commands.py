"""`run.py contacts` and `run.py alerts`: whom parties want to be told, and what they are told of."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from routing.alerts import Alert, Alerts
from routing.contacts import Channel, Contact, ContactRole, QuietHours, check_mail_address, parse_quiet
from routing.people import Scope
from routing.tellings import Due, NotSent, Sender, new_id
from schemas.oin import Oin, parse_oin
from workers.alert_words import Words, as_data, write_test
from workers.clock import Clock
from workers.tables import print_json, print_table, say, when

_EVERYTHING: Final = Scope(everything=True)


class ContactBook(Protocol):
    """The store's side; see adapters.store.contacts."""

    def add(self, one: Contact, *, secret: bytes | None, who: str, now_us: int) -> None: ...

    def end(self, id: str, *, who: str, now_us: int) -> Contact | None: ...


class WrongContact(Exception):
    """What was typed is no contact, or there is none of that name; the text is one sentence."""


class Secrets(Protocol):
    """How webhooks' secrets are made and kept; see adapters.webhook."""

    def make(self) -> str: ...

    def seal(self, contact: str, secret: str) -> bytes: ...


def contacts_arguments(parser: ArgumentParser, more: Callable[[ArgumentParser], None]) -> None:
    """`contacts add`, `contacts list`, `contacts end`."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    add = kinds.add_parser("add", help="whom to tell, and how")
    add.add_argument("party", metavar="OIN", help="an organisation, a system, or ourselves: our own OIN")
    add.add_argument("address", metavar="ADDRESS", help="an e-mail address, or the https address of a webhook")
    add.add_argument("--dienst", default="", metavar="D", help="for this dienst only (default: every one)")
    add.add_argument("--role", choices=[str(role) for role in ContactRole], default="functional", help="default: %(default)s")
    add.add_argument("--language", choices=("nl", "en"), default="nl", help="which of the two comes first (default: %(default)s)")
    add.add_argument("--quiet", default="", metavar="TIMES", help="when not to disturb, in Amsterdam: '18:00-08:00 za zo'")
    add.add_argument("--step", type=int, default=1, metavar="N", help="1: told first; 2: when nobody took it; and on (default: 1)")
    add.add_argument("--no-digest", action="store_true", help="no daily digest and no weekly report")
    add.add_argument("--secret", type=Path, metavar="FILE", help="a webhook's secret (whsec_...); default: one is made and shown once")
    more(add)
    listed = kinds.add_parser("list", help="whom parties want to be told")
    listed.add_argument("--for", dest="party", metavar="OIN", help="of one party only")
    more(listed)
    end = kinds.add_parser("end", help="tell this one no more")
    end.add_argument("id", metavar="ID")
    more(end)


def contacts(
    given: Namespace, alerts: Alerts, book: ContactBook, secrets: Callable[[], Secrets], *, check_url: Callable[[str], str | None], who: str
) -> int:
    """Adds, lists or ends. `check_url`: why an address may not be called. Raises WrongContact."""
    now_us = Clock().now_us()
    if given.what == "add":
        one, secret = _read(given, check_url), None
        if one.channel is Channel.WEBHOOK:
            plain = _secret(given.secret, secrets())
            try:
                secret = secrets().seal(one.id, plain)
            except ValueError as error:
                raise WrongContact(str(error)) from error
            if given.secret is None:
                sys.stderr.write(f"Secret of webhook {one.id}, shown this once: {plain}\n")
        book.add(one, secret=secret, who=who, now_us=now_us)
        _show([one], as_json=given.json)
    elif given.what == "end":
        ended = book.end(given.id, who=who, now_us=now_us)
        if ended is None:
            raise WrongContact(f"There is no contact {given.id[:20]!r}, or it has ended; `run.py contacts list` shows them.")
        say(f"{ended.id} is told no more.")
    else:
        _show(alerts.contacts(_EVERYTHING, given.party), as_json=given.json)
    return 0


def _read(given: Namespace, check_url: Callable[[str], str | None]) -> Contact:
    webhook = urlsplit(given.address).scheme in ("http", "https")
    try:
        party, quiet = parse_oin(given.party), parse_quiet(given.quiet)
        address = given.address if webhook else check_mail_address(given.address)
    except ValueError as error:
        raise WrongContact(str(error)) from error
    if webhook and (reason := check_url(address)) is not None:
        raise WrongContact(f"This webhook may not be called: {reason}.")
    if given.step < 1:
        raise WrongContact("--step is 1 or more.")
    if given.secret is not None and not webhook:
        raise WrongContact("--secret is for a webhook.")
    return Contact(
        id=new_id(),
        party=party,
        dienst=given.dienst,
        role=ContactRole(given.role),
        channel=Channel.WEBHOOK if webhook else Channel.EMAIL,
        address=address,
        language=given.language,
        quiet=quiet,
        step=given.step,
        digest=not given.no_digest,
    )


def _secret(file: Path | None, secrets: Secrets) -> str:
    return secrets.make() if file is None else file.read_text(encoding="ascii", errors="replace").strip()


def _show(rows: Sequence[Contact], *, as_json: bool) -> None:
    names = ("id", "party", "dienst", "role", "channel", "address", "language", "quiet", "step", "digest")
    shown = [{name: _plain(getattr(one, name)) for name in names} for one in rows]
    if as_json:
        print_json(shown)
    else:
        print_table(names, shown, empty="Nobody is told anything: `run.py contacts add`.")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, QuietHours | ContactRole | Channel) else value


def alerts_arguments(parser: ArgumentParser) -> None:
    """`alerts`, `alerts acknowledge ID --why TEXT`, `alerts test ADDRESS`, `alerts sent`."""
    parser.add_argument(
        "what", nargs="?", choices=("acknowledge", "test", "sent"), help="take an alert; try an address; what was sent (default: list them)"
    )
    parser.add_argument(
        "which", nargs="?", metavar="ID|ADDRESS", help="of `acknowledge` an alert, of `test` an e-mail address or a webhook"
    )
    parser.add_argument("--why", metavar="TEXT", help="with `acknowledge`: what you are going to do")
    parser.add_argument("--for", dest="party", metavar="OIN", help="of one party only")
    parser.add_argument("--closed", action="store_true", help="those that are over")


def alerts(
    given: Namespace,
    store: Alerts,
    words: Words,
    senders: Callable[[], Mapping[Channel, Sender]],
    secret_of: Callable[[str], bytes | None],
    *,
    who: str,
) -> int:
    """Lists alerts, takes one, or sends a test. Exit 1 when the test was not taken. Raises WrongContact, CannotAcknowledge."""
    scope = _EVERYTHING
    if given.party:
        try:
            oin = parse_oin(given.party)
        except ValueError as error:
            raise WrongContact(str(error)) from error
        scope = Scope(organisations=frozenset({Oin(oin)}), systems=frozenset({Oin(oin)}))
    if given.what == "acknowledge":
        if not given.which or not given.why:
            raise WrongContact('Write: alerts acknowledge ID --why "what is being done".')
        taken = store.acknowledge(scope, given.which, who=who, why=given.why, now_us=Clock().now_us())
        say(f"{taken.id} is yours: nobody else is told.")
        return 0
    if given.what == "test":
        if not given.which:
            raise WrongContact("Write: alerts test ADDRESS.")
        return asyncio.run(_test(given.which, store.contacts(_EVERYTHING), words, senders(), secret_of))
    if given.what == "sent":
        _show_sent(store.tellings(scope), as_json=given.json)
    else:
        _show_alerts(store.alerts(scope, closed=given.closed), words, as_json=given.json)
    return 0


async def _test(
    address: str, known: Sequence[Contact], words: Words, senders: Mapping[Channel, Sender], secret_of: Callable[[str], bytes | None]
) -> int:
    one = next((one for one in known if address in (one.address, one.id)), None)
    if one is None:
        try:
            one = Contact(
                id="test", party=words.ours, role=ContactRole.TECHNICAL, channel=Channel.EMAIL, address=check_mail_address(address)
            )
        except ValueError as error:
            raise WrongContact(f"{error}; or the address of a webhook that `contacts add` added.") from error
    sender = senders.get(one.channel)
    if sender is None:
        raise WrongContact("No mail server is set: KOPPELPUNT_MAIL_SERVER.")
    now_us = Clock().now_us()
    due = Due(
        id=f"TEST-{now_us:x}"[:24], kind="test", contact=one, secret=secret_of(one.id), written=write_test(one, words), made_us=now_us
    )
    try:
        await sender.send(due)
    except NotSent as error:
        sys.stderr.write(f"koppelpunt: not sent to {address}: {error}\n")
        return 1
    finally:
        close: Any = getattr(sender, "close", None)
        if close is not None:
            await close()
    say(f"Sent to {one.address}; see whether it arrived.")
    return 0


def _show_alerts(rows: Sequence[Alert], words: Words, *, as_json: bool) -> None:
    if as_json:
        print_json([as_data(one, words) for one in rows])
        return
    shown = [
        {
            "id": one.id,
            "state": one.state,
            "what": one.says[0],
            "count": one.size,
            "turn of": words.party(one.cause.partner, "nl"),
            "dienst": one.cause.dienst,
            "code": one.cause.code,
            "since (UTC)": when(one.since_us),
            "told": len(one.told),
            "taken by": one.who,
        }
        for one in rows
    ]
    print_table(("id", "state", "what", "count", "turn of", "dienst", "code", "since (UTC)", "told", "taken by"), shown, empty="No alerts.")


def _show_sent(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    shown = [
        {
            "made (UTC)": when(row["made_us"]),
            "kind": row["kind"],
            "to": row["address"],
            "subject": row["subject"],
            "sent (UTC)": when(row["sent_us"]) or ("given up" if row["given_up_us"] else "not yet"),
            "error": row["error"],
        }
        for row in rows
    ]
    print_table(("made (UTC)", "kind", "to", "subject", "sent (UTC)", "error"), shown, empty="Nothing was sent.")
