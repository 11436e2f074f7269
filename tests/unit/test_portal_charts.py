"""Charts: the figures are right, each has its table, and what is there is seen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lxml import etree  # our own drawing, not a foreign message

from portal.charts import Series, columns, nice, sparkline, split
from portal.formats import Formats

FORMATS = Formats("nl", datetime(2026, 11, 27, 20, 0, tzinfo=UTC))


def rects(svg: object, css: str) -> list[etree._Element]:
    return [found for found in etree.fromstring(str(svg)).iter("{*}rect", "rect") if found.get("class") == css]


def test_columns_stand_on_each_other_and_the_table_behind_has_the_same_figures() -> None:
    chart = columns(
        ["09", "10"],
        [Series("delivered", "afgeleverd", [1500, 0]), Series("failed", "uitval", [500, 0])],
        FORMATS,
        title="Verkeer <vandaag>",
        over="uur",
    )
    below, above = rects(chart.svg, "chart__delivered"), rects(chart.svg, "chart__failed")
    assert len(below) == len(above) == 1
    assert float(above[0].get("y", 0)) + float(above[0].get("height", 0)) == pytest.approx(float(below[0].get("y", 0)), abs=0.11)
    assert chart.rows == (("09", "1.500", "500"), ("10", "0", "0"))
    assert chart.columns == ("uur", "afgeleverd", "uitval")


def test_one_failure_beside_a_hundred_thousand_deliveries_is_seen() -> None:
    chart = columns(
        ["09"], [Series("delivered", "afgeleverd", [100_000]), Series("failed", "uitval", [1])], FORMATS, title="Verkeer", over="uur"
    )
    assert float(rects(chart.svg, "chart__failed")[0].get("height", 0)) >= 1.5
    assert float(rects(split([("delivered", 100_000), ("failed", 1)], "Verdeling"), "chart__failed")[0].get("width", 0)) >= 3


def test_a_split_bar_is_filled_to_its_end() -> None:
    svg = split([("delivered", 70), ("waiting", 20), ("failed", 10)], "Verdeling", width=160)
    assert sum(float(rects(svg, f"chart__{key}")[0].get("width", 0)) for key in ("delivered", "waiting", "failed")) == pytest.approx(160)


def test_nothing_at_all_is_drawn_and_not_divided_by() -> None:
    etree.fromstring(str(columns([], [Series("failed", "uitval", [])], FORMATS, title="Niets", over="uur").svg))
    etree.fromstring(str(columns(["09"], [Series("failed", "uitval", [0])], FORMATS, title="Niets", over="uur").svg))
    etree.fromstring(str(split([("failed", 0)], "Niets")))
    etree.fromstring(str(sparkline([0, 0, 0], "Niets")))
    assert str(sparkline([], "Niets")) == ""


def test_a_sparkline_ends_at_its_last_figure() -> None:
    root = etree.fromstring(str(sparkline([0, 10, 5], "Verloop", width=96, height=24)))
    circle = next(root.iter("circle"))
    assert (circle.get("cx"), circle.get("cy")) == ("92", "12.5")


@pytest.mark.parametrize(("most", "top"), [(0, 1), (1, 1), (3, 4), (9, 10), (11, 20), (450, 600), (99_999, 100_000)])
def test_the_axis_ends_at_a_round_figure(most: int, top: int) -> None:
    assert nice(most) == top
