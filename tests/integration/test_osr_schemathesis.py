"""The register's API against its own OpenAPI description: requests made up from it, good and bad, at a real gateway."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from adapters.https import LARGEST_HEADER
from adapters.osr_openapi import description
from tests.integration.test_osr import PROEF, STRANGER, document
from tests.support.exchange import LAS
from tests.support.gateways import Gateways
from tests.support.osr import Api

#: Requests for each of some twenty operations; some fifty a second.
EACH = 30

#: Where one of two parameters must be there, which OpenAPI cannot say.
ONE_OF_TWO = ("/osr/api/v2/mandates", "/osr/api/v2/endpoints")

schema = schemathesis.openapi.from_dict(description(url="https://localhost"))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    home = tmp_path_factory.mktemp("schemathesis")
    with Gateways(home, settings={"KOPPELPUNT_REGISTER_READS": "1000000"}, document=document()) as gateways:
        yield Api(gateways, (LAS,), strangers=(STRANGER,))


@schema.parametrize()
@settings(
    max_examples=EACH, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_answer_is_as_described_and_what_is_not_described_is_refused(case: schemathesis.Case, api: Api) -> None:
    assume(len(urlencode(case.query or {})) < LARGEST_HEADER - 1_000)  # a longer line is no HTTP here, and never comes to a page
    party = api.parties[LAS]
    excluded = [positive_data_acceptance] if case.operation.path in ONE_OF_TWO and case.method == "GET" else []
    case.call_and_validate(
        base_url=f"https://localhost:{api.gateways.port}",
        excluded_checks=excluded,
        headers={"X-Api-Key": api.keys[LAS]},
        cert=(str(party.certificate), str(party.key)),
        verify=str(api.gateways.folder / "ca.pem"),
        timeout=30,
    )


@schema.include(operation_id=["addEndpoint", "changeEndpoint"]).parametrize()
@settings(
    max_examples=EACH, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_so_is_what_the_rules_are_asked_of_a_mandate_and_an_endpoint_that_are_there(case: schemathesis.Case, api: Api) -> None:
    party = api.parties[LAS]
    if isinstance(case.body, dict) and "service_version_namespace" in case.body:
        case.body |= {
            "service_version_namespace": PROEF,
            "mandate_token": api.gateways.store.register.rows("mandates", system=LAS, dienst="proef")[0]["token"],
        }
    if "token" in case.path_parameters:
        case.path_parameters["token"] = "school-vva"
    case.call_and_validate(
        base_url=f"https://localhost:{api.gateways.port}",
        excluded_checks=[positive_data_acceptance, negative_data_rejection],  # days and URLs are judged by more than their shape
        headers={"X-Api-Key": api.keys[LAS]},
        cert=(str(party.certificate), str(party.key)),
        verify=str(api.gateways.folder / "ca.pem"),
        timeout=30,
    )
