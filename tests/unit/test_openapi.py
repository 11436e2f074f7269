"""The OpenAPI description: valid, complete, and made from the contracts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import run
from adapters.openapi import PATH, OpenApiPages, description
from adapters.rest_explain import ExplainPages
from adapters.rest_mailbox import MailboxPages
from adapters.rest_status import StatusPages
from adapters.rest_where import WherePages
from schemas.contracts import BUILT_IN, load_contracts
from tests.support import openapi

NOBODY: Any = None


def test_the_description_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(openapi.DOCUMENT).validate()
    ids = [operation["operationId"] for item in openapi.DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


def test_every_page_is_described_and_nothing_else_is() -> None:
    pages = (OpenApiPages({}), StatusPages(NOBODY, NOBODY), MailboxPages(NOBODY, NOBODY), ExplainPages(NOBODY, NOBODY, NOBODY))
    pages = (*pages, WherePages(NOBODY, NOBODY, NOBODY, NOBODY))
    there = {(route.method.lower(), route.path) for page in pages for route in page.routes()}
    described = {(method, path) for path, item in openapi.DOCUMENT["paths"].items() for method in item}
    hand_ins = {("post", "/rest/proef/1"), ("post", "/rest/vva/1")}
    assert described == there | hand_ins


def test_a_new_version_of_a_dienst_is_described_without_code(tmp_path: Path) -> None:
    shutil.copytree(BUILT_IN / "proef/1", tmp_path / "proef/2.0")
    toml = tmp_path / "proef/2.0/dienst.toml"
    toml.write_text(toml.read_text("utf-8").replace('versie = "1"', 'versie = "2.0"').replace("proef:1", "proef:2"), "utf-8")
    xsd = tmp_path / "proef/2.0/proef.xsd"
    xsd.write_text(xsd.read_text("utf-8").replace("proef:1", "proef:2"), "utf-8")
    made = description(load_contracts(tmp_path), url="https://x.example")
    OpenAPIV31SpecValidator(made).validate()
    operation = made["paths"]["/rest/proef/2.0"]["post"]
    content = operation["requestBody"]["content"]
    assert content["application/json"]["schema"]["required"] == ["proef"]
    assert content["application/xml"] == content["text/xml"]
    assert {one["name"] for one in operation["parameters"]} == {"edu-from", "edu-to", "Idempotency-Key"}
    assert "201" in operation["responses"]
    toml.write_text(toml.read_text("utf-8").replace("rest = true\n", ""), "utf-8")
    assert "/rest/proef/2.0" not in description(load_contracts(tmp_path), url="https://x.example")["paths"]


def test_only_the_description_itself_needs_no_certificate() -> None:
    assert openapi.DOCUMENT["security"] == [{"certificate": []}]
    open_to_all = [path for path, item in openapi.DOCUMENT["paths"].items() for one in item.values() if one.get("security") == []]
    assert open_to_all == [PATH]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run.main(["openapi", "--url", "https://koppelpunt.example", "--home", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(openapi.DOCUMENT))


@pytest.mark.parametrize(
    ("said", "good"),
    [
        ({"delivery_id": "1", "counted": True, "state": "failed", "code": "MAILBOX_DOUBLE"}, True),
        ({"delivery_id": "1", "counted": True, "state": "failed", "code": "NO_SUCH_CODE"}, False),
        ({"delivery_id": "1", "counted": True, "state": "failed"}, False),
        ({"delivery_id": "1", "counted": True, "state": "failed", "code": None, "more": 1}, False),
    ],
)
def test_what_checks_answers_in_other_tests_does_check_them(said: dict[str, Any], good: bool) -> None:
    headers, path = {"Content-Type": "application/json"}, "/rest/mailbox/1/confirm"
    if good:
        openapi.check("POST", path, 200, headers, json.dumps(said).encode())
    else:
        with pytest.raises(jsonschema.ValidationError):
            openapi.check("POST", path, 200, headers, json.dumps(said).encode())
