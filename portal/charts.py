"""Charts as SVG made on the server: no script, no style attributes; colours come from the stylesheet by class.

Each chart has a title that says what it shows, and a table of the same figures behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from portal.formats import Formats

_HEIGHT: Final = 150
_AXIS: Final = 22  #: for the labels below
_LEFT: Final = 44  #: for the figures beside


@dataclass(frozen=True, slots=True)
class Series:
    """One kind of figure, one per column."""

    key: str  #: for its colour: `delivered`, `waiting`, `failed`, `received`, `refused`
    label: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture, and the figures in it as a table."""

    svg: Markup
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    series: tuple[Series, ...]  #: for the legend


def columns(labels: Sequence[str], series: Sequence[Series], formats: Formats, *, title: str, over: str, width: int = 640) -> Chart:
    """Stacked columns over time. `over`: what the labels are, for the table's first heading."""
    most = max((sum(values) for values in zip(*(one.values for one in series), strict=True)), default=0)
    top = nice(most)
    plot = _HEIGHT - _AXIS - 8
    step = (width - _LEFT) / max(len(labels), 1)
    parts = [_open(width, _HEIGHT, title, "chart")]
    for value in (top // 2, top) if top >= 2 else (top,):
        y = 8 + plot * (1 - value / top)
        parts.append(Markup('<line class="chart__grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(_LEFT, width, _n(y), _n(y)))
        parts.append(
            Markup('<text class="chart__axis chart__end" x="{}" y="{}">{}</text>').format(_LEFT - 6, _n(y + 4), formats.number(value))
        )
    every = max(1, -(-len(labels) // 12))
    for place, label in enumerate(labels):
        x, y = _LEFT + place * step, 8.0 + plot
        column = []
        for one in series:
            if (value := one.values[place]) > 0:
                height = max(plot * value / top, 1.5)
                y -= height
                column.append(
                    Markup('<rect class="chart__{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                        one.key, _n(x + step * 0.12), _n(y), _n(step * 0.76), _n(height)
                    )
                )
        if column:
            said = ", ".join(f"{one.label} {formats.number(one.values[place])}" for one in series)
            parts.append(Markup("<g><title>{}: {}</title>{}</g>").format(label, said, Markup("").join(column)))
        if place % every == 0:
            parts.append(
                Markup('<text class="chart__axis chart__middle" x="{}" y="{}">{}</text>').format(_n(x + step / 2), _HEIGHT - 5, label)
            )
    parts.append(Markup('<line class="chart__base" x1="{}" x2="{}" y1="{}" y2="{}"/></svg>').format(_LEFT, width, 8 + plot, 8 + plot))
    return Chart(
        svg=Markup("").join(parts),
        title=title,
        columns=(over, *(one.label for one in series)),
        rows=tuple((label, *(formats.number(one.values[place]) for one in series)) for place, label in enumerate(labels)),
        series=tuple(series),
    )


def sparkline(values: Sequence[int], title: str, *, width: int = 96, height: int = 24) -> Markup:
    """A small line of how something went; the last point is marked. Where nothing ever happened the line lies on the ground."""
    most, last = max(values, default=0), max(len(values) - 1, 1)
    points = [
        (2 + place * (width - 6) / last, height - 3 - (height - 7) * (value / most if most else 0)) for place, value in enumerate(values)
    ]
    if not points:
        return Markup("")
    line = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    ground = f"{_n(points[0][0])},{height - 3} {line} {_n(points[-1][0])},{height - 3}"
    return Markup("").join(
        [
            _open(width, height, title, "spark"),
            Markup('<polygon class="spark__area" points="{}"/><polyline class="spark__line" points="{}"/>').format(ground, line),
            Markup('<circle class="spark__last" cx="{}" cy="{}" r="2.2"/></svg>').format(_n(points[-1][0]), _n(points[-1][1])),
        ]
    )


def split(parts: Sequence[tuple[str, int]], title: str, *, width: int = 160, height: int = 10) -> Markup:
    """One bar split by share: `(key for its colour, count)`. What is there is seen, however small."""
    total = sum(count for _, count in parts)
    drawn, x = [_open(width, height, title, "split", stretched=True)], 0.0
    drawn.append(Markup('<rect class="split__ground" width="{}" height="{}" rx="3"/>').format(width, height))
    small = {key: 3.0 for key, count in parts if total and count > 0 and width * count / total < 3}
    room = width - sum(small.values())
    rest = sum(count for key, count in parts if key not in small)
    for key, count in parts:
        if count:
            wide = small.get(key) or room * count / rest
            drawn.append(Markup('<rect class="chart__{}" x="{}" width="{}" height="{}"/>').format(key, _n(x), _n(wide), height))
            x += wide
    return Markup("").join([*drawn, Markup("</svg>")])


def nice(most: int) -> int:
    """The top of the axis: the next 1, 2, 4, 6 or 8 with zeros, so that it and its half are round."""
    step = 1
    while True:
        for factor in (1, 2, 4, 6, 8, 10):
            if step * factor >= most:
                return step * factor
        step *= 10


def _open(width: int, height: int, title: str, css: str, *, stretched: bool = False) -> Markup:
    ratio = Markup(' preserveAspectRatio="none"') if stretched else Markup("")
    start = Markup('<svg class="{}" viewBox="0 0 {} {}"{} role="img" aria-label="{}"><title>{}</title>')
    return start.format(css, width, height, ratio, title, title)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
