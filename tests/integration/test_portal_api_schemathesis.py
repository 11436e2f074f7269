"""The portal's API against its own OpenAPI description: requests made up from it, good and bad, at a real portal."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from portal.api.description import description
from portal.api.server import CALLS
from tests.support.portal_api import World

#: Requests for each of some forty operations.
EACH = 20
#: Bytes of a request line that this HTTP server takes.
LONGEST_LINE = 8_000
#: What the rules say no to, though it is well formed: which of several fields must be there cannot be said in JSON Schema alone.
ONE_OF_SOME = ("/api/v1/items/search", "/api/v1/previews")
#: A place in a list is more than its shape.
WITH_PLACE = ("/api/v1/items",)

schema = schemathesis.openapi.from_dict(description(CALLS, url="http://localhost"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("schemathesis"), api_calls=1_000_000) as made:
        yield made


@pytest.fixture(scope="module")
def token(world: World) -> str:
    world.portal.account("both", "chain_manager", "operator")
    return world.portal.token("both")


@schema.parametrize()
@settings(
    max_examples=EACH, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_every_answer_is_as_described_and_what_is_not_described_is_refused(case: schemathesis.Case, world: World, token: str) -> None:
    assume(len(str(case.query or {})) + len(case.formatted_path) < LONGEST_LINE)
    excluded = [positive_data_acceptance] if case.operation.path in (*ONE_OF_SOME, *WITH_PLACE) else []
    case.call_and_validate(base_url=world.portal.url, excluded_checks=excluded, headers={"Authorization": f"Bearer {token}"}, timeout=30)
