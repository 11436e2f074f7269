"""Journal events: our encoder against fastavro, and what is bound by a digest."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.events import Event

_text = st.text(max_size=700)
_long = st.integers(min_value=-(2**63), max_value=2**63 - 1)
_FIELD = {"string": _text, "long": _long, "bytes": st.binary(max_size=700)}
_EVENTS = st.builds(
    Event,
    **{
        f["name"]: st.none() | _FIELD[f["type"][1]]
        if isinstance(f["type"], list)
        else _FIELD[f["type"]]
        if isinstance(f["type"], str)
        else st.dictionaries(_text, _text, max_size=4)
        for f in events.schema(events.CURRENT)["fields"]
    },
)


@given(_EVENTS)
def test_an_event_is_written_byte_for_byte_as_fastavro_writes_it_and_read_back(event: Event) -> None:
    out = BytesIO()
    fastavro.schemaless_writer(out, events.schema(events.CURRENT), {name: getattr(event, name) for name in Event.__dataclass_fields__})
    assert events.encode(event) == out.getvalue()
    assert events.decode(events.encode(event)) == event


@given(_EVENTS)
def test_a_glance_sees_what_decoding_sees_and_the_kind_comes_first(event: Event) -> None:
    seen = events.glance(events.encode(event))
    assert {name: getattr(seen, name) for name in events.Glance.__dataclass_fields__} == {
        name: getattr(event, name) for name in events.Glance.__dataclass_fields__
    }
    assert events.encode(event).startswith(events.head(event.kind))


def test_the_fields_of_an_event_are_those_of_its_schema_in_order() -> None:
    assert [field["name"] for field in events.schema(events.CURRENT)["fields"]] == list(Event.__dataclass_fields__)


@pytest.mark.parametrize("payload", [b"", b"\x02", b"\xff" * 40, events.encode(Event(kind="received", at_us=1, actor="a"))[:-3]])
def test_bytes_that_are_no_event_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not a journal event"):
        events.decode(payload)
    if len(payload) < 4:
        with pytest.raises(ValueError, match="not a journal event"):
            events.glance(payload)


def test_the_digest_binds_schema_and_bytes_and_the_link_binds_order_number_and_count() -> None:
    one, two = events.digest(b"x", 1), events.digest(b"x", 2)
    assert one != two
    links = [events.link(bytes(32), 1, [one, two]), events.link(bytes(32), 1, [two, one]), events.link(bytes(32), 2, [one, two])]
    links += [events.link(bytes(32), 1, [one]), events.link(b"1" * 32, 1, [one, two])]
    assert len(set(links)) == 5


def test_as_dict_shows_what_is_set_and_digests_as_hex() -> None:
    assert events.as_dict(Event(kind="k", at_us=1, actor="a", digest=b"\x01")) == {"kind": "k", "at_us": 1, "actor": "a", "digest": "01"}
