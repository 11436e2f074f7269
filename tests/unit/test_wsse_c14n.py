"""Our exclusive canonicaliser against libxml2's, and against the published test vector."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters import c14n, soap
from schemas import envelope
from schemas.faults import Refused

NAMES = st.sampled_from(["a", "b", "kop", "x-1"])
PREFIXES = st.sampled_from(["", "p", "q", "duo"])
URIS = ["urn:1", "urn:2", "urn:3"]
TEXT = st.text(alphabet="aé<>&\"'\t\n\r ]]>=/", max_size=8)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3, scope: tuple[tuple[str, str], ...] = ()) -> str:
    in_scope = dict(scope)
    declared = draw(st.dictionaries(PREFIXES, st.sampled_from(URIS), max_size=3))
    if draw(st.booleans()) and "" in in_scope and "" not in declared:
        declared[""] = ""
    in_scope |= declared
    usable = [prefix for prefix in in_scope if prefix]
    prefix = draw(st.sampled_from(["", *usable]))
    name = (prefix + ":" if prefix else "") + draw(NAMES)
    attributes = {}
    seen = set()
    for local in draw(st.lists(NAMES, max_size=2, unique=True)):
        where = draw(st.sampled_from(["", *usable]))
        key = (in_scope.get(where) if where else None, local)
        if key not in seen:
            seen.add(key)
            attributes[f"{where}:{local}" if where else local] = draw(TEXT)
    xml = f"<{name}" + "".join(f' xmlns{":" + p if p else ""}="{soap.attribute(u)}"' for p, u in declared.items())
    xml += "".join(f' {k}="{soap.attribute(v)}"' for k, v in attributes.items()) + ">"
    xml += soap.text(draw(TEXT))
    if depth:
        for child in draw(st.lists(elements(depth=depth - 1, scope=tuple(in_scope.items())), max_size=2)):
            xml += child + soap.text(draw(TEXT))
    return xml + f"</{name}>"


@settings(max_examples=500, deadline=None)
@given(xml=elements(), listed=st.lists(st.sampled_from(["p", "q", "duo", "absent"]), unique=True), number=st.integers(0, 5))
def test_our_canonical_form_is_libxml2s(xml: str, listed: list[str], number: int) -> None:
    root = soap.parse(xml.encode())
    everything = list(root.iter())
    element = everything[number % len(everything)]
    expected = etree.tostring(element, method="c14n", exclusive=True, with_comments=False, inclusive_ns_prefixes=listed or None)
    assert c14n.exclusive_from_inclusive(c14n.inclusive(element), tuple(listed)).encode() == expected


@settings(max_examples=500, deadline=None)
@given(xml=elements())
def test_an_only_child_is_cut_out_just_as_it_would_be_written_alone(xml: str) -> None:
    for parent in soap.parse(xml.encode()).iter():
        if len(parent) == 1:
            assert envelope._only_child(c14n.exclusive(parent)) in (b"", c14n.exclusive(parent[0]))


@pytest.mark.parametrize(
    ("body", "cut"),
    [
        ('<p:B xmlns:p="urn:1"><a xmlns="urn:2">x</a></p:B>', '<a xmlns="urn:2">x</a>'),
        ('<p:B xmlns:p="urn:1" z="&gt;/>"> <a q="x>y"/>\n</p:B>', '<a q="x>y"></a>'),
        ('<p:B xmlns:p="urn:1"><a><p:b/></a></p:B>', ""),
        ('<p:B xmlns:p="urn:1"><a xmlns:p="urn:2" p:x="1"/></p:B>', ""),
        ('<B xmlns="urn:1"><a xmlns="urn:2"/></B>', ""),
        ('<B xmlns="urn:1"><a/></B>', ""),
    ],
)
def test_a_child_that_may_use_what_its_parent_declares_is_not_cut_out(body: str, cut: str) -> None:
    canonical = c14n.exclusive(soap.parse(body.encode()))
    assert envelope._only_child(canonical) == cut.encode()
    assert envelope._only_child(b"") == b""


@settings(max_examples=200, deadline=None)
@given(xml=elements(), number=st.integers(0, 5))
def test_default_in_a_prefix_list_does_for_the_default_namespace_what_a_prefix_does_for_its_own(xml: str, number: int) -> None:
    """It is written on the outermost element although nothing there uses it, and nothing else changes."""
    root = soap.parse(xml.encode())
    everything = list(root.iter())
    element = everything[number % len(everything)]
    form = c14n.exclusive(element, ("#default",)).decode()
    again = soap.parse(form.encode())
    assert c14n.exclusive(again, ("#default",)).decode() == form  # canonicalising twice changes nothing
    assert c14n.exclusive(again) == c14n.exclusive(element)  # only declarations were added
    if uri := element.nsmap.get(None):
        assert f'xmlns="{soap.attribute(uri)}"' in form.partition(">")[0]


def test_default_in_a_prefix_list_by_hand() -> None:
    root = soap.parse(b'<p:e xmlns="u:d" xmlns:p="u:p"><p:a><p:b xmlns=""><c/></p:b></p:a></p:e>')
    deep = soap.parse(b'<a xmlns="urn:1" xmlns:p="urn:1"><a><b><c/></b></a></a>')
    assert c14n.exclusive(deep[0], ("#default",)) == b'<a xmlns="urn:1"><b><c></c></b></a>'
    assert c14n.exclusive(root[0]) == b'<p:a xmlns:p="u:p"><p:b><c></c></p:b></p:a>'
    assert c14n.exclusive(root[0], ("#default",)) == b'<p:a xmlns="u:d" xmlns:p="u:p"><p:b xmlns=""><c></c></p:b></p:a>'


VECTOR = """<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">
  <soapenv:Header xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:wsu="WSU">
    <wsa:To wsu:Id="to">https://ontvanger.example/diensten/inschrijving/v1?oin=0000000700099ZZ00000</wsa:To>
    <wsa:Action wsu:Id="action">urn:example:inschrijving:v1/aanleveren</wsa:Action>
    <wsa:MessageID wsu:Id="msgid">urn:uuid:0f1a4c52-7f0b-4a7e-9d55-0d8f6a1c2b3e</wsa:MessageID>
    <wsa:From wsu:Id="from"><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous?oin=0000000700098YY00000</wsa:Address></wsa:From>
    <wsu:Timestamp wsu:Id="ts"><wsu:Created>2026-03-02T09:15:00.000Z</wsu:Created><wsu:Expires>2026-03-02T09:20:00.000Z</wsu:Expires></wsu:Timestamp>
  </soapenv:Header>
  <soapenv:Body xmlns:wsu="WSU" wsu:Id="body"><i:aanleverenRequest xmlns:i="urn:example:inschrijving:v1"><i:kenmerk>A-1</i:kenmerk></i:aanleverenRequest></soapenv:Body>
</soapenv:Envelope>""".replace("WSU", soap.WSU).encode()  # noqa: E501 - each signed element stands on one line

DIGESTS = {
    "to": "LoV4WHa5TkBSkkTF7VBLZ8oi2YUf58fct3FZG9Wh+4Q=",
    "action": "FGaAAq+NA4Jf5CisIjrI53ReqS97KTQXpFqRKy9ENDg=",
    "msgid": "lNobTHNZlh422bKf+qF8hSFcSCO/lret8fY5EZ+kUkE=",
    "from": "B3iIGC/IxzOf25BzbwAXfso22tHr0zZmMAX0PDLxfq4=",
    "ts": "zsBkFTwl2uXdYopmZUVcENqO8mlEidiTsAtSnMu8dIc=",
    "body": "I7Pt9zVgUMdy0yHG9w9dFHxPMSkWauExXSASS3nmLk4=",
}


@pytest.mark.parametrize(("part", "digest"), DIGESTS.items())
def test_the_published_digests_come_out(part: str, digest: str) -> None:
    element = next(e for e in soap.parse(VECTOR).iter() if e.get(f"{{{soap.WSU}}}Id") == part)
    for form in (c14n.exclusive(element), c14n.exclusive_from_inclusive(c14n.inclusive(element)).encode()):
        assert base64.b64encode(hashlib.sha256(form).digest()).decode() == digest


def test_a_relative_namespace_name_has_no_canonical_form() -> None:
    with pytest.raises(Refused, match="canonical"):
        c14n.exclusive(soap.parse(b'<a xmlns="relative"/>'))


def test_what_is_no_canonical_form_is_not_read_as_one() -> None:
    for text in ("<a xmlns='u\"v'><b></b></a>", "<a x=1></a>"):
        with pytest.raises(ValueError, match="canonical"):
            c14n.exclusive_from_inclusive(text, ("#default",))
