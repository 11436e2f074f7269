"""JSON in place of XML: one mapping both ways, read from the XSD; bounded before it is decoded; said in advance by a JSON Schema."""

from __future__ import annotations

import json
import string
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from lxml import etree

from adapters import soap
from adapters.json_content import DEEPEST, MOST_PARTS, json_schema, read_json, to_json
from adapters.json_shapes import NoJson
from schemas.contract import Contract, MessageKind
from schemas.contracts import BUILT_IN, Contracts, load_contracts
from schemas.faults import Refused
from tests.support.content import SHARED

CONTRACTS = load_contracts()
KINDS = [(kind, contract) for contract in CONTRACTS.contracts for kind in contract.kinds.values()]
NAMES = [kind.name for kind, _ in KINDS]
PGN = "999900006"


def examples(folder: str) -> list[Path]:
    return sorted(BUILT_IN.glob(f"*/*/examples/{folder}/*.xml"))


def kind_of(path: Path, root: etree._Element) -> tuple[MessageKind, Contract]:
    contract = CONTRACTS.find(path.parents[3].name, path.parents[2].name)
    assert contract is not None
    return next(kind for kind in contract.kinds.values() if kind.name == etree.QName(root).localname), contract


def accepts(kind: MessageKind, xml: bytes, contracts: Contracts = CONTRACTS) -> bool:
    return contracts.reader(kind.action).schema.accepts(soap.parse(xml))


def fits(schema: dict[str, Any], value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def refused(raw: bytes | str, contract: Contract = CONTRACTS.contracts[0]) -> Refused:
    with pytest.raises(Refused) as caught:
        read_json(raw.encode() if isinstance(raw, str) else raw, contract)
    return caught.value


# -- there and back ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", examples("valid"), ids=lambda path: path.stem)
def test_an_example_goes_to_json_and_back_unchanged_and_fits_the_json_schema(path: Path) -> None:
    root = soap.parse(path.read_bytes())
    kind, contract = kind_of(path, root)
    said = to_json(root, kind, contract)
    assert fits(json_schema(kind, contract), said)
    written = read_json(json.dumps(said).encode(), contract)
    assert written.unfit is None
    assert to_json(soap.parse(written.xml), kind, contract) == said
    assert texts(root) == texts(soap.parse(written.xml))


def texts(root: etree._Element) -> list[tuple[str, str]]:
    """Every element and its text, in order; white space between elements says nothing."""
    return [(str(element.tag), element.text or "" if not len(element) else "") for element in root.iter()]


@pytest.mark.parametrize("path", [path for path in examples("invalid") if path.stem.endswith("DK0004")], ids=lambda path: path.stem)
def test_an_example_that_breaks_the_xsd_breaks_the_json_schema_or_cannot_be_said_in_json(path: Path) -> None:
    root = soap.parse(path.read_bytes())
    try:
        kind, contract = kind_of(path, root)
        said = to_json(root, kind, contract)
    except (NoJson, StopIteration):
        return
    if path.stem.startswith(("verkeerde-volgorde", "datum-bestaat-niet", "startkwalificatie-leeg")):
        return  # JSON has no order, and no empty boolean; and that a day exists is no matter of a pattern
    assert not fits(json_schema(kind, contract), said)


def values(schema: dict[str, Any]) -> SearchStrategy[Any]:
    """What a JSON Schema of ours allows, as far as the shipped diensten need it."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "object":
        return objects(schema)
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), min_size=1, max_size=3)
    if schema["type"] == "boolean":
        return st.booleans()
    if schema.get("format") == "date":
        return st.dates().map(str)
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda at: at.isoformat(timespec="seconds") + "Z")
    if "integer" in schema["type"]:
        return st.integers(schema.get("minimum", 0), 999_999_999_999)
    letters = st.sampled_from(string.printable.strip() + " é€𝔘&<>\"'")
    texts = st.from_regex(schema.get("pattern", ".*"), fullmatch=True, alphabet=letters)
    return texts.filter(lambda text: len(text) <= schema.get("maxLength", 1_000) and "\n" not in text)


def objects(schema: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    properties, required = schema["properties"], schema["required"]
    alternatives = [one["required"][0] for rule in schema.get("allOf", ()) for one in rule["oneOf"]]
    free = [name for name in properties if name not in required and name not in alternatives]

    @st.composite
    def draw(pick: Any) -> dict[str, Any]:
        chosen = [*required, *pick(st.lists(st.sampled_from(free), unique=True) if free else st.just([]))]
        chosen += [pick(st.sampled_from(alternatives))] if alternatives else []
        return {name: pick(values(properties[name])) for name in pick(st.permutations(chosen))}

    return draw()


@pytest.mark.parametrize(("kind", "contract"), KINDS, ids=NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_whatever_the_json_schema_allows_is_valid_xml_and_comes_back_the_same(
    kind: MessageKind, contract: Contract, data: st.DataObject
) -> None:
    said = data.draw(values(json_schema(kind, contract)))
    written = read_json(json.dumps(said, ensure_ascii=data.draw(st.booleans())).encode(), contract)
    assert (written.kind, written.unfit) == (kind, None)
    assert accepts(kind, written.xml), CONTRACTS.reader(kind.action).schema.explain(soap.parse(written.xml))
    assert to_json(soap.parse(written.xml), kind, contract) == said


@pytest.mark.parametrize(("kind", "contract"), KINDS, ids=NAMES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_what_is_taken_of_any_json_at_all_is_xml_or_a_refusal_without_its_values(
    kind: MessageKind, contract: Contract, data: st.DataObject
) -> None:
    names = list(json_schema(kind, contract)["properties"][kind.name]["properties"])
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(PGN)
    keys = st.sampled_from(names) | st.text(max_size=5) | st.just(PGN)
    value = data.draw(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5)))
    try:
        written = read_json(json.dumps({kind.name: value}).encode(), contract)
    except Refused as fault:
        told = f"{fault} {fault.details}"
    else:
        soap.parse(written.xml)
        told = f"{written.unfit} {written.unfit.details}" if written.unfit else ""
    assert PGN not in told


@given(raw=st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ \n1e-.nulltrue', max_size=200).map(str.encode))
def test_no_bytes_at_all_do_anything_but_be_refused(raw: bytes) -> None:
    assert refused(raw).code in ("Client.NOT_JSON", "Client.DK0009", "UNKNOWN_DIENST")


# -- the mapping, on an XSD that has everything -----------------------------------------------------------------------------------------

XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="urn:x:alles:1" targetNamespace="urn:x:alles:1"
  elementFormDefault="{form}">
<xs:element name="alles"><xs:complexType>
  <xs:sequence>{content}</xs:sequence><xs:attribute name="soort" use="required"/>
</xs:complexType></xs:element>
<xs:complexType name="Boom"><xs:sequence>
  <xs:element name="tak" type="Boom" minOccurs="0" maxOccurs="unbounded"/>
</xs:sequence></xs:complexType>
<xs:complexType name="Bedrag"><xs:simpleContent>
  <xs:extension base="xs:decimal"><xs:attribute name="munt" type="xs:string"/></xs:extension>
</xs:simpleContent></xs:complexType>
</xs:schema>"""
EVERYTHING = """
<xs:element name="getal" type="xs:integer" minOccurs="0"/>
<xs:element name="maat" type="xs:decimal" minOccurs="0" maxOccurs="3"/>
<xs:element name="meting" type="xs:double" minOccurs="0"/>
<xs:element name="ja" type="xs:boolean" minOccurs="0"/>
<xs:element name="leeg" type="xs:string" nillable="true" minOccurs="0"/>
<xs:element name="bedrag" type="Bedrag" minOccurs="0"/>
<xs:choice minOccurs="0"><xs:sequence><xs:element name="a" type="xs:string"/><xs:element name="b" type="xs:string"/></xs:sequence>
<xs:sequence><xs:element name="a2" type="xs:string"/><xs:element name="b" type="xs:string" minOccurs="0"/></xs:sequence></xs:choice>
<xs:element name="boom" type="Boom" minOccurs="0"/>
"""
TOML = """dienst = "alles"
versie = "1"
naam = "Alles"
namespace = "urn:x:alles:1"
xsd = "alles.xsd"
personal_data = false
[kinds.alles]
action = "urn:x:alles:1/alles"
senders = []
to = "receiver"
subject = []
order_key = []
deliver_within = "1d"
fetch_within = "1d"
retention = "7d"
[[kinds.alles.recipients]]
target = "ontvanger"
rule = "addressed"
"""


def other(tmp_path: Path, content: str = EVERYTHING, form: str = "qualified") -> tuple[Contracts, Contract, MessageKind]:
    folder = tmp_path / "alles" / "1"
    folder.mkdir(parents=True)
    (folder / "dienst.toml").write_text(TOML)
    (folder / "alles.xsd").write_text(XSD.format(content=content, form=form))
    contracts = load_contracts(tmp_path)
    contract = contracts.find("alles", "1")
    assert contract is not None
    return contracts, contract, contracts.kind("urn:x:alles:1/alles")


@pytest.mark.parametrize("form", ["qualified", "unqualified"])
def test_numbers_lists_attributes_nil_choices_and_trees_go_there_and_back(tmp_path: Path, form: str) -> None:
    contracts, contract, kind = other(tmp_path, form=form)
    said = {
        "alles": {
            "@soort": "x",
            "boom": {"tak": [{}, {"tak": [{"tak": [{}]}]}]},
            "b": "2",
            "a": "1",
            "bedrag": {"@munt": "EUR", "$": 12.5},
            "leeg": None,
            "ja": True,
            "meting": 0.25,
            "maat": [1.5, 2.25],
            "getal": -7,
        }
    }
    written = read_json(json.dumps(said).encode(), contract)
    assert written.unfit is None
    assert accepts(kind, written.xml, contracts), written.xml
    assert to_json(soap.parse(written.xml), kind, contract) == said
    schema = json_schema(kind, contract)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert fits(schema, said)


@pytest.mark.parametrize(
    ("members", "good"),
    [
        ({}, True),
        ({"a": "1", "b": "2"}, True),
        ({"a2": "1"}, True),
        ({"a2": "1", "b": "2"}, True),
        ({"a": "1"}, False),
        ({"b": "1"}, False),
        ({"a": "1", "a2": "1", "b": "2"}, False),
        ({"getal": 1.0}, True),
        ({"getal": 1.5}, False),
        ({"getal": "007"}, True),
        ({"getal": True}, False),
        ({"maat": 1}, False),
        ({"maat": []}, True),
        ({"ja": "true"}, False),
        ({"ja": None}, False),
        ({"bedrag": 12}, False),
        ({"bedrag": {"$": 12, "@x": "y"}}, False),
        ({"boom": {"tak": {}}}, False),
    ],
)
def test_the_json_schema_and_what_is_taken_agree(tmp_path: Path, members: dict[str, Any], good: bool) -> None:
    contracts, contract, kind = other(tmp_path)
    said = {"alles": {"@soort": "x"} | members}
    written = read_json(json.dumps(said).encode(), contract)
    assert (written.unfit is None and accepts(kind, written.xml, contracts)) is good, (written.unfit, written.xml)
    assert fits(json_schema(kind, contract), said) is good


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1.50", "1.50"),
        ("0.1000000000000000000000000001", "0.1000000000000000000000000001"),
        ("12e3", "12000"),
        ("1.25E-3", "0.00125"),
        ("-1.5e1", "-15"),
        ("1e-100", "0." + "0" * 99 + "1"),
        ('"0001.50"', "0001.50"),
    ],
)
def test_a_number_keeps_its_digits(tmp_path: Path, number: str, text: str) -> None:
    contracts, contract, kind = other(tmp_path)
    written = read_json(f'{{"alles": {{"@soort": "x", "maat": [{number}]}}}}'.encode(), contract)
    assert [element.text for element in soap.parse(written.xml)] == [text]
    assert accepts(kind, written.xml, contracts)


@pytest.mark.parametrize("number", ["1e101", "1e999999999", "-1e-999999999"])
def test_a_number_that_would_be_too_long_to_write_is_no_number(tmp_path: Path, number: str) -> None:
    _, contract, _ = other(tmp_path)
    written = read_json(f'{{"alles": {{"@soort": "x", "maat": [{number}]}}}}'.encode(), contract)
    assert written.unfit is not None and written.unfit.where == "/alles/maat/0"


E = '<xs:element name="{}" type="xs:string"/>'.format


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (f'<xs:sequence maxOccurs="2">{E("a")}{E("b")}</xs:sequence>', "repeats a group"),
        (f'<xs:choice maxOccurs="unbounded">{E("a")}{E("b")}</xs:choice>', "repeats a group"),
        (f"{E('a')}{E('b')}{E('a')}", "no fixed order"),
        ("<xs:any/>", "does not name"),
        ('<xs:element name="a"><xs:complexType mixed="true"><xs:sequence/></xs:complexType></xs:element>', "mixes text"),
        ('<xs:element name="a" type="xs:QName"/>', "QName"),
        ('<xs:element name="a"/>', "abstract, or mixes"),
    ],
)
def test_an_xsd_that_json_cannot_follow_is_for_xml_only_and_says_why(tmp_path: Path, content: str, why: str) -> None:
    _, contract, kind = other(tmp_path, content)
    with pytest.raises(NoJson, match=why):
        json_schema(kind, contract)
    fault = refused('{"alles": {"@soort": "x"}}', contract)
    assert (fault.code, fault.where) == ("UNKNOWN_DIENST", "Content-Type")
    assert "as XML only" in fault.reason


def test_a_choice_that_repeats_one_element_is_a_list(tmp_path: Path) -> None:
    contracts, contract, kind = other(tmp_path, f'<xs:sequence maxOccurs="unbounded">{E("a")}</xs:sequence>')
    said = {"alles": {"@soort": "x", "a": ["1", "2"]}}
    assert accepts(kind, read_json(json.dumps(said).encode(), contract).xml, contracts)
    assert fits(json_schema(kind, contract), said)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data with DUO's XSDs is not there")
def test_the_json_schemas_of_duos_requests_are_schemas() -> None:
    from adapters.json_schema import _Writer
    from adapters.json_shapes import _Shapes

    shapes = _Shapes.of((SHARED / "rio-v4/DUO_RIO_Beheren_OnderwijsOrganisatie_V4.xsd").resolve())
    made = 0
    for name in shapes._schema.elements:
        try:
            root = shapes.root(f"{{{shapes._schema.target_namespace}}}{name}")
        except NoJson as why:
            assert "substitutionGroup" in str(why)
            continue
        jsonschema.Draft202012Validator.check_schema(_Writer("urn:x").member(root))
        made += 1
    assert made > 50


# -- bounds ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("[" * (DEEPEST + 1), "Client.NOT_JSON"),
        ('{"a":' * 50_000, "Client.NOT_JSON"),
        ("[]" * 100_000, "Client.NOT_JSON"),
        ("[" + "0," * MOST_PARTS + "0]", "Client.TOO_LARGE"),
        ('"' + '\\"' * 1_400_000, "Client.NOT_JSON"),
        ("[" * 70 + '"' + '\\"' * 1_400_000, "Client.NOT_JSON"),
        ("[" * 60 + "]" * 60 + "[" * 10 + '"' * 1_000_000, "Client.NOT_JSON"),
        ("9" * 3_000_000, "Client.NOT_JSON"),
        ("[" + "-" * 3_000_000, "Client.NOT_JSON"),
        (" " * 3_000_000, "Client.NOT_JSON"),
        ('{"' + "a" * 3_000_000 + '": 1}', "UNKNOWN_DIENST"),
    ],
    ids=lambda value: f"{str(value)[:12]}-{len(str(value))}",
)
def test_much_of_anything_is_refused_in_time_that_grows_with_its_size_only(raw: str, code: str) -> None:
    began = time.process_time()
    fault = refused(raw)
    assert fault.code == code
    assert len(str(fault)) < 1_000
    assert time.process_time() - began < 10  # quadratic time would be minutes


def test_json_is_too_deep_by_one_level_and_not_by_none() -> None:
    assert "nests more than 64 levels" in refused("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)).reason
    assert refused("[" * DEEPEST + "]" * DEEPEST + " " * 10).code == "UNKNOWN_DIENST"


def test_brackets_in_texts_are_not_levels() -> None:
    fault = refused(json.dumps({"x": "[{" * 1_000 + '\\"' + "[" * 1_000}))
    assert fault.code == "UNKNOWN_DIENST"


def test_a_member_that_nobody_knows_is_told_short_and_so_that_it_can_be_looked_at() -> None:
    written = read_json(json.dumps({"proef": {"a/b~\x1b[31m\u202e" + "x" * 500: 1}}).encode(), CONTRACTS.contracts[0])
    assert written.unfit is not None and written.unfit.where is not None
    assert written.unfit.where.startswith(r"/proef/a~1b~0\x1b[31m\u202exxx")
    assert len(written.unfit.where) < 80 and written.unfit.reason.isprintable()


def test_findings_are_at_most_twenty() -> None:
    written = read_json(json.dumps({"proef": {f"x{number}": 1 for number in range(1_000)}}).encode(), CONTRACTS.contracts[0])
    assert written.unfit is not None and len(written.unfit.details) == 20


def test_the_example_in_the_documentation_is_a_good_message() -> None:
    page = (BUILT_IN.parents[1] / "docs/connecting-a-party.md").read_text(encoding="utf-8")
    example = page.partition("-d '")[2].partition("' \\\n")[0]
    contract = CONTRACTS.find("proef", "1")
    assert contract is not None
    written = read_json(example.encode(), contract)
    assert written.unfit is None
    assert accepts(written.kind, written.xml)
