"""The portal's API: who sees what, who may do what, and what programs are told. Two partners have the same; neither sees the other's."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from portal.api.server import CALLS, EACH_AT_A_TIME, UNKNOWN_A_MINUTE
from routing import people
from routing.contacts import Channel, Contact, ContactRole
from routing.people import MAY, Permission, Role, Scope, Source, new_account, new_token
from tests.support.openapi import Described
from tests.support.portal_api import ALL, CODE, NUMBERS, Client, Side, World, shown
from tests.support.store import DAY, NOW, a_message, hand_in, kinds, run_sql

SOMEBODY = "00000001800000999000"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("api"), api_calls=1_000_000) as made:
        yield made


# -- nobody sees or does what is another's -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Try:
    """How one partner tries to see or do what is the other's."""

    path: str  #: `{name}` is of the other partner
    body: Mapping[str, Any] | None = None  #: texts in it too
    sees: tuple[str, ...] = ()  #: what of the other partner a chain manager reads there: else nobody could tell that a partner does not
    lists: bool = False  #: it is answered, with what is the partner's own


#: Every call by its operationId.
TRIES: Mapping[str, Try] = {
    "me": Try("/me", lists=True),
    "overview": Try("/overview", sees=("mailbox",), lists=True),
    "chainMap": Try("/chain-map?hours=9600", sees=("system", "mailbox"), lists=True),
    "parties": Try("/parties", sees=("system", "mailbox"), lists=True),
    "party": Try("/parties/{system}", sees=("system", "school")),
    "lanes": Try("/lanes", sees=("mailbox",), lists=True),
    "pauseLane": Try("/lanes/pause", {"lane": "mailbox {mailbox}"}),
    "resumeLane": Try("/lanes/resume", {"lane": "mailbox {mailbox}"}),
    "sendProef": Try("/proefs", {"system": "{mailbox}"}),
    "proefs": Try("/proefs?party={mailbox}", sees=("proef", "mailbox"), lists=True),
    "proef": Try("/proefs/{proef}", sees=("proef", "mailbox")),
    "reports": Try("/reports?week=2026-01-15", sees=("system",), lists=True),
    "items": Try("/items", sees=("failed", "waiting", "refused", "school"), lists=True),
    "searchItems": Try("/items/search", {"personal_number": "{number}"}, sees=("failed", "waiting"), lists=True),
    "countItems": Try("/items/count?reference={failed}", lists=True),
    "tallyItems": Try("/items/tally?by=system", sees=("system",), lists=True),
    "itemsCsv": Try("/items.csv", sees=("failed", "waiting", "refused", "school"), lists=True),
    "groups": Try("/groups", sees=("system", "mailbox"), lists=True),
    "group": Try("/groups/{group}", sees=("school", "receiver")),
    "noteGroup": Try("/groups/{group}/note", {"text": "note"}),
    "assignGroup": Try("/groups/{group}/assign", {"assignee": "me"}),
    "groupWithPartner": Try("/groups/{group}/with-partner", {"ticket": "T1"}),
    "solveGroup": Try("/groups/{group}/solve", {"why": "because"}),
    "reopenGroup": Try("/groups/{group}/reopen", {"why": "because"}),
    "findMessage": Try("/messages?id={delivery}", sees=("failed",)),
    "message": Try("/messages/{failed}", sees=("delivery", "school", "receiver")),
    "closeRefusal": Try("/refusals/{refused}/close", {"why": "because"}),
    "deliveryPlaces": Try("/deliveries/{delivery}/places", sees=("mailbox",)),
    "jobs": Try("/jobs", sees=("job", "delivery"), lists=True),
    "job": Try("/jobs/{job}", sees=("job", "delivery")),
    "jobResults": Try("/jobs/{job}/results", sees=("failed", "delivery")),
    "previewJob": Try("/previews", {"action": "archive", "ids": ["{delivery}"]}),
    "confirmJob": Try("/jobs", {"preview": "{preview}", "reason": "because"}),
    "pauseJob": Try("/jobs/{job}/pause"),
    "resumeJob": Try("/jobs/{job}/resume"),
    "cancelJob": Try("/jobs/{job}/cancel"),
    "approveJob": Try("/jobs/{job}/approve"),
    "alerts": Try("/alerts", sees=("alert", "system"), lists=True),
    "alert": Try("/alerts/{alert}", sees=("alert", "system")),
    "acknowledgeAlert": Try("/alerts/{alert}/acknowledge", {"why": "because"}),
    "warnings": Try("/warnings", sees=("warning", "school"), lists=True),
    "partyContacts": Try("/parties/{system}/contacts", sees=("system",)),
    "messageContent": Try("/messages/{failed}/content", {"why": "because"}),
    "accounts": Try("/accounts"),
    "account": Try("/accounts/partner-{letter}"),
    "disableAccount": Try("/accounts/partner-{letter}/disable"),
    "endToken": Try("/accounts/partner-{letter}/tokens/0123abcd/end"),
}
BY_ID = {call.id: call for call in CALLS}
#: Whom of the partner's organisation: by its systems, and by its organisations.
STRANGERS = ("partner-b", "school-b")
EVERYTHING = Scope(everything=True)


def of(side: Side, said: Any) -> Any:
    """Filled in with what is this partner's."""
    if isinstance(said, Mapping):
        return {name: of(side, value) for name, value in said.items()}
    if isinstance(said, list):
        return [of(side, value) for value in said]
    values = {name: str(getattr(side, name)) for name in side.__dataclass_fields__}
    return said.format(**values, number=NUMBERS["ab".index(side.name[-1])], letter=side.name[-1])


def ask(client: Client, call: str, side: Side) -> Any:
    """The call of the table, about this partner."""
    made = TRIES[call]
    body = None if made.body is None else of(side, made.body)
    return client.request(BY_ID[call].method, of(side, made.path), json=body)


def test_every_call_has_a_row_in_the_table() -> None:
    assert sorted(TRIES) == sorted(call.id for call in CALLS), "a call without a row: how might one partner see another's by it?"


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("call", TRIES)
def test_another_partner_sees_nothing_of_it_and_cannot_act(world: World, call: str, stranger: str) -> None:
    client, before = world.client(stranger), world.everything()
    answer = ask(client, call, world.a)
    said = shown(answer)
    asked = {value for value in map(str, (world.a.alert,)) if value in of(world.a, TRIES[call].path)}
    assert not [mark for mark in world.a.marks if mark in said and mark not in asked]
    may = MAY[Permission.SEE_OWN] if not BY_ID[call].permission & {Permission.SEE_OWN} else frozenset()
    if TRIES[call].lists:
        assert answer.status_code == 200
    elif may and not BY_ID[call].permission & permissions_of(stranger):
        assert answer.status_code == 403
    else:
        assert answer.json()["code"] == "NOT_FOUND"
    assert world.everything() == before


def permissions_of(name: str) -> frozenset[Permission]:
    role = Role(name.partition("-")[0])
    return frozenset(permission for permission, roles in MAY.items() if role in roles)


@pytest.mark.parametrize("call", [id for id, row in TRIES.items() if row.sees])
def test_whoever_sees_everything_does_see_it_there(world: World, call: str) -> None:
    said = shown(ask(world.client("manager"), call, world.a))
    assert [name for name in TRIES[call].sees if getattr(world.a, name) not in said] == []


@pytest.mark.parametrize("call", [id for id, row in TRIES.items() if row.sees and "deliveryPlaces" not in id])
def test_a_partner_sees_its_own_there(world: World, call: str) -> None:
    said = shown(ask(world.client("partner-a"), call, world.a))
    assert [name for name in TRIES[call].sees if getattr(world.a, name) not in said] == []
    assert not [mark for mark in world.b.marks if mark in said]


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("call", [call.id for call in CALLS if not call.permission & {Permission.SEE_OWN, Permission.EXPORT}])
def test_even_if_partners_might_act_one_day_it_would_be_on_their_own(
    world: World, call: str, stranger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = MappingProxyType({permission: roles | {Role.PARTNER, Role.SCHOOL} for permission, roles in MAY.items()})
    monkeypatch.setattr(people, "MAY", {**everybody, Permission.SEE_EVERYTHING: MAY[Permission.SEE_EVERYTHING]})
    client, before = world.client(stranger), world.everything()
    answer = ask(client, call, world.a)
    assert answer.status_code in (404, 409), answer.text
    asked = f"{of(world.a, TRIES[call].path)} {json.dumps(of(world.a, TRIES[call].body or {}))}"
    assert not [mark for mark in world.a.marks if mark in answer.text and mark not in asked]
    assert nothing_but_previews(world.everything()) == nothing_but_previews(before)


def nothing_but_previews(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """A preview of nothing does nothing."""
    return {name: [row for row in found if "'preview'" not in row] for name, found in rows.items()}


@pytest.mark.parametrize("call", [id for id, row in TRIES.items() if "{" in row.path and BY_ID[id].method == "GET" and not row.lists])
def test_what_is_anothers_answers_as_what_does_not_exist(world: World, call: str) -> None:
    client, path = world.client("partner-b"), TRIES[call].path
    other = path.format(
        system=SOMEBODY,
        group="NO~no~no~no~no",
        delivery="no-such",
        failed="no-such",
        job="no-such-job",
        alert="AAAAA-BBBBB",
        letter="z",
        proef="no-such-proef",
    )
    theirs, none = client.get(of(world.a, path)), client.get(other)
    assert (theirs.status_code, theirs.text) == (none.status_code, none.text)


def test_a_school_at_the_far_side_sees_its_delivery_and_not_what_another_receiver_has(world: World) -> None:
    view = world.client("school-a").get(f"/messages/{world.a.failed}").json()
    assert view["facts"]["reference"] == world.a.failed and "body" not in view["facts"]
    assert [one["id"] for one in view["deliveries"]] == [world.a.delivery]


def test_a_message_is_shown_without_its_content_and_without_what_means_nothing_outside_the_store(world: World) -> None:
    view = world.client("manager").get(f"/messages/{world.a.failed}").json()
    names = {name for row in (view["facts"], *view["deliveries"], *view["deliveries"][0]["tries"], *view["decisions"]) for name in row}
    assert not names & {"body", "wrapped_key", "subject", "order_key", "seq", "message_seq", "delivery_seq", "release", "claim"}
    assert not names & {"digest", "again_of"}
    assert not [event for event in view["events"] if event.get("digest")]
    refused = world.client("manager").get(f"/messages/{world.a.refused}").json()
    assert "digest" not in refused["facts"] and not [event for event in refused["events"] if event.get("digest")]
    assert {"reference", "state", "received_at", "attempts", "outcome", "question"} <= names
    assert "side-a</x>" not in json.dumps(view)


# -- tokens --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer x", f"Basic {'x' * 47}", f"Bearer {new_token()}", f"Bearer {new_token()} ", f"bearer{new_token()}"]
)
def test_without_a_token_that_counts_nothing_is_answered(world: World, header: str | None) -> None:
    answer = world.client(None).get("/me", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "TOKEN_REQUIRED" and "Geen geldig token" in answer.text and "No valid token" in answer.text


def test_the_cookie_of_somebody_who_signed_in_does_not_count_here(world: World) -> None:
    browser = world.portal.signed_in("manager")
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/me").status_code == 401
    assert browser.post("/api/v1/lanes/pause", json={"lane": world.a.lane}).status_code == 401
    for header in (f"bearer {new_token()}", f"BEARER {new_token()}", f"Bearer {new_token()}"):
        assert browser.get("/api/v1/me", headers={"Authorization": header}).status_code == 401


def test_the_scheme_of_a_token_may_be_written_in_any_case(world: World) -> None:
    token = world.portal.token("manager")
    assert world.client(None).get("/me", headers={"Authorization": f"bearer {token}"}).json()["account"] == "manager"


def test_what_an_account_may_is_asked_at_each_request(world: World) -> None:
    account = world.portal.account("changing", "reader")
    client, store = world.client("changing"), world.store
    assert client.get("/me").json()["everything"] is True
    store.people.change(replace(account, roles=frozenset({Role.SCHOOL}), organisations=frozenset({world.b.school})), who="t", now_us=NOW)
    assert client.get("/me").json()["organisations"] == [world.b.school]
    assert world.a.failed not in client.get("/items").text
    store.people.change(replace(account, disabled=True), who="t", now_us=NOW)
    assert client.get("/me").status_code == 401


def test_a_token_that_was_ended_or_whose_time_is_over_opens_nothing(world: World) -> None:
    world.portal.account("ending", "reader")
    client = world.client("ending")
    assert client.get("/me").status_code == 200
    (row,) = world.store.people.tokens("ending")
    assert world.store.people.end_token("ending", row.key, who="t", now_us=world.portal.clock.now_us())
    assert client.get("/me").status_code == 401


def test_a_token_of_a_provider_account_counts_no_longer_than_the_provider_lets_its_owner_in(world: World) -> None:
    people, now_us = world.store.people, world.portal.clock.now_us()
    bea = new_account("oidc:1234:bea", ["reader"], source=Source.OIDC)
    days = world.portal.shell.token_days
    people.from_provider(bea, now_us=now_us - (days - 1) * DAY)
    client = world.client(bea.name)
    assert client.get("/me").status_code == 200
    people.from_provider(bea, now_us=now_us - days * DAY)
    refused = client.get("/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "TOKEN_REQUIRED")
    assert f"has not signed in at the identity provider for {days} days" in refused.json()["detail"]
    assert f"{days} dagen niet" in refused.json()["detail_nl"] and refused.headers["WWW-Authenticate"].startswith("Bearer")
    people.from_provider(bea, now_us=now_us)
    assert client.get("/me").status_code == 200, "after the next sign-in"


def test_a_token_that_asks_too_often_must_wait_and_another_one_need_not(tmp_path: Path) -> None:
    with World(tmp_path, api_calls=3) as world:
        busy, calm = world.client("reader"), world.client("reader")
        answers = [busy.get("/me") for _ in range(6)]
        assert [answer.status_code for answer in answers][:3] == [200] * 3 and answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1 and answers[-1].json()["code"] == "TOO_OFTEN"
        assert calm.get("/me").status_code == 200
        nobody = world.client(None)
        said = [nobody.get("/me", headers={"Authorization": f"Bearer {new_token()}"}).status_code for _ in range(UNKNOWN_A_MINUTE + 5)]
        assert said[0] == 401 and said[-1] == 429
        assert calm.get("/me").status_code == 200


def test_a_token_that_asks_much_at_a_time_keeps_nobody_else_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with World(tmp_path) as world:
        real, go_on, waiting = world.store.board.items, threading.Event(), threading.Semaphore(0)

        def slow(*given: Any, **named: Any) -> Any:
            waiting.release()
            assert go_on.wait(60)
            return real(*given, **named)

        monkeypatch.setattr(world.store.board, "items", slow)
        greedy = [world.client(None) for _ in range(EACH_AT_A_TIME + 1)]
        token = world.portal.token("reader")
        for one in greedy:
            one.headers["Authorization"] = f"Bearer {token}"
        with ThreadPoolExecutor(EACH_AT_A_TIME) as pool:
            answers = [pool.submit(one.get, "/items") for one in greedy[:-1]]
            for _ in answers:
                assert waiting.acquire(timeout=60)
            assert greedy[-1].get("/items").json()["code"] == "TOO_OFTEN"
            assert world.client("reader").get("/me").status_code == 200
            go_on.set()
            assert [answer.result(60).status_code for answer in answers] == [200] * EACH_AT_A_TIME
        assert greedy[-1].get("/items").status_code == 200


# -- questions -----------------------------------------------------------------------------------------------------------------------------


def test_the_next_links_lead_through_all_items_once(world: World) -> None:
    client = world.client("manager")
    every = [item["id"] for item in client.get("/items?limit=500").json()["items"]]
    found, path = [], "/items?limit=1&sort=oudste"
    while path:
        page = client.get(path).json()
        found += [item["id"] for item in page["items"]]
        path = (page["next"] or "").removeprefix("/api/v1")
    assert found == every and len(found) == 6


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("view=uitval", ("failed", "refused")),
        ("view=openstaand", ("waiting",)),
        ("dienst=proef", ("failed", "refused", "waiting")),
        ("versie=1", ("failed", "waiting")),
        ("bericht=proefBericht", ("failed", "waiting")),
        ("brin=01AA", ()),
        ("school={school}", ("failed", "refused", "waiting")),
        ("system={system}", ("failed", "refused", "waiting")),
        (f"system={SOMEBODY},{SOMEBODY}", ()),
        ("receiver={receiver}", ("failed", "waiting")),
        ("receiver_system={mailbox}", ("failed", "waiting")),
        ("party={mailbox}", ("failed", "waiting")),
        ("state=refused", ("refused",)),
        (f"code={CODE}", ("failed",)),
        ("owner=receiver", ("failed",)),
        ("since=2026-01-16", ()),
        ("until=2026-01-14", ()),
        ("handed_in_since=2026-02-01T00:00:00Z", ()),
        ("failed_since=2026-02-01T00:00:00Z", ()),
        ("older_than_s=1", ("failed", "refused", "waiting")),
        ("business_id=B-SIDE-a", ("failed",)),
        ("message_id=urn:uuid:m-side-a", ("failed",)),
        ("reference={waiting}", ("waiting",)),
        ("address={receiver}", ("failed", "waiting")),
        ("lane=mailbox {mailbox}", ("failed", "waiting")),
        ("group={group}", ("failed",)),
        ("never_attempted=true", ("waiting",)),
    ],
)
def test_each_filter_finds_what_it_names(world: World, query: str, finds: tuple[str, ...]) -> None:
    client = world.client("partner-a")
    page = client.get(f"/items?{of(world.a, query)}").json()
    assert {item["reference"] for item in page["items"]} == {getattr(world.a, name) for name in finds}
    assert client.get(f"/items/count?{of(world.a, query)}").json() == {"count": len(finds), "more": False}


def test_every_filter_of_the_board_can_be_asked_for() -> None:
    from portal.api.items import _ATTRIBUTES, FILTER
    from routing.board import ItemFilter

    asked = {_ATTRIBUTES.get(one.name, one.name) for one in FILTER}
    assert set(ItemFilter.__dataclass_fields__) - asked == {"handle", "subject", "orders"}  # these by POST only


def test_a_pupil_is_looked_for_by_post_and_the_number_comes_back_nowhere(world: World) -> None:
    client = world.client("manager")
    answer = client.post("/items/search", json={"personal_number": NUMBERS[0], "view": "uitval"})
    assert [item["reference"] for item in answer.json()["items"]] == [world.a.failed]
    for path in (f"/items?business_id={NUMBERS[0]}", f"/messages/{NUMBERS[0]}", f"/messages?id={NUMBERS[0]}"):
        refused = client.get(path)
        assert refused.status_code == 400 and "/items/search" in refused.text and NUMBERS[0] not in refused.text
    assert client.get(f"/items?personal_number={NUMBERS[0]}").status_code == 400


def test_an_application_is_looked_for_by_its_keten_id(world: World) -> None:
    from routing.board import order_text
    from tests.support.board import keep
    from tests.support.store import VAULT

    key = VAULT.index(order_text("proef", "proefBericht", "01AA:1"))
    message = a_message("keten", sender=world.b.school, system=world.b.system, receiver=world.b.receiver, order_key=key)
    reference = hand_in(world.store, message)[0].reference
    keep(world.store)
    try:
        found = world.client("partner-b").post("/items/search", json={"keten_id": "01AA:1"}).json()["items"]
        assert [item["reference"] for item in found] == [reference]
        assert world.client("partner-a").post("/items/search", json={"keten_id": "01AA:1"}).json()["items"] == []
        assert world.client("partner-b").post("/items/search", json={"keten_id": "01AA:2"}).json()["items"] == []
        assert world.client("partner-b").post("/items/search", json={}).status_code == 400
    finally:
        run_sql(world.store, "DELETE FROM item WHERE reference = :r", r=reference)


def test_the_file_has_every_item_and_nothing_a_spreadsheet_would_run(world: World) -> None:
    answer = world.client("partner-a").get("/items.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert {row["reference"] for row in rows} == {world.a.failed, world.a.waiting, world.a.refused}
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8" and "attachment" in answer.headers["Content-Disposition"]
    assert rows[0]["received_at"].startswith("2026-01-15T")


def test_whoever_may_not_export_gets_no_file(world: World) -> None:
    assert world.client("reader").get("/items.csv").json()["code"] == "NOT_PERMITTED"


def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    client = world.client("manager")
    first = client.get("/items")
    again = client.get("/items", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/items?limit=1", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_every_answer_is_as_described(world: World) -> None:
    client, operator = world.client("manager"), world.client("operator")
    described = Described(world.client(None).get("/openapi.json").json())
    for id, row in TRIES.items():
        if BY_ID[id].method == "GET" and id != "itemsCsv":
            path = of(world.a, row.path)
            answer = (operator if BY_ID[id].tag == "accounts" else client).get(path)
            assert answer.status_code == 200, path
            described.check("GET", f"/api/v1{path}", 200, answer.headers, answer.content)
    missing = client.get("/jobs/none-such")
    described.check("GET", "/api/v1/jobs/none-such", 404, missing.headers, missing.content)


# -- acting --------------------------------------------------------------------------------------------------------------------------------


def test_a_group_is_noted_assigned_given_to_its_partner_solved_and_reopened_in_the_name_of_the_account(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        client, path = world.client("operator"), f"/groups/{world.a.group}"
        client.post(f"{path}/note", json={"text": "rang them"})
        client.post(f"{path}/assign", json={"assignee": "anna", "why": "she knows"})
        said = client.post(f"{path}/with-partner", json={"ticket": "T-1", "agreed_on": "2026-02-01"}).json()["group"]
        assert (said["state"], said["ticket"], said["agreed_on"], said["assignee"]) == ("with_partner", "T-1", "2026-02-01", "anna")
        assert client.post(f"{path}/solve", json={"why": "mended"}).json()["group"]["state"] == "solved"
        detail = client.post(f"{path}/reopen", json={"why": "not yet"}).json()
        assert detail["group"]["state"] == "open"
        assert {note["who"] for note in detail["notes"]} == {"operator"} and len(detail["notes"]) == 5
        assert world.client("reader").post(f"{path}/note", json={"text": "x"}).status_code == 403


def test_a_retry_is_previewed_confirmed_by_one_and_approved_by_another(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        manager, operator = world.client("manager"), world.client("operator")
        preview = manager.post("/previews", json={"action": "retry", "filter": {"group": world.a.group}})
        assert preview.status_code == 201 and preview.json()["count"] == 1 and preview.json()["needs_approval"] is True
        job = manager.post("/jobs", json={"preview": preview.json()["id"], "reason": "mended", "trial": 1})
        assert job.status_code == 201 and job.json()["state"] == "to_approve" and job.json()["made_by"] == "manager"
        path = f"/jobs/{job.json()['id']}"
        own = manager.post(f"{path}/approve")
        assert own.status_code == 403 and manager.get(path).json()["state"] == "to_approve"
        by_token = operator.post(f"{path}/approve")
        assert by_token.status_code == 403 and "A token cannot approve" in by_token.text
        assert world.actions.approve(EVERYTHING, job.json()["id"], who="operator").approved_by == "operator"
        assert operator.post(f"{path}/pause").status_code == 403
        assert manager.post(f"{path}/cancel").json()["state"] in ("cancelled", "done")


@pytest.mark.parametrize(
    "body",
    [
        {"action": "retry"},
        {"action": "retry", "ids": ["a"], "filter": {}},
        {"action": "retry", "ids": []},
        {"action": "erase", "ids": ["a"]},
        {"action": "retry", "filter": {"coed": "x"}},
        {"action": "retry", "filter": {"system": "x"}},
        {"action": "retry", "ids": ["a"], "deliver_again": "yes"},
    ],
)
def test_a_preview_that_says_too_little_or_too_much_is_refused_and_told_why(world: World, body: dict[str, Any]) -> None:
    answer = world.client("manager").post("/previews", json=body)
    assert answer.status_code == 400
    assert all(error["field"] and error["reason"] and error["reason_nl"] for error in answer.json()["errors"])


def test_nothing_at_all_cannot_be_selected(world: World) -> None:
    assert world.client("manager").post("/previews", json={"action": "archive", "filter": {}}).status_code == 409


def test_a_reason_with_a_personal_number_in_it_is_refused(world: World) -> None:
    manager = world.client("manager")
    answer = manager.post("/jobs", json={"preview": world.a.preview, "reason": f"about {NUMBERS[0]}"})
    assert answer.status_code == 409 and NUMBERS[0] not in answer.text


def test_a_mailbox_is_paused_and_resumed_by_whoever_may(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        operator = world.client("operator")
        assert operator.post("/lanes/resume", json={"lane": world.a.lane}).json() == {"lane": world.a.lane, "paused": False}
        assert operator.post("/lanes/pause", json={"lane": world.a.lane}).json() == {"lane": world.a.lane, "paused": True}
        (lane,) = [one for one in operator.get("/lanes").json()["lanes"] if one["lane"] == world.a.lane]
        assert (lane["state"], lane["by"]) == ("held", "operator")
        assert operator.post("/lanes/pause", json={"lane": f"mailbox {SOMEBODY}"}).status_code == 404
        assert world.client("reader").post("/lanes/pause", json={"lane": world.a.lane}).status_code == 403


def test_a_refusal_is_closed_once_and_an_alert_is_taken_once(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        manager = world.client("manager")
        assert manager.post(f"/refusals/{world.a.refused}/close", json={"why": "test data"}).status_code == 200
        assert manager.post(f"/refusals/{world.a.refused}/close", json={"why": "test data"}).status_code == 404
        assert not world.store.board.items(ALL, _by(world.a.refused), now_us=NOW).items
        taken = manager.post(f"/alerts/{world.a.alert}/acknowledge", json={"why": "on it"}).json()
        assert (taken["state"], taken["who"]) == ("acknowledged", "manager")
        assert manager.post(f"/alerts/{world.a.alert}/acknowledge", json={"why": "on it"}).status_code == 409


def _by(reference: str) -> Any:
    from routing.board import ItemFilter

    return ItemFilter(reference=reference)


# -- what is wrong with a request ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"personal_number": "999999990", "personal_number": "999999991"}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"limit": NaN}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"keten_id": "\\ud800"}', "application/json", 400),
        (b'{"keten_id": null}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 300_000, "application/json", 413),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_and_told_so(world: World, data: bytes, kind: str, status: int) -> None:
    answer = world.client("manager").post("/items/search", data=data, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("application/problem+json") and answer.json()["title_nl"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1.5", "sort=x", "after=x", "since=2026-02-30", "system=", "dienst=a&dienst=b", "taal=en"]
)
def test_a_parameter_that_is_wrong_twice_there_or_unknown_is_refused(world: World, query: str) -> None:
    assert world.client("manager").get(f"/items?{query}").json()["code"] == "REQUEST_INVALID"


def test_a_store_that_is_away_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from routing.work import StoreUnavailable

    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("it is away")

    with World(tmp_path) as world:
        client = world.client("manager")
        monkeypatch.setattr(world.store.board, "items", away)
        answer = client.get("/items")
        assert (answer.status_code, answer.json()["code"]) == (503, "STORE_UNAVAILABLE") and answer.headers["Retry-After"]
        assert client.get("/items.csv").status_code == 503


def test_a_file_that_cannot_be_finished_does_not_look_like_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    from portal.api import items
    from routing.work import StoreUnavailable

    with World(tmp_path) as world:
        real, asked = world.store.board.items, []

        def breaking(*given: Any, **named: Any) -> Any:
            asked.append(1)
            if len(asked) > 2:
                raise StoreUnavailable("it is away")
            return real(*given, **named)

        monkeypatch.setattr(world.store.board, "items", breaking)
        monkeypatch.setattr(items, "MOST_ITEMS", 1)
        monkeypatch.setattr("portal.api.server._AT_A_TIME", 1)
        with pytest.raises(requests.RequestException):
            world.client("manager").get("/items.csv")


def test_no_answer_is_kept_by_anybody_between(world: World) -> None:
    client = world.client("manager")
    assert client.get("/items").headers["Cache-Control"] == "private, no-cache"
    assert client.get("/nothing").headers["Cache-Control"] == "no-store"


# -- contacts, content and accounts --------------------------------------------------------------------------------------------------------


def test_contacts_of_a_party_are_those_of_the_alerts_and_a_webhooks_address_is_not_told(world: World) -> None:
    (first,) = world.client("partner-a").get(f"/parties/{world.a.system}/contacts").json()["contacts"]
    assert (first["party"], first["channel"], first["address"], first["quiet"]) == (world.a.system, "email", "help@side-a.example", "za zo")
    hook = Contact(
        id="HOOKS-HOOKS", party=world.b.system, role=ContactRole.TECHNICAL, channel=Channel.WEBHOOK, address="https://b.example/k"
    )
    world.store.alerts.book.add(hook, secret=None, who="t", now_us=NOW)
    said = world.client("manager").get(f"/parties/{world.b.system}/contacts")
    assert {one["address"] for one in said.json()["contacts"]} == {"help@side-b.example", None} and "b.example/k" not in said.text
    assert world.client("manager").get(f"/parties/{SOMEBODY}/contacts").json() == {"contacts": []}


def test_content_is_opened_with_a_reason_that_stands_in_the_journal_before_anything_is_told(world: World) -> None:
    manager, path = world.client("manager"), f"/messages/{world.a.failed}/content"
    before = kinds(world.store, world.a.failed)
    assert manager.post(path, json={}).status_code == 400
    refused = manager.post(path, json={"why": f"of {NUMBERS[0]}"})
    assert refused.status_code == 409 and "negen cijfers" in refused.json()["detail_nl"] and "nine digits" in refused.json()["detail"]
    assert world.client("operator").post(path, json={"why": "curious"}).json()["code"] == "NOT_PERMITTED"
    assert kinds(world.store, world.a.failed) == before
    said = manager.post(path, json={"why": "the receiver asks"}).json()
    assert said["reference"] == world.a.failed and said["content"].startswith("<") and said["why"] == "the receiver asks"
    assert kinds(world.store, world.a.failed) == [*before, "content_opened"]
    assert manager.post(f"/messages/{world.a.refused}/content", json={"why": "because"}).status_code == 409, "of a refusal nothing is kept"


def test_an_operators_program_sees_accounts_and_can_only_take_away(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        operator = world.client("operator")
        assert {row["name"] for row in operator.get("/accounts").json()["accounts"]} >= {"manager", "operator", "partner-a"}
        partner = world.client("partner-a")
        (token,) = world.store.people.tokens("partner-a")
        detail = operator.post(f"/accounts/partner-a/tokens/{token.key}/end").json()
        assert [row["ended_at"] is not None for row in detail["tokens"]] == [True] and partner.get("/me").status_code == 401
        assert operator.post(f"/accounts/partner-a/tokens/{token.key}/end").status_code == 404
        assert operator.post("/accounts/partner-a/disable").json()["account"]["disabled"] is True
        assert operator.post("/accounts/operator/disable").json()["code"] == "CANNOT_BE_DONE"
        assert "password" not in operator.get("/accounts/reader").text.replace("one_time_password", "")
        assert operator.get("/accounts/nobody").status_code == 404
        assert world.client("manager").get("/accounts").status_code == 403
