"""Contracts: folders of our own and of others, checked strictly; official XSDs as they are."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters import soap
from schemas.content import read_content
from schemas.contracts import BUILT_IN, ContractError, load_contracts
from schemas.faults import Refused
from schemas.oin import Oin, school_oin
from tests.support.content import SHARED

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
VO, HUB = school_oin("01AA"), Oin("00000004003214345000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of somebody else's diensten, with VVA as version 2 in it."""
    version = tmp_path / "vva" / "2"
    version.mkdir(parents=True)
    toml = (BUILT_IN / "vva/1/dienst.toml").read_text(encoding="utf-8")
    xsd = (BUILT_IN / "vva/1/vva.xsd").read_text(encoding="utf-8")
    (version / "dienst.toml").write_text(toml.replace('versie = "1"', 'versie = "2"').replace("vva:1", "vva:2"), encoding="utf-8")
    (version / "vva.xsd").write_text(xsd.replace("vva:1", "vva:2"), encoding="utf-8")
    return tmp_path


def spoil(folder: Path, old: str, new: str, *, file: str = "dienst.toml") -> None:
    path = folder / "vva/2" / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def problem(*folders: Path) -> str:
    with pytest.raises(ContractError) as refused:
        load_contracts(*folders)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_new_version_stands_beside_the_old_one(folder: Path):
    contracts = load_contracts(folder)
    assert [(c.dienst, c.versie) for c in contracts.contracts] == [("proef", "1"), ("vva", "1"), ("vva", "2")]
    for version in "12":
        kind = contracts.kind(f"urn:x-backbone:vva:{version}/mboGangerBericht")
        assert (kind.versie, kind.namespace) == (version, f"urn:x-backbone:vva:{version}")
    assert contracts.find("vva", "3") is None


def test_a_contract_that_says_nothing_of_it_asks_for_signatures_and_takes_no_rest(folder: Path):
    spoil(folder, 'profile = "2W-be-S"\n', "")
    spoil(folder, "rest = true\n", "")
    shipped, silent = (load_contracts(folder).find("vva", version) for version in "12")
    assert shipped and silent
    assert (shipped.profile, shipped.signed, shipped.rest) == ("2W-be-S", True, True)
    assert (silent.profile, silent.signed, silent.rest) == ("2W-be-S", True, False)
    spoil(folder, "personal_data", 'profile = "2W-be"\npersonal_data')
    assert (unsigned := load_contracts(folder).find("vva", "2")) and not unsigned.signed


def test_mail_may_stand_in_a_mailbox_for_a_day_unless_the_contract_says_otherwise(folder: Path):
    action = "urn:x-backbone:vva:2/mboGangerBericht"
    assert load_contracts(folder).kind(action).fetch_within == timedelta(days=10)
    spoil(folder, 'fetch_within = "10d"', "")
    assert load_contracts(folder).kind(action).fetch_within == timedelta(hours=24)
    spoil(folder, "[kinds.mboGangerBericht]", '[kinds.mboGangerBericht]\nfetch_within = "soon"')
    assert "fetch_within" in problem(folder)


def test_the_built_in_vva_says_what_the_design_says():
    contracts = load_contracts()
    ganger, status = (contracts.kind(f"urn:x-backbone:vva:1/{name}") for name in ("mboGangerBericht", "aanmeldStatusBericht"))
    assert (ganger.senders, ganger.to, [r.target for r in ganger.recipients]) == (("vo",), "hub", ["woongemeente"])
    assert (status.senders, status.to) == (("mbo",), "hub")
    assert [(r.target, r.rule, [(c.fact, c.present, c.below, c.equals) for c in r.when]) for r in status.recipients] == [
        ("centraalAanmelden", "role", []),
        ("latendeSchool", "brin", [("latendeBrin", True, None, None)]),
        (
            "woongemeente",
            "gemeente",
            [("gemeentecode", True, None, None), ("leeftijd", None, 23, None), ("heeftStartkwalificatie", None, None, "false")],
        ),
    ]
    assert status.deliver_within == timedelta(days=30)


@pytest.mark.parametrize(
    ("old", "new", "key", "why"),
    [
        ('naam = "Vroeg', 'naaam = "x"\nnaam = "Vroeg', "naaam", "not a known key"),
        ('naam = "Vroegtijdig aanmelden mbo"', "", "naam", "is missing"),
        ('profile = "2W-be-S"', 'profile = "2W-be-SE"', "profile", "choose from 2W-be, 2W-be-S"),
        ("rest = true", 'rest = "ja"', "rest", "must be true or false"),
        ("rest = true", 'peer_to_peer = "yes"', "peer_to_peer", "choose from carry, where"),
        ("rest = true", 'peer_to_peer = "carry"', "peer_to_peer", 'kinds.mboGangerBericht.to is "hub"'),
        ('naam = "Vroegtijdig aanmelden mbo"', 'naam = " "', "naam", "text that is not empty"),
        ("personal_data = true", 'personal_data = "ja"', "personal_data", "true or false"),
        ('dienst = "vva"', 'dienst = "VVA"', "dienst", "right form"),
        ('namespace = "urn:x-backbone:vva:2"', 'namespace = "urn:other"', "namespace", "targetNamespace"),
        ('xsd = "vva.xsd"', 'xsd = "other.xsd"', "xsd", "cannot be read"),
        ('xsd = "vva.xsd"', 'xsd = "../vva.xsd"', "xsd", "own folder"),
        ("[kinds.mboGangerBericht]", "[kinds.mboGangerBericht]\nprioriteit = 1", "kinds.mboGangerBericht.prioriteit", "not a known key"),
        ('senders = ["vo"]', 'senders = "vo"', "senders", "list of texts"),
        ('senders = ["vo"]', 'senders = ["vo", "vo"]', "senders", "twice"),
        ('to = "hub"', 'to = "iedereen"', "kinds.mboGangerBericht.to", "choose from hub, receiver"),
        ('to = "hub"', 'to = "receiver"', "kinds.mboGangerBericht.recipients", "addressed"),
        ('deliver_within = "30d"', "deliver_within = 30", "deliver_within", '"30d"'),
        ('retention = "30d"', 'retention = "0d"', "retention", '"12h"'),
        ('send_until = "02-01"', 'send_until = "02-32"', "send_until", "right form"),
        ('send_until = "02-01"', "", "send_from", "all three or none"),
        ('send_year = "schooljaar"', 'send_year = "jaar"', "send_year", "not one of its facts"),
        ('business_id = "identificatiecodeBedrijfsdocument"', 'business_id = "id"', "business_id", "not one of its facts"),
        ('subject = ["pgn"]', 'subject = ["bsn"]', "subject", "not one of its facts"),
        ('order_key = ["pgn", "brin", "schooljaar"]', 'order_key = ["pupil"]', "order_key", "not one of its facts"),
        ('order_key = ["pgn", "brin", "schooljaar"]', "order_key = []", "newest_replaces", "needs an order_key"),
        ('rule = "bsn"', 'rule = "elfproef"', "kinds.mboGangerBericht.checks[5].rule", "does not exist; choose from birth-date"),
        ('fact = "burgerservicenummer" }', 'fact = "bsn" }', "checks[5].fact", "not one of its facts"),
        ('fact = "burgerservicenummer" }', 'fact = "burgerservicenummer", other = "brin" }', "checks[5].other", "takes no other"),
        ('fact = "vestiging", other = "brin"', 'fact = "vestiging"', "checks[9].other", "needs other"),
        ('vestiging = "vestiging"', 'vestiging = "locatie"', "facts.vestiging", "XSD has no element 'locatie'"),
        ('vestiging = "vestiging"', 'vestiging = "//vestiging"', "facts.vestiging", "right form"),
        ('rule = "gemeente"', 'rule = "provincie"', "recipients[1].rule", "choose from addressed, brin, gemeente, role"),
        ('rule = "gemeente"\nfact = "gemeentecode"', 'rule = "gemeente"', "recipients[1].fact", "needs fact"),
        ('rule = "gemeente"\nfact = "gemeentecode"', 'rule = "gemeente"\nfact = "gemeente"', "recipients[1].fact", "not one of its facts"),
        ('rule = "gemeente"', 'rule = "addressed"', "recipients[1].rule", "names the hub"),
        ('role = "centraal-aanmelden"', "", "recipients[1].role", "needs role"),
        ("present = true", "", "when[1].present", "exactly one of"),
        ("present = true", "present = true\nbelow = 3", "when[1].present", "exactly one of"),
        ("below = 23", 'below = "23"', "when[2].below", "whole number"),
        ('reason_nl = "Het bericht noemt geen latende school."', "", "when[1].reason_nl", "is missing"),
        ('target = "latendeSchool"', 'target = "woongemeente"', "recipients", "a name of its own"),
        ('birth = "geboortedatum"', 'birth = "geboren"', "ages.leeftijd.birth", "not one of its facts"),
        ("leeftijd = {", "status = {", "ages.status", "fact already"),
        ('heeftStartkwalificatie = "false"', 'startkwalificatie = "false"', "defaults", "not one of its facts"),
        ('first = ["AO"]', 'first = ["XX"]', "sequence.first", "not a status in follows"),
        ('first = ["AO"]', "first = []", "sequence.first", "may start with"),
        ('OA = ["IN", "IT"]', 'OA = ["IN", "XX"]', "sequence.follows.OA", "not a status in follows"),
        ('fact = "statusdatum"\nonly', 'fact = "dag"\nonly', "law_day.fact", "not one of its facts"),
        ('fact = "statusdatum"\nonly', "only", "law_day.fact", "is missing"),
        ('only = { status = "AO" }', 'only = { stand = "AO" }', "law_day.only", "not one of its facts"),
        ('only = { status = "AO" }', "only = { status = 1 }", "law_day.only.status", "must be a text"),
        ('only = { status = "AO" }', 'when = { status = "AO" }', "law_day.when", "not a known key"),
        ('number = "wijzigingsvolgnummer"', 'number = "nummer"', "sequence.number", "not one of its facts"),
        ("/mboGangerBericht", "/aanmeldStatusBericht", "kinds.aanmeldStatusBericht.action", "another kind"),
        (
            "urn:x-backbone:vva:2/mbo",
            "urn:x-backbone:vva:1/mbo",
            "kinds.mboGangerBericht.action",
            "belongs to vva 1 mboGangerBericht already",
        ),
    ],
)
def test_a_mistake_in_a_contract_is_one_sentence_with_the_file_and_the_key(folder: Path, old: str, new: str, key: str, why: str):
    spoil(folder, old, new)
    told = problem(folder)
    assert told.startswith(str(folder / "vva/2/dienst.toml"))
    assert key in told
    assert why in told


def test_a_kind_that_is_no_root_element_of_the_xsd_is_refused(folder: Path):
    path = folder / "vva/2/dienst.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("kinds.mboGangerBericht", "kinds.gangerBericht"), encoding="utf-8")
    assert "kinds.gangerBericht: the XSD has no such root element; it has aanmeldStatusBericht, mboGangerBericht" in problem(folder)


def test_a_folder_must_be_named_after_its_dienst_and_version(folder: Path):
    (folder / "vva/2").rename(folder / "vva/3")
    assert "put it in vva/2/" in problem(folder)


def test_a_dienst_version_stands_in_one_folder_only(folder: Path):
    other = folder / "other"
    shutil.copytree(folder / "vva", other / "vva")
    shutil.copytree(folder / "vva", folder / "again" / "vva")
    assert "stands in" in problem(other, folder / "again")


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_diensten_is_refused(tmp_path: Path, name: str):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / name) in problem(tmp_path / name)


def test_a_version_without_a_contract_is_refused(folder: Path):
    (folder / "vva/2/dienst.toml").unlink()
    assert "is missing" in problem(folder)


@pytest.mark.parametrize("content", [b"dienst = ", b"\xff\xfe"])
def test_a_contract_that_is_no_toml_is_refused(folder: Path, content: bytes):
    (folder / "vva/2/dienst.toml").write_bytes(content)
    assert "vva/2/dienst.toml: " in problem(folder)


# XSDs


@pytest.mark.parametrize(
    "location", ["../../outside.xsd", "http://example.org/types.xsd", "file:///etc/passwd", "/etc/passwd", "..%2Foutside.xsd"]
)
@pytest.mark.parametrize("how", ["include", "import"])
def test_an_xsd_reads_no_file_outside_its_folder_and_no_network(folder: Path, location: str, how: str):
    (folder / "outside.xsd").write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>')
    extra = "" if how == "include" else ' namespace="urn:other"'
    spoil(
        folder,
        '  <xs:element name="mboGanger',
        f'  <xs:{how}{extra} schemaLocation="{location}"/>\n  <xs:element name="mboGanger',
        file="vva.xsd",
    )
    assert "leaves the dienst's folder" in problem(folder)


def test_a_link_to_a_file_outside_is_outside(folder: Path):
    (folder / "outside.xsd").write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"/>')
    (folder / "vva/2/inside.xsd").symlink_to(folder / "outside.xsd")
    spoil(
        folder,
        '  <xs:element name="mboGanger',
        '  <xs:include schemaLocation="inside.xsd"/>\n  <xs:element name="mboGanger',
        file="vva.xsd",
    )
    assert "leaves the dienst's folder" in problem(folder)


def test_an_xsd_may_include_another_of_its_own_folder_and_facts_may_stand_in_its_namespace(folder: Path):
    xsd = folder / "vva/2/vva.xsd"
    (folder / "vva/2/types.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:types" elementFormDefault="qualified">'
        '<xs:element name="brin" type="xs:string"/></xs:schema>'
    )
    text = xsd.read_text(encoding="utf-8")
    text = text.replace(
        '  <xs:element name="mboGanger', '  <xs:import namespace="urn:types" schemaLocation="types.xsd"/>\n  <xs:element name="mboGanger', 1
    )
    text = text.replace("<xs:schema ", '<xs:schema xmlns:t="urn:types" ', 1).replace(
        '<xs:element name="brin" type="Brin"/>', '<xs:element ref="t:brin"/>', 1
    )
    xsd.write_text(text, encoding="utf-8")
    raw = (BUILT_IN / "vva/1/examples/valid/mbo-ganger.xml").read_bytes().replace(b"vva:1", b"vva:2")
    raw = raw.replace(b"<brin>01AA</brin>", b'<t:brin xmlns:t="urn:types">01AA</t:brin>')
    action = "urn:x-backbone:vva:2/mboGangerBericht"
    content = read_content(soap.parse(raw), action=action, sender=VO, receiver=HUB, contracts=load_contracts(folder), now=NOW)
    assert content.facts["brin"] == "01AA"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("<xs:schema", "<!DOCTYPE xs:schema [<!ENTITY x 'y'>]>\n<xs:schema", "DOCTYPE"),
        ('type="Brin"', 'type="Brins"', "not a valid XSD"),
        ("</xs:schema>", "", "not XML"),
    ],
)
def test_an_xsd_that_cannot_be_used_is_refused(folder: Path, old: str, new: str, why: str):
    spoil(folder, old, new, file="vva.xsd")
    assert why in re.sub(r"\s+", " ", problem(folder))


def test_a_rule_about_dates_on_an_xsd_that_allows_any_text_is_a_finding_and_no_crash(folder: Path):
    xsd = folder / "vva/2/vva.xsd"
    loose = re.sub(r'type="(Schooljaar|Datum|Volgnummer)"', 'type="xs:string"', xsd.read_text(encoding="utf-8"))
    xsd.write_text(loose, encoding="utf-8")
    contracts = load_contracts(folder)
    example = (BUILT_IN / "vva/1/examples/valid/status-ontvangen.xml").read_bytes().replace(b"vva:1", b"vva:2")
    for old, new in ((b">1</wijz", b">een</wijz"), (b"2027-2028", b"volgend"), (b"2009-03-04", b"1 mei"), (b"2026-11-23", b"")):
        assert old in example
        with pytest.raises(Refused) as refused:
            read_content(
                soap.parse(example.replace(old, new)),
                action="urn:x-backbone:vva:2/aanmeldStatusBericht",
                sender=school_oin("25XX"),
                receiver=HUB,
                contracts=contracts,
                now=NOW,
            )
        assert refused.value.code == "CONTENT_RULE"


# official XSDs, used as they are from a folder outside the source tree

OSO = """
dienst = "oso"
versie = "2019.1"
naam = "Overstapdossier"
namespace = "http://www.edustandaard.nl/oso_gegevensset/2019/dossier"
xsd = "OSO_gegevensset.xsd"
personal_data = true

[kinds.dossier]
action = "urn:test:oso:2019.1/dossier"
senders = ["vo", "po"]
to = "receiver"
subject = ["pgn"]
order_key = []
deliver_within = "7d"
fetch_within = "7d"
retention = "1d"
checks = [{ rule = "bsn", fact = "bsn" }, { rule = "birth-date", fact = "geboortedatum" }]

[kinds.dossier.facts]
brin = "huidigeschool/brincode"
pgn = "huidigeschool/leerling/bsn|huidigeschool/leerling/onderwijsnummer"
bsn = "huidigeschool/leerling/bsn"
geboortedatum = "huidigeschool/leerling/geboortedatum"

[[kinds.dossier.recipients]]
target = "school"
rule = "addressed"
"""

RIO = """
dienst = "rio"
versie = "4"
naam = "RIO raadplegen"
namespace = "http://duo.nl/schema/DUO_RIO_Raadplegen_OnderwijsOrganisatie_V4"
xsd = "DUO_RIO_Raadplegen_OnderwijsOrganisatie_V4.xsd"
personal_data = false

[kinds.opvragen_aangebodenOpleiding_request]
action = "http://duo.nl/contract/DUO_RIO_Raadplegen_OnderwijsOrganisatie_V4/opvragen_aangebodenOpleiding"
senders = []
to = "receiver"
business_id = "id"
subject = []
order_key = []
deliver_within = "1h"
fetch_within = "1h"
retention = "1d"

[kinds.opvragen_aangebodenOpleiding_request.facts]
id = "identificatiecodeBedrijfsdocument"

[[kinds.opvragen_aangebodenOpleiding_request.recipients]]
target = "duo"
rule = "addressed"
"""


def official(tmp_path: Path, source: str, dienst: str, versie: str, toml: str) -> Path:
    data = SHARED / source
    if not data.is_dir():
        pytest.skip(f"the official files of {source} are not on this machine")
    version = tmp_path / dienst / versie
    version.mkdir(parents=True)
    for xsd in data.glob("*.xsd"):
        shutil.copy(xsd, version)
    (version / "dienst.toml").write_text(toml, encoding="utf-8")
    return data


def test_the_official_oso_xsd_accepts_its_own_example_dossiers_as_an_external_dienst(tmp_path: Path):
    data = official(tmp_path, "oso-2019.1", "oso", "2019.1", OSO)
    reader = load_contracts(tmp_path).reader("urn:test:oso:2019.1/dossier")
    for file in sorted(data.glob("*.xml")):
        root = soap.parse(file.read_bytes())
        assert reader.schema.accepts(root), reader.schema.explain(root)
        brin = next(element.text for element in root.iter("{*}brincode"))
        reading = reader.read(root, sender=VO, receiver=VO, now=datetime(2019, 5, 1, tzinfo=UTC))
        assert {finding.code for finding in reading.findings} <= {"PGN_INVALID", "PGN_KIND"}  # examples hold invented numbers
        if reading.content is not None:
            assert reading.content.facts["brin"] == brin


def test_the_official_oso_xsd_explains_a_wrong_dossier_without_its_values(tmp_path: Path):
    data = official(tmp_path, "oso-2019.1", "oso", "2019.1", OSO)
    reader = load_contracts(tmp_path).reader("urn:test:oso:2019.1/dossier")
    root = soap.parse((data / "Voorbeelddossier_OV_VOVO_opt_out.xml").read_bytes())
    brin = next(root.iter("{*}brincode"))
    brin.text = "geheim"
    (reason,) = reader.schema.explain(root)
    assert reason.where == "/dossier/huidigeschool/brincode"
    assert "geheim" not in reason.nl + reason.en


def test_the_official_rio_xsd_is_an_external_dienst_whose_action_has_a_namespace_of_its_own(tmp_path: Path):
    official(tmp_path, "rio-v4", "rio", "4", RIO)
    traffic = SHARED / "duo-traffic"
    if not traffic.is_dir():
        pytest.skip("the recorded messages are not on this machine")
    contracts = load_contracts(tmp_path)
    (kind,) = [kind for kind in contracts.kinds if kind.dienst == "rio"]
    reader = contracts.reader(kind.action)
    bodies = [next(soap.parse(file.read_bytes()).iter("{http://schemas.xmlsoap.org/soap/envelope/}Body")) for file in traffic.glob("*.xml")]
    requests = [body[0] for body in bodies if body[0].tag == reader.root]
    assert requests
    for request in requests:
        assert read_content(request, action=kind.action, sender=VO, receiver=HUB, contracts=contracts, now=NOW).business_id is not None
