"""The chain as a picture: which system sends to which kind of receiver, how much, and how much of it falls out.

A flow diagram laid out here and drawn as SVG: on the left the systems that hand in, on the right where it goes, ribbons between them as
wide as their traffic, with what fails as a hatched edge in each. No script, no style attributes (the pages forbid them): colours and the
quiet movement come from the stylesheet. The same figures stand in a table behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from portal.formats import Formats

#: The drawing's own units; the page scales it.
WIDTH: Final = 1_240
_BAR: Final = 14  #: how wide a node is
_LABEL: Final = 214  #: room for names on either side
_GAP: Final = 12  #: between nodes
_SLOT: Final = 40  #: a node never takes less than its two lines of text
_PAUSED_SLOT: Final = 58  #: or three
_TOP, _BOTTOM = 34, 12
_FLOWS_HEIGHT: Final = 240  #: of all ribbons together
_THINNEST: Final = 2.0  #: a ribbon one can still see
_EDGE: Final = 1.2  #: the line that says: something failed here, though few
#: More systems than this on one side become one node: a picture of forty ribbons says nothing.
MOST: Final = 9

#: From this share of failures on a flow is marked in words too, not by its edge alone.
ALARMING: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Somebody who sends or receives."""

    key: str
    name: str
    kind: str  #: for its colour and order: `las`, `sis`, `municipality`, `central`, `refused`, `other`
    href: str | None = None  #: where more about it is told
    paused: bool = False  #: something of it takes nothing now


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What went from one to the other in the time looked at."""

    source: str
    target: str
    messages: int
    failed: int = 0
    waiting: int = 0
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A node with its place."""

    node: Node
    messages: int
    failed: int
    waiting: int
    y: float  #: of its top
    height: float  #: of its bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Ribbon:
    """A flow with its two ends: tops on the left and the right."""

    flow: Flow
    left: float
    right: float
    thick: float
    failing: float  #: how much of `thick` is what failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything stands."""

    height: float
    sources: tuple[Placed, ...]
    targets: tuple[Placed, ...]
    ribbons: tuple[Ribbon, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """What the picture says, in the reader's language."""

    title: str
    senders: str  #: above the left side
    receivers: str
    backbone: str
    failed: str  #: "uitval"
    waiting: str
    messages: str
    paused: str
    silent: str
    others: str  #: "{} andere systemen"


def lay_out(sources: Sequence[Node], targets: Sequence[Node], flows: Sequence[Flow], *, others: str = "{}", most: int = MOST) -> Layout:
    """Places nodes and ribbons: the busiest on top, receivers where their ribbons come from, so that few of them cross."""
    sources, flows = _bundled(sources, flows, others, most)
    flows = [flow for flow in flows if flow.messages > 0]
    sent = {node.key: sum(flow.messages for flow in flows if flow.source == node.key) for node in sources}
    left = sorted(sources, key=lambda node: (_is_rest(node), -sent[node.key], node.name))
    rank = {node.key: place for place, node in enumerate(left)}
    right = sorted(targets, key=lambda node: (node.kind == "refused", _centre(node.key, flows, rank), node.name))
    total = sum(flow.messages for flow in flows)
    thickness = {id(flow): max(_THINNEST, _FLOWS_HEIGHT * flow.messages / total) for flow in flows}

    place = {node.key: index for index, node in enumerate(right)}
    by_source = sorted(flows, key=lambda flow: (rank[flow.source], place[flow.target]))
    by_target = sorted(flows, key=lambda flow: (place[flow.target], rank[flow.source]))
    lefts = _stack(left, by_source, thickness, lambda flow: flow.source)
    rights = _stack(right, by_target, thickness, lambda flow: flow.target)
    height = max(lefts.height, rights.height)
    lefts, rights = lefts.lowered((height - lefts.height) / 2), rights.lowered((height - rights.height) / 2)
    ribbons = tuple(
        Ribbon(
            flow=flow,
            left=lefts.tops[id(flow)],
            right=rights.tops[id(flow)],
            thick=thickness[id(flow)],
            failing=_failing(flow, thickness[id(flow)]),
        )
        for flow in by_source
    )
    return Layout(height=height + _TOP + _BOTTOM, sources=lefts.nodes, targets=rights.nodes, ribbons=ribbons)


def _is_rest(node: Node) -> bool:
    return node.key == _REST


_REST: Final = "others"


def _bundled(sources: Sequence[Node], flows: Sequence[Flow], others: str, most: int) -> tuple[Sequence[Node], Sequence[Flow]]:
    if len(sources) <= most:
        return sources, flows
    sent: dict[str, int] = {}
    for flow in flows:
        sent[flow.source] = sent.get(flow.source, 0) + flow.messages
    busiest = sorted(sources, key=lambda node: (-sent.get(node.key, 0), node.name))[: most - 1]
    kept = {node.key for node in busiest}
    rest = Node(key=_REST, name=others.format(len(sources) - len(busiest)), kind="other")
    together: dict[str, Flow] = {}
    for flow in (flow for flow in flows if flow.source not in kept):
        so_far = together.get(flow.target, Flow(source=_REST, target=flow.target, messages=0))
        together[flow.target] = replace(
            so_far,
            messages=so_far.messages + flow.messages,
            failed=so_far.failed + flow.failed,
            waiting=so_far.waiting + flow.waiting,
        )
    return [*busiest, rest], [*(flow for flow in flows if flow.source in kept), *together.values()]


def _centre(target: str, flows: Sequence[Flow], rank: Mapping[str, int]) -> float:
    """Where on the left its ribbons come from, weighed by their width."""
    here = [flow for flow in flows if flow.target == target]
    messages = sum(flow.messages for flow in here)
    return sum(rank[flow.source] * flow.messages for flow in here) / messages if messages else len(rank)


def _failing(flow: Flow, thick: float) -> float:
    """How wide the failing edge is: a single failure is a fine line, an alarming share a hatched band as wide as that share."""
    if not flow.failed:
        return 0.0
    share = min(flow.failed / flow.messages, 1)
    return min(thick, max(_THINNEST * 1.5 if share >= ALARMING else _EDGE, thick * share))


@dataclass(frozen=True, slots=True)
class _Column:
    nodes: tuple[Placed, ...]
    tops: Mapping[int, float]
    height: float

    def lowered(self, by: float) -> _Column:
        by += _TOP if self.nodes else 0
        return _Column(
            tuple(replace(placed, y=placed.y + by) for placed in self.nodes), {key: top + by for key, top in self.tops.items()}, self.height
        )


def _stack(nodes: Sequence[Node], flows: Sequence[Flow], thickness: Mapping[int, float], end: Callable[[Flow], str]) -> _Column:
    placed, tops, y = [], {}, 0.0
    for node in nodes:
        here = [flow for flow in flows if end(flow) == node.key]
        height = sum(thickness[id(flow)] for flow in here) or _THINNEST
        slot = max(height, _PAUSED_SLOT if node.paused else _SLOT)
        top = y + (slot - height) / 2
        placed.append(
            Placed(
                node=node,
                messages=sum(flow.messages for flow in here),
                failed=sum(flow.failed for flow in here),
                waiting=sum(flow.waiting for flow in here),
                y=top,
                height=height,
            )
        )
        for flow in here:
            tops[id(flow)] = top
            top += thickness[id(flow)]
        y += slot + _GAP
    return _Column(tuple(placed), tops, max(y - _GAP, 0))


_LEFT, _RIGHT = _LABEL + _BAR, WIDTH - _LABEL - _BAR
_MIDDLE: Final = WIDTH / 2


def draw(layout: Layout, formats: Formats, words: Words) -> Markup:
    """The SVG. Nodes and ribbons that lead somewhere are links, in reading order; each says in words what its width shows."""
    kinds = {placed.node.key: placed.node.kind for placed in (*layout.sources, *layout.targets)}
    names = {placed.node.key: placed.node.name for placed in (*layout.sources, *layout.targets)}
    parts = [
        Markup('<svg class="map" viewBox="0 0 {} {}" role="group" aria-label="{}">').format(WIDTH, _n(layout.height), words.title),
        _definitions(sorted({(kinds[ribbon.flow.source], kinds[ribbon.flow.target]) for ribbon in layout.ribbons})),
        Markup('<text class="map__heading" x="0" y="16">{}</text>').format(words.senders),
        Markup('<text class="map__heading map__end" x="{}" y="16">{}</text>').format(WIDTH, words.receivers),
    ]
    parts += [_ribbon(ribbon, names, kinds, formats, words) for ribbon in sorted(layout.ribbons, key=lambda ribbon: -ribbon.thick)]
    parts.append(
        Markup('<g class="map__backbone" aria-hidden="true"><rect x="{}" y="{}" width="34" height="{}" rx="17"/>').format(
            _n(_MIDDLE - 17), _TOP - 8, _n(max(layout.height - _TOP - _BOTTOM + 16, 16))
        )
        + Markup('<text transform="translate({} {}) rotate(-90)">{}</text></g>').format(
            _n(_MIDDLE + 4.5), _n((layout.height + _TOP - _BOTTOM) / 2), words.backbone
        )
    )
    parts += [_node(placed, formats, words, left=True) for placed in layout.sources]
    parts += [_node(placed, formats, words, left=False) for placed in layout.targets]
    return Markup("").join([*parts, Markup("</svg>")])


def _definitions(pairs: Sequence[tuple[str, str]]) -> Markup:
    """The hatching of what fails, and for each pair of kinds the change of colour on the way."""
    made = Markup(
        '<defs><pattern id="map-failed" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="map__hatch-ground" width="5" height="5"/><rect class="map__hatch" width="3" height="5"/></pattern>'
    )
    for source, target in pairs:
        made += Markup(
            '<linearGradient id="map-{0}-{1}" gradientUnits="userSpaceOnUse" x1="{2}" x2="{3}"><stop class="map__stop--{0}" offset="0.15"/>'
            '<stop class="map__stop--{1}" offset="0.85"/></linearGradient>'
        ).format(source, target, _LEFT, _RIGHT)
    return made + Markup("</defs>")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _line(left: float, right: float) -> str:
    return f"M{_LEFT} {_n(left)}C{_n(_MIDDLE)} {_n(left)} {_n(_MIDDLE)} {_n(right)} {_RIGHT} {_n(right)}"


def _band(left: float, right: float, thick: float) -> str:
    return (
        f"{_line(left, right)}V{_n(right + thick)}"
        f"C{_n(_MIDDLE)} {_n(right + thick)} {_n(_MIDDLE)} {_n(left + thick)} {_LEFT} {_n(left + thick)}Z"
    )


def _ribbon(ribbon: Ribbon, names: Mapping[str, str], kinds: Mapping[str, str], formats: Formats, words: Words) -> Markup:
    flow = ribbon.flow
    said = f"{names[flow.source]} → {names[flow.target]}: {_figures(flow.messages, flow.failed, flow.waiting, formats, words)}"
    band = _band(ribbon.left, ribbon.right, ribbon.thick)
    if kinds[flow.target] == "refused":
        shape = Markup('<path class="map__flow map__flow--refused" fill="url(#map-failed)" d="{}"/>').format(band)
    else:
        fill = f"url(#map-{kinds[flow.source]}-{kinds[flow.target]})"
        shape = Markup('<path class="map__flow" fill="{}" d="{}"/>').format(fill, band)
        shape += Markup('<path class="map__pulse" d="{}"/>').format(_line(ribbon.left + ribbon.thick / 2, ribbon.right + ribbon.thick / 2))
        if ribbon.failing:
            aside = ribbon.thick - ribbon.failing
            css = "failed" if flow.failed / flow.messages >= ALARMING else "some"
            edge = Markup('<path class="map__flow map__flow--{}" fill="url(#map-failed)" d="{}"/>')
            shape += edge.format(css, _band(ribbon.left + aside, ribbon.right + aside, ribbon.failing))
    return _linked(Markup("<title>{}</title>{}").format(said, shape), flow.href, said, "map__ribbon")


def _figures(messages: int, failed: int, waiting: int, formats: Formats, words: Words) -> str:
    said = [f"{formats.number(messages)} {words.messages}"]
    if failed:
        said.append(f"{formats.number(failed)} {words.failed} ({formats.share(failed, messages)})")
    if waiting:
        said.append(f"{formats.number(waiting)} {words.waiting}")
    return ", ".join(said)


def _linked(inside: Markup, href: str | None, said: str, css: str) -> Markup:
    if href is None:
        return Markup('<g class="{}">{}</g>').format(css, inside)
    return Markup('<a class="{}" href="{}" aria-label="{}">{}</a>').format(css, href, said, inside)


def _node(placed: Placed, formats: Formats, words: Words, *, left: bool) -> Markup:
    node, middle = placed.node, placed.y + placed.height / 2
    x, text_x = (_LABEL, _LABEL - 10) if left else (_RIGHT, _RIGHT + _BAR + 10)
    alarming = placed.messages > 0 and placed.failed / placed.messages >= ALARMING
    second = formats.number(placed.messages) if placed.messages else words.silent
    if placed.failed and node.kind != "refused":
        second += f" · {'▲ ' if alarming else ''}{formats.share(placed.failed, placed.messages)} {words.failed}"
    css = (
        "map__node" + (" map__node--alarming" if alarming or node.kind == "refused" else "") + (" map__node--paused" if node.paused else "")
    )
    said = f"{node.name}: {_figures(placed.messages, placed.failed, placed.waiting, formats, words)}"
    if node.paused:
        said += f", {words.paused}"
    end = " map__end" if left else ""
    inside = Markup('<rect class="map__bar map__bar--{}" x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(
        node.kind, x, _n(placed.y), _BAR, _n(max(placed.height, 3))
    )
    lines = [("name", _short(node.name)), ("figure", second), *([("paused", f"❚❚ {words.paused}")] if node.paused else [])]
    first = middle - 3 - 8.5 * (len(lines) - 2)
    for place, (part, text) in enumerate(lines):
        line = Markup('<text class="map__{}{}" x="{}" y="{}">{}</text>')
        inside += line.format(part, end, text_x, _n(first + 17 * place), text)
    return _linked(Markup("<title>{}</title>{}").format(said, inside), node.href, said, css)


#: So many letters fit beside a bar.
_NAME: Final = 28


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1].rstrip()}…"


def rows(layout: Layout) -> list[tuple[str, str, int, int, int]]:
    """The table behind it: from, to, messages, waiting, failed; the busiest first."""
    names = {placed.node.key: placed.node.name for placed in (*layout.sources, *layout.targets)}
    found = sorted((ribbon.flow for ribbon in layout.ribbons), key=lambda flow: (-flow.messages, flow.source, flow.target))
    return [(names[flow.source], names[flow.target], flow.messages, flow.waiting, flow.failed) for flow in found]
