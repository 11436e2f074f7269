"""`run.py contacts` and `run.py alerts`, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import run as program
from adapters.store import open_store
from adapters.vault import create_master_key
from adapters.webhook import new_secret
from routing.alerts import Cause, Kind
from tests.support.store import run_sql
from tests.support.telling import CA, PASSWORD, Post

LAS, OURS = "00000001900000001000", "00000099000000010000"
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def post() -> Iterator[Post]:
    with Post() as running:
        yield running


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], post: Post) -> Typed:
    """Types a command in a home of its own; returns status, what was printed, and what was said of errors."""
    (tmp_path / "password").write_text(PASSWORD)
    create_master_key(tmp_path / "master.key")
    open_store(f"sqlite:///{tmp_path}/koppelpunt.db").close()
    for name, value in {
        "HOME": tmp_path,
        "MAIL_SERVER": post.server,
        "MAIL_PASSWORD": tmp_path / "password",
        "MAIL_FROM": "kp@example.nl",
        "ALERT_CA": CA,
        "PUSH_NETWORKS": "127.0.0.0/8",
    }.items():
        monkeypatch.setenv(f"KOPPELPUNT_{name}", str(value))

    def act(*words: str) -> tuple[int, str, str]:
        status = program.main(list(words))
        said = capsys.readouterr()
        return status, said.out, said.err

    return act


def added(typed: Typed, *words: str) -> dict[str, Any]:
    status, out, _ = typed("contacts", "add", *words, "--json")
    assert status == 0
    (row,) = json.loads(out)
    return dict(row)


def test_contacts_are_added_listed_and_ended(typed: Typed) -> None:
    one = added(
        typed, LAS, "beheer@las.example.nl", "--dienst", "vva", "--role", "technical", "--quiet", "18:00-08:00 za zo", "--step", "2"
    )
    two = added(typed, OURS, "regie@example.nl", "--language", "en", "--no-digest")
    assert (one["role"], one["quiet"], one["step"], one["digest"], one["channel"]) == ("technical", "18:00-08:00 za zo", 2, True, "email")
    assert [row["id"] for row in json.loads(typed("contacts", "list", "--json")[1])] == [one["id"], two["id"]]
    assert [row["id"] for row in json.loads(typed("contacts", "list", "--for", OURS, "--json")[1])] == [two["id"]]
    assert typed("contacts", "end", one["id"]) == (0, f"{one['id']} is told no more.\n", "")
    status, _, said = typed("contacts", "end", one["id"])
    assert status == 1 and "or it has ended" in said


def test_a_webhooks_secret_is_shown_once_or_read_from_a_file(typed: Typed, tmp_path: Path) -> None:
    _, out, said = typed("contacts", "add", LAS, "https://127.0.0.1:9/hook", "--json")
    secret = said.rpartition(" ")[2].strip()
    assert secret.startswith("whsec_") and secret not in out
    assert secret not in typed("contacts", "list")[1]
    file = tmp_path / "secret"
    file.write_text(new_secret() + "\n")
    assert typed("contacts", "add", LAS, "https://127.0.0.1:9/hook", "--secret", str(file))[2] == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("123", "a@b.nl"), "is not an OIN"),
        ((LAS, "a b"), "is not an e-mail address"),
        ((LAS, "http://hook.example.nl/"), "may not be called"),
        ((LAS, "https://10.0.0.1/"), "may not be called: the endpoint's address is an address inside this network"),
        ((LAS, "a@b.nl", "--quiet", "laat"), "is no quiet time"),
        ((LAS, "a@b.nl", "--step", "0"), "--step is 1 or more"),
        ((LAS, "a@b.nl", "--secret", "x"), "--secret is for a webhook"),
        ((LAS, "https://127.0.0.1/", "--secret", __file__), "in base64"),
    ],
)
def test_what_is_no_contact_is_refused_in_one_sentence(typed: Typed, words: tuple[str, ...], says: str) -> None:
    status, out, said = typed("contacts", "add", *words)
    assert (status, out) == (1, "")
    assert says in said and said.count("\n") == 1
    assert json.loads(typed("contacts", "list", "--json")[1]) == []


def test_a_test_message_arrives_and_one_that_cannot_says_why(typed: Typed, post: Post) -> None:
    status, out, _ = typed("alerts", "test", "iemand@example.nl")
    assert status == 0 and "see whether it arrived" in out
    assert [(mail["To"], mail["Subject"]) for mail in post.mails] == [("iemand@example.nl", "[Koppelpunt] Proefbericht")]
    assert "U hoeft niets te doen" in post.text() and "There is nothing to do" in post.text()
    post.refused.add("weg@example.nl")
    status, _, said = typed("alerts", "test", "weg@example.nl")
    assert status == 1 and "no such mailbox" in said
    hook = added(typed, LAS, "https://127.0.0.1:9/hook")
    status, _, said = typed("alerts", "test", hook["id"])
    assert status == 1 and "cannot be reached" in said
    status, _, said = typed("alerts", "test", "https://elsewhere.example.nl")
    assert status == 1 and "that `contacts add` added" in said


def test_alerts_are_listed_taken_and_kept_apart(typed: Typed, tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/koppelpunt.db")
    more = {
        "says": ["Fout", "Wrong"],
        "do": ["Herstel", "Mend"],
        "role": "technical",
        "urgent": False,
        "times": 1,
        "absent_us": None,
        "step": 1,
        "step_us": 1,
        "told": ["c"],
        "who": None,
        "why": None,
        "acknowledged_us": None,
        "by_ticket": False,
    }
    id = Cause(kind=Kind.FAILURES, partner=LAS, dienst="vva", code="Client.DK0004", about="supplier").id
    run_sql(
        store,
        "INSERT INTO alert VALUES (:id, 'failures', :las, 'vva', 'Client.DK0004', 'supplier', 'open', 5000, 1, 2, 1, 1, NULL, :more)",
        id=id,
        las=LAS,
        more=json.dumps(more),
    )
    store.close()
    (row,) = json.loads(typed("alerts", "--json")[1])
    assert (row["id"], row["count"], row["what"]) == (id, 5000, {"nl": "Fout", "en": "Wrong"})
    assert id in typed("alerts", "--for", LAS)[1]
    assert "No alerts." in typed("alerts", "--for", OURS)[1]
    assert "No alerts." in typed("alerts", "--closed")[1]
    assert "--why" in typed("alerts", "acknowledge", id)[2]
    assert typed("alerts", "acknowledge", id, "--why", "ticket 12")[0] == 0
    status, _, said = typed("alerts", "acknowledge", id, "--why", "ticket 12")
    assert status == 1 and "was taken by operator" in said
    assert "no alert" in typed("alerts", "acknowledge", "NIETS", "--why", "x")[2]
    assert "Nothing was sent." in typed("alerts", "sent")[1]
