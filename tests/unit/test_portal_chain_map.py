"""The picture of the chain: who stands where, how wide, and that nothing that fails is too small to see."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree  # our own drawing, not a foreign message

from portal.chain_map import MOST, Flow, Node, Words, draw, lay_out, rows
from portal.formats import Formats

FORMATS = Formats("nl", datetime(2026, 11, 27, 20, 0, tzinfo=UTC))
WORDS = Words(
    title="De keten",
    senders="Leveren aan",
    receivers="Ontvangen",
    backbone="Koppelpunt",
    failed="uitval",
    waiting="wacht",
    messages="berichten",
    paused="gepauzeerd",
    silent="stil",
    others="{} andere systemen",
)
LAS = Node(key="las", name="Leerlingwijzer", kind="las", href="/partijen/1")
SIS = Node(key="sis", name="Mbo & <Co>", kind="sis")
TOWNS = Node(key="towns", name="Gemeenten", kind="municipality")
DUO = Node(key="duo", name="DUO", kind="central", paused=True)


def drawn(sources: list[Node], targets: list[Node], flows: list[Flow]) -> str:
    return str(draw(lay_out(sources, targets, flows, others=WORDS.others), FORMATS, WORDS))


def test_a_flow_is_as_wide_as_its_traffic_on_both_ends() -> None:
    layout = lay_out(
        [LAS, SIS], [TOWNS], [Flow(source="las", target="towns", messages=300), Flow(source="sis", target="towns", messages=100)]
    )
    wide, narrow = layout.ribbons
    assert wide.thick == 3 * narrow.thick
    assert narrow.right == wide.right + wide.thick  # side by side where they arrive
    assert layout.targets[0].height == wide.thick + narrow.thick


def test_one_failure_among_a_million_is_wide_enough_to_see_and_is_said_in_words() -> None:
    flows = [Flow(source="las", target="towns", messages=1_000_000, failed=1)]
    assert lay_out([LAS], [TOWNS], flows).ribbons[0].failing > 1
    assert "1 uitval (&lt;0,1%)" in drawn([LAS], [TOWNS], flows)


def test_an_alarming_share_is_hatched_and_a_small_one_a_fine_line() -> None:
    assert "map__flow--failed" in drawn([LAS], [TOWNS], [Flow(source="las", target="towns", messages=100, failed=2)])
    few = drawn([LAS], [TOWNS], [Flow(source="las", target="towns", messages=101, failed=2)])
    assert "map__flow--some" in few
    assert "map__flow--failed" not in few


def test_a_flow_in_which_nothing_fails_has_no_failing_edge() -> None:
    svg = drawn([LAS], [TOWNS], [Flow(source="las", target="towns", messages=5)])
    assert "map__flow--failed" not in svg
    assert "map__flow--some" not in svg


def test_the_drawing_is_sound_xml_whatever_a_party_calls_itself_and_holds_no_style_or_script() -> None:
    svg = drawn([LAS, SIS], [TOWNS, DUO], [Flow(source="sis", target="duo", messages=2, failed=1, href='/uitval?a=1&b="')])
    root = etree.fromstring(svg)
    assert "Mbo & <Co>" in "".join(map(str, root.itertext()))
    assert not re.search(r"\bstyle=|<script|\bon[a-z]+=", svg)


def test_who_is_paused_or_silent_is_told_in_words_and_not_by_colour_alone() -> None:
    svg = drawn([LAS, SIS], [TOWNS, DUO], [Flow(source="sis", target="towns", messages=2)])
    assert "gepauzeerd" in svg
    assert "stil" in svg


def test_from_the_tenth_system_on_the_smallest_become_one_and_nothing_of_theirs_is_lost() -> None:
    systems = [Node(key=str(number), name=f"Systeem {number}", kind="las") for number in range(30)]
    flows = [Flow(source=str(number), target="towns", messages=number + 1, failed=1, waiting=2) for number in range(30)]
    layout = lay_out(systems, [TOWNS], flows, others=WORDS.others)
    assert len(layout.sources) == MOST
    assert layout.sources[-1].node.name == "22 andere systemen"
    assert sum(placed.messages for placed in layout.sources) == sum(range(1, 31))
    assert sum(placed.failed for placed in layout.sources) == 30
    assert sum(waiting for _, _, _, waiting, _ in rows(layout)) == 60


def test_what_was_refused_stands_at_the_bottom_on_the_right() -> None:
    refused = Node(key="refused", name="Geweigerd", kind="refused")
    flows = [Flow(source="las", target="refused", messages=900), Flow(source="las", target="towns", messages=1)]
    assert [placed.node.key for placed in lay_out([LAS], [refused, TOWNS], flows).targets] == ["towns", "refused"]


def test_a_chain_without_any_traffic_is_still_a_picture() -> None:
    root = etree.fromstring(drawn([LAS], [TOWNS], []))
    assert "stil" in "".join(map(str, root.itertext()))
    etree.fromstring(drawn([], [], []))


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 3), st.integers(0, 10**7)), max_size=40))
def test_no_two_nodes_on_one_side_overlap_and_all_stand_inside(traffic: list[tuple[int, int, int]]) -> None:
    flows = {(a, b): Flow(source=f"s{a}", target=f"t{b}", messages=n, failed=n // 7) for a, b, n in traffic}
    sources = [Node(key=f"s{a}", name=f"S{a}", kind="las") for a in {a for a, _ in flows}]
    targets = [Node(key=f"t{b}", name=f"T{b}", kind="central") for b in {b for _, b in flows}]
    layout = lay_out(sources, targets, list(flows.values()))
    for side in (layout.sources, layout.targets):
        for above, below in pairwise(side):
            assert above.y + above.height <= below.y
        assert all(placed.y >= 0 and placed.y + placed.height <= layout.height for placed in side)
    assert sum(ribbon.flow.messages for ribbon in layout.ribbons) == sum(flow.messages for flow in flows.values())
