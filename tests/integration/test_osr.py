"""The register's API v2 on a real gateway, over mutual TLS: what parties look up, and what suppliers change of their own."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

import run as program
from adapters.osr_shapes import BASE
from routing.amsterdam import amsterdam_day
from routing.api_keys import digest_of, new_api_key, short
from schemas.oin import Oin
from tests.support.exchange import CENTRAAL, DOCUMENT, LAS, MBO, SCHOOL, SIS, UTRECHT
from tests.support.gateways import Gateways
from tests.support.osr import Answer, Api
from tests.support.store import BOTH, fresh_url

BOARD = Oin("00000001801234560000")
GONE = Oin("00000003272448390000")
STRANGER = Oin("00000003999999990000")
VVA, PROEF = "urn:x-backbone:vva:1", "urn:x-backbone:proef:1"
NORTH, SOUTH = Oin(SCHOOL[:15] + "00530"), Oin(SCHOOL[:15] + "00531")


def document() -> dict[str, Any]:
    """Both schools mandate both systems for `proef`, so that one may try to have what is the other's; nobody has endpoints for it yet."""
    made: dict[str, Any] = deepcopy(DOCUMENT)
    made["boards"] = [{"oin": BOARD, "name": "Stichting Emmaus"}]
    school = next(row for row in made["organisations"] if row["oin"] == SCHOOL)
    school |= {"board": BOARD, "oa_id": "107A123"}
    made["diensten"].append({"dienst": "proef", "versie": "0", "namespace": "urn:x-backbone:proef:0", "until": "2098-12-31"})
    made["systems"].append({"oin": GONE, "name": "Klassenboek", "supplier": "Boek BV", "until": "2025-07-31"})
    made["mandates"] = [
        {"organisation": SCHOOL, "dienst": "vva", "system": LAS},
        {"organisation": SCHOOL, "dienst": "proef", "system": LAS, "until": "2099-07-31"},
        {"organisation": SCHOOL, "dienst": "proef", "system": SIS},
        {"organisation": MBO, "dienst": "proef", "system": SIS},
        {"organisation": MBO, "dienst": "vva", "system": SIS, "from": "2020-08-01", "until": "2021-07-31"},
    ]
    made["endpoints"] = [
        {
            "id": "mbo-proef",
            "organisation": MBO,
            "dienst": "proef",
            "versie": "1",
            "system": SIS,
            "mailbox": True,
            "attributes": ["SIS", "mbo"],
        },
        {"id": "school-vva", "organisation": SCHOOL, "dienst": "vva", "versie": "1", "system": LAS, "mailbox": True, "until": "2099-07-31"},
        {
            "id": "school-vva-next",
            "organisation": SCHOOL,
            "dienst": "vva",
            "versie": "1",
            "system": LAS,
            "url": "https://las.example/vva",
            "from": "2099-08-01",
        },
        {"id": "unmandated", "organisation": MBO, "dienst": "vva", "versie": "1", "system": SIS, "mailbox": True},
        {"id": "unmandated-too", "organisation": MBO, "dienst": "vva", "versie": "1", "system": SIS, "mailbox": True},
    ]
    return made


@pytest.fixture(scope="module", params=BOTH)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = tmp_path_factory.mktemp("osr")
    more = {} if request.param == "sqlite" else {"KOPPELPUNT_STORE": fresh_url(request.param, home)}
    with Gateways(
        home, settings={"KOPPELPUNT_REGISTER_READS": "100000", "KOPPELPUNT_PUSH_NETWORKS": "10.1.0.0/16", **more}, document=document()
    ) as gateways:
        yield Api(gateways, (LAS, SIS, CENTRAAL, GONE), strangers=(STRANGER,))


def ok(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer
    return answer.said


def wrong(answer: Answer, status: int, title: str) -> str:
    """Its code."""
    assert (answer.status, answer.said["title"]) == (status, title), answer
    assert answer.said["detail"], answer
    return str(answer.said["code"])


def token_of(api: Api, system: Oin, school: Oin, dienst: str = "proef") -> str:
    (found,) = [
        row["token"] for row in ok(api.get("/school-mandates", system, key=True, service_code=dienst)) if row["school_oin"] == school
    ]
    return str(found)


def today() -> date:
    return amsterdam_day(datetime.now(UTC))


# -- schools and diensten ------------------------------------------------------------------------------------------------------------------


def test_anyone_with_a_certificate_finds_a_school_its_board_and_the_diensten(api: Api) -> None:
    (school,) = ok(api.get("/schools", STRANGER, name="emmaus"))
    assert {name: school[name] for name in ("oin", "brin", "name", "oa_id")} == {
        "oin": SCHOOL,
        "brin": SCHOOL[11:15],
        "name": "Emmaus College",
        "oa_id": "107A123",
    }
    assert ok(api.get(school["_links"]["self"]["href"], STRANGER)) == school
    assert ok(api.get(school["_links"]["board"]["href"], STRANGER))["name"] == "Stichting Emmaus"
    (service,) = ok(api.get("/services", STRANGER, name="PROEF"))
    assert ok(api.get(service["_links"]["self"]["href"], STRANGER)) == service
    _, version = ok(api.get("/service-versions", STRANGER, service_code="proef"))
    assert (version["namespace"], version["status"]) == (PROEF, "active")
    assert ok(api.get(version["_links"]["self"]["href"], STRANGER)) == version
    assert version["_links"]["service"] == service["_links"]["self"]


def test_search_terms_are_combined_with_and_and_a_municipality_is_no_school(api: Api) -> None:
    assert len(ok(api.get("/schools", LAS))) == 2
    assert ok(api.get("/schools", LAS, brin="25BE" if SCHOOL[11:15] != "25BE" else "04XY", name="emmaus")) == []
    assert ok(api.get("/schools", LAS, oin=UTRECHT)) == []
    assert [row["oin"] for row in ok(api.get("/schools", LAS, oa_id="107A123", oin=SCHOOL))] == [SCHOOL]


def test_a_long_list_is_read_page_after_page(api: Api) -> None:
    first = api.get("/schools", LAS, limit=1)
    assert 'rel="next"' in first.headers["Link"]
    second = api.get(first.headers["Link"].partition("<")[2].partition(">")[0], LAS)
    assert [row["oin"] for row in (*ok(first), *ok(second))] == sorted((SCHOOL, MBO))
    assert "Link" not in second.headers


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/services/none", "Service with id none does not exist"),
        ("/service-versions/proef:9", "Service version with id proef:9 does not exist"),
        (f"/schools/{UTRECHT}", f"School with id {UTRECHT} does not exist"),
        ("/endpoints/none", "Endpoint with id none does not exist"),
    ],
)
def test_what_does_not_exist_is_told_in_the_words_of_the_sources(api: Api, path: str, title: str) -> None:
    assert wrong(api.get(path, STRANGER), 404, title) == "REGISTER_UNKNOWN"


@pytest.mark.parametrize(
    ("path", "asked", "fields"),
    [
        ("/schools", {"oin": "12"}, ["oin"]),
        ("/schools", {"brin": "x", "limit": "0"}, ["brin", "limit"]),
        ("/schools", {"board": "1"}, ["board"]),
        ("/mandates", {}, ["school_oin", "supplier_oin"]),
        ("/mandates", {"school_oin": SCHOOL, "supplier_oin": LAS}, ["service_version_namespace"]),
        ("/endpoints", {"routing_id": SCHOOL, "school_oin": SCHOOL, "service_version_namespace": VVA}, ["routing_id"]),
        ("/endpoints", {"school_oin": SCHOOL, "service_version_namespace": VVA, "reference_date": "2027-02-30"}, ["reference_date"]),
        (
            "/endpoints",
            {"school_oin": SCHOOL, "service_version_namespace": VVA, "include_future_endpoints": "1"},
            ["include_future_endpoints"],
        ),
    ],
)
def test_a_wrong_question_is_a_validation_error_that_names_every_field(
    api: Api, path: str, asked: dict[str, str], fields: list[str]
) -> None:
    answer = api.get(path, STRANGER, **asked)
    assert wrong(answer, 400, "Validation error(s)") == "REQUEST_INVALID"
    assert [error["field"] for error in answer.said["errors"]] == fields


# -- mandates ------------------------------------------------------------------------------------------------------------------------------


def test_a_third_party_hears_only_that_there_is_a_mandate(api: Api) -> None:
    asked = {"school_oin": SCHOOL, "supplier_oin": LAS, "service_version_namespace": PROEF}
    assert ok(api.get("/mandates", STRANGER, **asked)) == {"status": "OK"}
    assert ok(api.get("/mandates", SIS, key=True, **asked)) == {"status": "OK"}  # a key of its own shows nobody else's
    assert ok(api.get("/mandates", LAS, **asked)) == {"status": "OK"}  # its own, without a key
    own = ok(api.get("/mandates", LAS, key=True, **asked))
    assert (own["end_date"], own["token"]) == ("2099-07-31", token_of(api, LAS, SCHOOL))
    assert ok(api.get(own["_links"]["self"]["href"], LAS, key=True)) == own


def test_a_mandate_is_judged_as_of_the_reference_date(api: Api) -> None:
    asked = {"school_oin": MBO, "supplier_oin": SIS, "service_code": "vva"}
    assert wrong(api.get("/mandates", STRANGER, **asked), 404, "Mandate not found") == "REGISTER_UNKNOWN"
    assert ok(api.get("/mandates", STRANGER, reference_date="2021-07-31", **asked)) == {"status": "OK"}
    wrong(api.get("/mandates", STRANGER, reference_date="2021-08-01", **asked), 404, "Mandate not found")


@pytest.mark.parametrize(
    "other", [{"school_oin": UTRECHT}, {"supplier_oin": CENTRAAL}, {"service_version_namespace": "urn:none"}, {"supplier_oin": STRANGER}]
)
def test_one_parameter_that_does_not_match_is_no_mandate(api: Api, other: dict[str, str]) -> None:
    asked = {"school_oin": SCHOOL, "supplier_oin": LAS, "service_version_namespace": PROEF} | other
    wrong(api.get("/mandates", STRANGER, **asked), 404, "Mandate not found")


def test_a_system_lists_its_own_mandates_and_reads_nobody_elses(api: Api) -> None:
    first = api.get("/school-mandates", SIS, key=True, service_code="proef", limit=1)
    second = api.get(first.headers["Link"].partition("<")[2].partition(">")[0], SIS, key=True)
    found = [*ok(first), *ok(second)]
    assert {row["school_oin"] for row in found} == {SCHOOL, MBO} and {row["supplier_oin"] for row in found} == {SIS}
    assert wrong(api.get("/school-mandates", SIS, service_code="proef"), 401, "API key required") == "REGISTER_KEY_MISSING"
    wrong(api.get(f"/mandates/{token_of(api, LAS, SCHOOL)}", SIS, key=True), 404, "Mandate not found")


# -- API keys ------------------------------------------------------------------------------------------------------------------------------


def test_a_key_counts_with_its_own_certificate_only_and_not_after_its_end(api: Api) -> None:
    theirs = api.keys[LAS]
    answer = api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": theirs})
    assert wrong(answer, 403, "API key of another certificate") == "REGISTER_KEY_OF_ANOTHER"
    answer = api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": new_api_key()})
    assert wrong(answer, 401, "API key not valid") == "REGISTER_KEY_UNKNOWN"
    one = api.make_key(SIS)
    assert api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": one}).status == 200
    api.gateways.store.register.end_api_key(digest_of(one), int(time.time() * 1e6), who="test")
    answer = api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": one})
    assert wrong(answer, 401, "API key not valid") == "REGISTER_KEY_UNKNOWN"
    assert "api_key_refused" in api.gateways.log()
    assert one not in api.gateways.log() and theirs not in api.gateways.log()


def test_an_operator_makes_lists_and_ends_a_key_and_the_store_never_has_it(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in api.gateways.environment.items():
        monkeypatch.setenv(name, value)

    def command(*words: str) -> Any:
        assert program.main(["register", "api-key", *words, "--system", SIS, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    made = command("make", "--label", "new server")
    assert api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": made["api_key"]}).status == 200
    (row,) = [row for row in command("list") if row["key"] == made["key"]]
    assert (row["label"], row["ended"]) == ("new server", None)
    assert made["api_key"] not in json.dumps(command("list"))
    command("end", made["key"])
    assert api.ask("GET", "/school-mandates?service_code=proef", SIS, headers={"X-Api-Key": made["api_key"]}).status == 401
    assert program.main(["register", "api-key", "end", made["key"], "--system", SIS]) == 1
    assert "no key" in capsys.readouterr().err
    assert program.main(["register", "api-key", "make", "--label", "x", "--system", STRANGER]) == 1


def test_without_a_certificate_nobody_looks_up_anything_but_the_description(api: Api) -> None:
    answer = api.ask("GET", "/schools", None)
    assert (answer.status, answer.said["code"]) == (401, "Client.EK0030")
    assert api.ask("GET", "/openapi.json", None).status == 200


# -- reading endpoints ---------------------------------------------------------------------------------------------------------------------


def endpoints(api: Api, system: Oin = STRANGER, **asked: Any) -> list[str]:
    return [row["token"] for row in ok(api.get("/endpoints", system, **asked))]


def test_endpoints_are_found_as_of_a_day_and_later_ones_on_request(api: Api) -> None:
    asked = {"school_oin": SCHOOL, "service_version_namespace": VVA}
    assert endpoints(api, **asked) == ["school-vva"]
    assert endpoints(api, **asked, reference_date="2099-08-01") == ["school-vva-next"]
    assert endpoints(api, **asked, include_future_endpoints="true") == ["school-vva", "school-vva-next"]
    assert endpoints(api, routing_id=SCHOOL, service_version_namespace=VVA) == ["school-vva"]
    assert endpoints(api, routing_id=NORTH, service_version_namespace=VVA) == []
    assert endpoints(api, school_oin=SCHOOL, service_version_namespace="urn:none") == []


def test_an_endpoint_without_a_mandate_is_none_and_attributes_must_all_be_there(api: Api) -> None:
    assert endpoints(api, school_oin=MBO, service_version_namespace=VVA) == []
    both = {"service_version_namespace": VVA, "reference_date": "2021-01-01"}
    assert endpoints(api, school_oin=MBO, **both) == ["unmandated", "unmandated-too"]
    assert wrong(api.get("/endpoints", STRANGER, routing_id=MBO, **both), 409, "More than one endpoint") == "ROUTE_AMBIGUOUS"
    assert endpoints(api, school_oin=MBO, service_version_namespace=PROEF, attributes="SIS,mbo") == ["mbo-proef"]
    assert endpoints(api, school_oin=MBO, service_version_namespace=PROEF, attributes="SIS,vo") == []


# -- writing -------------------------------------------------------------------------------------------------------------------------------


def new(api: Api, routing_id: str | None, system: Oin = LAS, **more: Any) -> dict[str, Any]:
    said = {"mandate_token": token_of(api, system, SCHOOL), "service_version_namespace": PROEF, "url": "https://las.example/in"}
    return {**said, **({"routing_id": routing_id} if routing_id else {}), **more}


def administration(number: int) -> str:
    return f"{SCHOOL[:15]}{number:05d}"


def test_a_supplier_makes_changes_and_ends_an_endpoint_and_everybody_sees_it(api: Api) -> None:
    routing_id = administration(100)
    answer = api.ask("POST", "/endpoints", LAS, key=True, json=new(api, routing_id, attributes=["LAS"], reason="new location"))
    made = ok(answer, 201)
    assert answer.headers["Location"] == made["_links"]["self"]["href"]
    assert (made["start_date"], made["end_date"], made["attributes"]) == (str(today()), "2099-07-31", ["LAS"])
    assert ok(api.get("/endpoints", STRANGER, routing_id=routing_id, service_version_namespace=PROEF)) == [made]
    assert made in ok(api.get("/endpoints", STRANGER, school_oin=SCHOOL, service_version_namespace=PROEF))
    assert ok(api.get("/endpoints", STRANGER, routing_id=SCHOOL, service_version_namespace=PROEF)) == []  # not that of an administration
    path = f"/endpoints/{made['token']}"
    changed = ok(api.ask("PATCH", path, LAS, key=True, json={"url": "https://las.example/other", "at_once": 2}))
    assert changed == {**made, "url": "https://las.example/other"}
    later = str(today() + timedelta(days=30))
    moved = ok(api.ask("PATCH", path, LAS, key=True, json={"url": "https://new.example/", "change_date": later}))
    assert (moved["start_date"], moved["url"]) == (later, "https://new.example/")
    assert ok(api.get(path, STRANGER))["end_date"] == str(today() + timedelta(days=29))
    ended = ok(api.ask("PATCH", path, LAS, key=True, json={"end_date": str(today())}))
    assert ended["end_date"] == str(today())
    place = moved["_links"]["self"]["href"]
    assert ok(api.get(place, STRANGER)) == moved
    assert api.ask("PATCH", place, LAS, key=True, json={"end_date": str(today())}).status == 204
    assert api.get(place, STRANGER).status == 404
    assert ok(api.ask("PATCH", path, LAS, key=True, json={"end_date": "2099-07-31"}))["end_date"] == "2099-07-31"
    past = api.ask("PATCH", path, LAS, key=True, json={"end_date": "2020-01-01"})
    assert wrong(past, 400, "Validation error(s)") == "REGISTER_WRONG"
    history = api.gateways.store.register.history("endpoints", made["token"])
    assert {row["who"] for row in history} == {f"system {LAS}, API key {short(digest_of(api.keys[LAS]))}"}
    assert [row["why"] for row in history][:2] == ["new location", "PATCH /endpoints"]


def test_a_supplier_is_warned_of_what_may_be_a_mistake_all_the_same(api: Api) -> None:
    said = new(api, administration(110), service_version_namespace="urn:x-backbone:proef:0")
    (warning,) = ok(api.ask("POST", "/endpoints", LAS, key=True, json=said), 201)["warnings"]
    assert "2098-12-31" in warning["en"]


def test_an_address_in_a_network_that_the_operator_allows_is_taken(api: Api) -> None:
    said = new(api, administration(120), url="https://10.1.2.3/in")
    assert ok(api.ask("POST", "/endpoints", LAS, key=True, json=said), 201)["url"] == "https://10.1.2.3/in"


def test_a_system_that_has_left_the_register_has_no_say_any_more(api: Api) -> None:
    said = {"service_version_namespace": PROEF, "mailbox": True}
    answer = api.ask("POST", "/endpoints", GONE, key=True, json=said)
    assert wrong(answer, 403, "Not a system of the register") == "REGISTER_NOT_A_SYSTEM"
    assert len(ok(api.get("/schools", GONE, key=True))) == 2


def test_an_organisation_that_connects_itself_needs_no_mandate(api: Api) -> None:
    said = {"service_version_namespace": PROEF, "mailbox": True}
    made = ok(api.ask("POST", "/endpoints", CENTRAAL, key=True, json=said), 201)
    assert (made["school_oin"], made["mailbox"], made["url"]) == (CENTRAAL, True, None)
    assert ok(api.get("/endpoints", STRANGER, routing_id=CENTRAAL, service_version_namespace=PROEF)) == [made]
    refused = api.ask("POST", "/endpoints", LAS, key=True, json=said)
    assert wrong(refused, 403, "No mandate") == "REGISTER_NO_MANDATE"


def test_a_supplier_cannot_have_what_is_anothers(api: Api) -> None:
    routing_id = administration(200)
    made = ok(api.ask("POST", "/endpoints", LAS, key=True, json=new(api, routing_id)), 201)
    before = api.gateways.store.register.newest()
    stolen = new(api, administration(201))  # with the token of the other's mandate
    assert wrong(api.ask("POST", "/endpoints", SIS, key=True, json=stolen), 403, "Not yours") == "REGISTER_NOT_YOURS"
    guessed = api.ask("POST", "/endpoints", SIS, key=True, json=stolen | {"routing_id": MBO[:15] + "00001"})
    assert wrong(guessed, 403, "Not yours") == "REGISTER_NOT_YOURS"  # whose mandate it is cannot be found out
    for change in ({"url": "https://sis.example/"}, {"end_date": str(today())}):
        answer = api.ask("PATCH", f"/endpoints/{made['token']}", SIS, key=True, json=change)
        assert wrong(answer, 403, "Not yours") == "REGISTER_NOT_YOURS"
    overlap = api.ask("POST", "/endpoints", SIS, key=True, json=new(api, routing_id, SIS))
    assert wrong(overlap, 409, "Overlapping endpoint") == "REGISTER_OVERLAP"
    assert overlap.said["conflict"]["row"] == made["token"]
    replayed = api.ask("PATCH", f"/endpoints/{made['token']}", SIS, headers={"X-Api-Key": api.keys[LAS]}, json={"at_once": 1})
    assert wrong(replayed, 403, "API key of another certificate") == "REGISTER_KEY_OF_ANOTHER"
    without = api.ask("PATCH", f"/endpoints/{made['token']}", LAS, json={"at_once": 1})
    assert wrong(without, 401, "API key required") == "REGISTER_KEY_MISSING"
    unknown = api.ask("POST", "/endpoints", LAS, key=True, json=new(api, None, mandate_token=str(uuid.uuid4())))
    assert wrong(unknown, 404, "Mandate not found") == "REGISTER_UNKNOWN"
    assert api.gateways.store.register.newest() == before


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"url": None}, "url"),
        ({"mailbox": True}, "url"),
        ({"start_date": "tomorrow"}, "start_date"),
        ({"routing_id": "1"}, "routing_id"),
        ({"routing_id": MBO}, "request"),
        ({"attributes": ["a", "a"]}, "attributes"),
        ({"at_once": 1.5}, "at_once"),
        ({"until": "2030-01-01"}, "until"),
        ({"url": "http://las.example/"}, "request"),
        ({"url": "https://10.0.0.1/"}, "request"),
        ({"url": "https://localhost/"}, "request"),
        ({"start_date": "2030-01-01", "end_date": "2029-12-31"}, "request"),
        ({"mandate_token": "1"}, "mandate_token"),
        ({"reason": "\u0000"}, "reason"),
    ],
)
def test_a_wrong_endpoint_is_not_made(api: Api, said: dict[str, Any], field: str) -> None:
    before = api.gateways.store.register.newest()
    answer = api.ask("POST", "/endpoints", LAS, key=True, json=new(api, administration(300)) | said)
    wrong(answer, 400, "Validation error(s)")
    assert field in [error["field"] for error in answer.said["errors"]]
    assert api.gateways.store.register.newest() == before


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"url": "https://a.example/", "url": "https://b.example/"}', "application/json", 400),
        (b'{"a":' * 100_000, "application/json", 400),
        (b"{}", "text/xml", 415),
        (b" " * 2_000_000, "application/json", 413),
    ],
)
def test_a_body_that_is_none_is_refused(api: Api, body: bytes, kind: str, status: int) -> None:
    answer = api.ask("POST", "/endpoints", LAS, key=True, data=body, headers={"Content-Type": kind})
    assert answer.status == status and answer.said["status"] == status


def test_an_endpoint_outside_the_days_of_its_mandate_is_refused_with_those_days(api: Api) -> None:
    answer = api.ask("POST", "/endpoints", LAS, key=True, json=new(api, administration(400), end_date="2099-08-01"))
    assert wrong(answer, 403, "No mandate") == "REGISTER_NO_MANDATE"
    assert "2099-07-31" in answer.said["detail"]


def test_each_row_of_many_has_its_own_result(api: Api) -> None:
    rows = [
        new(api, administration(500)),
        new(api, administration(500)),
        new(api, administration(501), url="ftp://x"),
        {"token": "mbo-proef", "mailbox": True},
        {"token": 7},
    ]
    results = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": rows}))["results"]
    assert [(row["row"], row["status"]) for row in results] == [(1, 201), (2, 409), (3, 400), (4, 403), (5, 400)]
    assert results[1]["problem"]["conflict"]["row"] == results[0]["endpoint"]["token"]
    twice = [{"token": results[0]["endpoint"]["token"], "at_once": number} for number in (1, 2)]
    answers = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": twice}))["results"]
    assert [row["status"] for row in answers] == [200, 400], "all rows are one version of the register"
    change = [{"token": results[0]["endpoint"]["token"], "attributes": ["x"]}]
    (changed,) = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": change}))["results"]
    assert changed["endpoint"]["attributes"] == ["x"]
    wrong(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": []}), 400, "Validation error(s)")


def test_many_rows_are_one_version_of_the_register_and_a_row_may_follow_on_another(api: Api) -> None:
    rows = [new(api, administration(800 + number), end_date="2099-05-01") for number in range(50)]
    rows.append(new(api, administration(800), start_date="2099-05-02", end_date="2099-06-01"))
    rows.append(new(api, administration(800), start_date="2099-05-01", end_date="2099-06-01"))
    before = api.gateways.store.register.newest()
    results = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": rows}))["results"]
    assert [row["status"] for row in results] == [201] * 51 + [409]
    assert results[51]["problem"]["conflict"]["row"] in {results[0]["endpoint"]["token"], results[50]["endpoint"]["token"]}
    assert api.gateways.store.register.newest() == before + 1


def test_rows_with_reasons_of_their_own_keep_them(api: Api) -> None:
    rows = [new(api, administration(900 + number), reason=reason) for number, reason in enumerate(("a", "a", "b"))]
    results = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": rows}))["results"]
    register = api.gateways.store.register
    found = [register.history("endpoints", row["endpoint"]["token"])[0] for row in results]
    assert [one["why"] for one in found] == ["a", "a", "b"] and [one["version"] - found[0]["version"] for one in found] == [0, 0, 1]


def test_a_system_that_has_all_the_endpoints_it_may_have_is_told_so(tmp_path: Path) -> None:
    with Gateways(tmp_path, settings={"KOPPELPUNT_REGISTER_ENDPOINTS": "4"}, document=document()) as gateways:
        api = Api(gateways, (LAS,), strangers=(STRANGER,))
        rows = [new(api, administration(1 + number)) for number in range(10)]
        results = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": rows}))["results"]
        statuses = [row["status"] for row in results]
        assert 0 < statuses.count(201) < 4 and statuses == sorted(statuses), "it had some"
        assert statuses[-1] == 400 and results[-1]["problem"]["code"] == "REGISTER_QUOTA"
        answer = api.ask("POST", "/endpoints", LAS, key=True, json=rows[-1])
        assert wrong(answer, 400, "Validation error(s)") == "REGISTER_QUOTA" and "no more than 4" in answer.said["detail"]


def test_of_many_who_want_the_same_place_at_once_one_has_it(api: Api) -> None:
    routing_id = administration(600)
    wishes = [(system, new(api, routing_id, system)) for system in (LAS, SIS) * 4]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda wish: api.ask("POST", "/endpoints", wish[0], key=True, json=wish[1]), wishes))
    assert sorted(answer.status for answer in answers) == [201, *[409] * 7]
    assert len(ok(api.get("/endpoints", STRANGER, routing_id=routing_id, service_version_namespace=PROEF))) == 1


def test_while_the_store_takes_nothing_reading_goes_on_and_a_write_is_to_come_again(tmp_path: Path) -> None:
    with Gateways(tmp_path, document=document()) as gateways:
        api = Api(gateways, (LAS,), strangers=(STRANGER,))
        said = new(api, administration(700))
        with closing(sqlite3.connect(make_url(gateways.settings.store).database or "", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert endpoints(api, school_oin=SCHOOL, service_version_namespace=VVA) == ["school-vva"]
            rows = [said, {"token": "school-vva", "attributes": ["x"]}] * 4  # more than could each wait for it
            results = ok(api.ask("POST", "/endpoints/bulk", LAS, key=True, json={"endpoints": rows}))["results"]
            expected = ["Server.DK0051", "Server.DK0051"] + ["Server.DK0051", "REQUEST_INVALID"] * 3  # what is named twice is wrong anyway
            assert [row["problem"]["code"] for row in results] == expected
            assert {row["status"] for row in results} == {503, 400}
            other.execute("ROLLBACK")
        ok(api.ask("POST", "/endpoints", LAS, key=True, json=said), 201)


def test_every_request_is_one_line_in_the_access_log_without_its_question(api: Api) -> None:
    mark = uuid.uuid4().hex[:12]
    api.get(f"/services/{mark}", STRANGER)
    api.get("/schools", STRANGER, name=f"secret{mark}")
    lines = [line for line in api.gateways.log().splitlines() if f"{BASE}/services/{mark}" in line]
    assert len(lines) == 1
    assert all(fact in lines[0] for fact in (" request ", "status=404", f'system="{STRANGER}"', 'code="REGISTER_UNKNOWN"'))
    assert f"secret{mark}" not in api.gateways.log()


def test_a_question_of_a_thousand_names_gets_a_short_answer(api: Api) -> None:
    answer = api.get("/mandates", STRANGER, **{f"a{number:x}": "" for number in range(1_000)})
    assert wrong(answer, 400, "Validation error(s)") == "REQUEST_INVALID"
    assert len(str(answer.said)) < 1_000


def test_a_token_that_cannot_be_one_is_unknown_and_no_token_stands_in_the_log(api: Api) -> None:
    assert api.get(f"/endpoints/{'x' * 201}", STRANGER).status == 404
    assert api.ask("PATCH", f"/endpoints/{'x' * 201}", LAS, key=True, json={"attributes": []}).status == 404
    token = token_of(api, LAS, SCHOOL)
    ok(api.get(f"/mandates/{token}", LAS, key=True))
    assert token not in api.gateways.log()
    assert f'path="{BASE}/mandates/{{token}}"' in api.gateways.log()


# -- how often -----------------------------------------------------------------------------------------------------------------------------


def test_who_reads_endpoints_too_often_is_told_when_to_come_again_and_others_are_not(tmp_path: Path) -> None:
    with Gateways(tmp_path, settings={"KOPPELPUNT_REGISTER_READS": "3"}, document=document()) as gateways:
        api = Api(gateways, (LAS,), strangers=(STRANGER,))
        asked = {"school_oin": SCHOOL, "service_version_namespace": VVA}
        answers = [api.get("/endpoints", STRANGER, **asked) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert wrong(answers[3], 429, "Too Many Requests") == "REGISTER_TOO_OFTEN"
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
        assert api.get("/endpoints/school-vva", STRANGER).status == 429
        assert api.get("/endpoints", LAS, **asked).status == 200
        assert [api.get("/schools", STRANGER).status for _ in range(4)] == [200, 200, 200, 429]
        assert api.get(f"/schools/{SCHOOL}", STRANGER).status == 200
