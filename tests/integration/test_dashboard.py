"""The Grafana dashboard and the alert rules in `docs/grafana` name metrics and labels that our processes show, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from adapters.metrics import Pages, Requests, registry_of
from adapters.store import open_store
from adapters.store.registry import StoredCrl
from tests.support.store import NOW, fresh_url
from workers.clock import Clock
from workers.loop import Worker

FOLDER = Path(__file__).parents[2] / "docs/grafana"
DASHBOARD = json.loads((FOLDER / "koppelpunt.json").read_text(encoding="utf-8"))
RULES = [
    rule for group in yaml.safe_load((FOLDER / "koppelpunt-alerts.yml").read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
#: Labels that Prometheus gives (`/targets` says worker and machine), or that a histogram has.
GIVEN = {"job", "instance", "worker", "machine", "exported_worker", "le"}
#: What Grafana fills in.
FILLED_IN = {"$__rate_interval": "5m", "$job": "koppelpunt"}


def _queries() -> Iterator[tuple[str, str, str]]:
    """Where it stands, the expression, and the texts that name labels of what it finds."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for rule in RULES:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


QUERIES = list(_queries())


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Name, as Prometheus stores it -> its labels; of a process that shows all there is."""
    store = open_store(fresh_url("sqlite", tmp_path_factory.mktemp("metrics")))
    store.registry.save_register({}, who="test", now_us=NOW)
    store.registry.save_crl(StoredCrl("a.pem", b"", NOW, NOW, NOW), known=None)
    own: Any = SimpleNamespace(not_valid_after_utc=Clock().now())
    registry = registry_of(Worker("timetable", store.registry, Clock()), store, own=lambda: own, store_wide=True)
    Requests(registry)(None, 200, None, 0.1)
    Pages(registry)(200, 0.1)
    found = dict(_shown(registry))
    store.close()
    return found


def _shown(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    for family in registry.collect():
        names = {
            "counter": [f"{family.name}_total"],
            "histogram": [f"{family.name}_{part}" for part in ("bucket", "count", "sum")],
        }.get(family.type, [family.name])
        labels = set(getattr(family, "_labelnames", ())).union(*(sample.labels for sample in family.samples), set())
        yield from ((name, labels) for name in names)


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:koppelpunt|process)_\w+", expression))


@pytest.mark.parametrize(("where", "expression", "texts"), QUERIES, ids=[f"{where}-{n}" for n, (where, *_) in enumerate(QUERIES)])
def test_each_expression_can_be_read_and_names_what_is_shown(where: str, expression: str, texts: str, metrics: dict[str, set[str]]) -> None:
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    promql_parser.parse(expression)
    assert _names(expression) and _names(expression) <= set(metrics), where
    labels = GIVEN.union(*(metrics[name] for name in _names(expression)))
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    matched = {label for braces in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[!=]?[=~]", braces)}
    said = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", texts)) | set(re.findall(r"\$labels\.(\w+)", texts))
    assert grouped | matched | said <= labels, where
    assert said <= grouped | {"worker", "instance"}, f"{where}: what is said must be left over"


def test_every_metric_of_ours_is_on_the_dashboard(metrics: dict[str, set[str]]) -> None:
    named = {re.sub(r"_(bucket|count|sum)$", "", name) for _, expression, _ in QUERIES for name in _names(expression)}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics if name.startswith("koppelpunt_")}
    assert ours <= named


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_each_rule_says_for_how_long_how_bad_and_what_to_do() -> None:
    for rule in RULES:
        assert re.fullmatch(r"[0-9]+[mh]", rule["for"]) and rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
