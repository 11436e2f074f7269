"""Several requests read the first JSON of a dienst at the same time: none of them finds the XSD half read."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from adapters import json_shapes
from adapters.json_content import read_json
from schemas.contracts import load_contracts

MESSAGE = (
    b'{"proef":{"bedrijfsdocument":{"identificatiecodeBedrijfsdocument":"a1","verzendendeInstantie":"0000000700025BE00000",'
    b'"ontvangendeInstantie":"0000000700004XY00000","datumTijdBedrijfsdocument":"2026-11-27T10:00:00Z"},"echo":"ja"}}'
)


@pytest.fixture
def impatient() -> Any:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient")
def test_a_good_message_is_never_refused_because_another_reads_the_xsd_at_that_moment() -> None:
    contract = load_contracts().find("proef", "1")
    assert contract is not None
    with ThreadPoolExecutor(4) as threads:
        for _ in range(150):
            shapes = json_shapes._Shapes.of(contract.xsd)
            shapes._roots.clear()
            shapes._shapes.clear()
            at_once = Barrier(4)

            def read(together: Barrier = at_once) -> object:
                together.wait()
                return read_json(MESSAGE, contract).unfit

            assert [one.result() for one in [threads.submit(read) for _ in range(4)]] == [None] * 4
