"""What does not even get as far as being an envelope."""

from __future__ import annotations

import time
import tracemalloc
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from adapters import soap
from schemas.faults import OurFailure, Refused

BILLION = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;">]><a b="&z;">&z;</a>'
BAD = {
    "nothing": (b"", "Client.NOT_XML"),
    "no XML": (b"hello", "Client.NOT_XML"),
    "truncated": (b"<a><b>123456782</b", "Client.NOT_XML"),
    "a null byte": (b"<a>\0</a>", "Client.NOT_XML"),
    "a DOCTYPE": (b"<!DOCTYPE a><a/>", "Client.NOT_XML"),
    "a DOCTYPE after comments": (
        b"<?xml version='1.0'?> <!-- <!DOCTYPE --> \n<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        "Client.NOT_XML",
    ),
    "entities": (BILLION, "Client.NOT_XML"),
    "an entity from nowhere": (b"<a>&x;</a>", "Client.NOT_XML"),
    "a processing instruction": (b"<a><?php echo ?></a>", "Client.NOT_XML"),
    "a stylesheet": (b"<?xml-stylesheet href='x'?><a/>", "Client.NOT_XML"),
    "an undeclared prefix": (b"<q:a/>", "Client.NOT_XML"),
    "XML 1.1": (b'<?xml version="1.1"?><a/>', "Client.NOT_XML"),
    "UTF-16": ("<a/>".encode("utf-16"), "Client.DK0009"),
    "UTF-16 without a mark": ("<a/>".encode("utf-16-le"), "Client.DK0009"),
    "UTF-32": ("<a/>".encode("utf-32"), "Client.DK0009"),
    "Latin-1, declared": (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>', "Client.DK0009"),
    "Latin-1, not declared": (b"<a>\xe9</a>", "Client.DK0009"),
    "another encoding declared": (b'<?xml version="1.0" encoding="US-ASCII"?><a/>', "Client.DK0009"),
    "100,000 nested elements": (b"<a>" * 100_000 + b"</a>" * 100_000, "Client.NOT_XML"),
    "100,000 attributes": (b"<a " + b" ".join(b'a%d="1"' % i for i in range(100_000)) + b"/>", "Client.TOO_LARGE"),
    "60,000 attributes": (b"<a " + b" ".join(b'a%d="1"' % i for i in range(60_000)) + b"/>", "Client.NOT_XML"),
    "101 attributes": (b"<a><b " + b" ".join(b'a%d="1"' % i for i in range(101)) + b"/></a>", "Client.NOT_XML"),
    "many namespaces": (b"<a " + b" ".join(b'xmlns:a%d="u:%d"' % (i, i) for i in range(30_000)) + b"/>", "Client.NOT_XML"),
    "few namespaces for many elements": (
        b"<a " + b" ".join(b'xmlns:a%d="u:%d"' % (i, i) for i in range(1_900)) + b">" + b"<b/>" * 60_000 + b"</a>",
        "Client.NOT_XML",
    ),
    "too many bytes": (b"<a>" + b"x" * (1 << 20) + b"</a>", "Client.TOO_LARGE"),
}


@pytest.mark.parametrize(("raw", "code"), BAD.values(), ids=BAD.keys())
def test_bad_bytes_are_refused_quickly_in_little_memory_and_without_quoting_them(raw: bytes, code: str) -> None:
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(Refused) as caught:
        soap.parse(raw)
    took, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == code
    assert took < 1
    assert peak < 50 << 20
    for quoted in ("123456782", "etc/passwd", "hello"):
        assert quoted not in str(caught.value)


def test_a_truncated_message_is_told_where() -> None:
    with pytest.raises(Refused) as caught:
        soap.parse(b"<a>\n<b>12")
    assert caught.value.where == "line 2, column 6"


@pytest.mark.parametrize(
    "raw",
    [
        b"<a/>",
        b"\xef\xbb\xbf<a/>",
        b'<?xml version="1.0" encoding="UTF-8" standalone="no"?><a/>',
        b"<?xml version='1.0' encoding='utf-8'?>\n<a/>",
        b"<a><![CDATA[<!DOCTYPE x> <?php ?>]]></a>",
        b"<!-- <!DOCTYPE --><a/>",
    ],
)
def test_good_bytes_are_read(raw: bytes) -> None:
    assert soap.parse(raw).tag == "a"


def test_a_comment_does_not_cut_a_text_in_two() -> None:
    assert soap.parse(b"<a>https://x?oin=1<!-- -->2</a>").text == "https://x?oin=12"


def test_many_tags_are_refused_before_they_take_memory() -> None:
    with pytest.raises(Refused) as caught:
        soap.parse(b"<a>" + b"<b/>" * 2_000_000 + b"</a>", limits=soap.Limits(size=16 << 20))
    assert caught.value.code == "Client.TOO_LARGE"


def test_a_smaller_depth_can_be_set() -> None:
    nested = b"<a>" * 20 + b"</a>" * 20
    soap.parse(nested, limits=soap.Limits(depth=20))
    with pytest.raises(Refused):
        soap.parse(nested, limits=soap.Limits(depth=19))


def test_a_fault_carries_class_code_sentence_and_details_and_no_personal_number() -> None:
    problem = Refused("Client.DK0004", "element <bsn> is wrong: 123456782", details=["line 1 & 2: 123456782"])
    element = soap.parse(soap.fault(problem, actor="https://koppelpunt.example/"))
    assert [child.tag for child in element] == ["faultcode", "faultstring", "faultactor", "detail"]
    assert element[0].text == "soapenv:Client.DK0004"
    assert element[0].nsmap["soapenv"] == soap.SOAP
    assert "123456782" not in "".join(str(text) for text in element.itertext())
    assert soap.parse(soap.fault(Refused("UNKNOWN_DIENST")))[0].text == "soapenv:Client.UNKNOWN_DIENST"
    assert len(soap.parse(soap.fault(OurFailure("busy")))) == 2


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    at = datetime(2026, 3, 2, 10, 15, 0, 123_456, tzinfo=UTC)
    assert soap.moment(at) == "2026-03-02T10:15:00.123Z"
    assert soap.moment(at.astimezone(ZoneInfo("Europe/Amsterdam"))) == "2026-03-02T10:15:00.123Z"
    with pytest.raises(ValueError, match="zone"):
        soap.moment(at.replace(tzinfo=None))


def test_an_address_keeps_its_own_query() -> None:
    assert soap.address("0" * 20, "https://x/?a=b") == "https://x/?a=b&oin=" + "0" * 20
    raw = soap.unsigned_envelope(
        content=b"<a/>",
        to=soap.address("0" * 20, "https://x/?a=b"),
        sender="urn:s",
        action="urn:a",
        message_id="x",
        created=datetime.now(UTC),
    )
    assert soap.parse(raw)[0][0].text == "https://x/?a=b&oin=" + "0" * 20
