"""Names for numbers, and what kind of system one is."""

from __future__ import annotations

import pytest

from portal.directory import Directories, Directory
from portal.pages.filters import filter_of
from routing.board import BoardError
from routing.register import Register, read_register
from tests.support.pages import BOX, DOCUMENT, LAS, OTHER_LAS, SCHOOL, TOWN


@pytest.fixture(scope="module")
def names() -> Directory:
    return Directory(read_register(DOCUMENT, version=1))


def test_an_oin_is_called_by_its_name_and_an_unknown_one_by_itself(names: Directory) -> None:
    assert [names.name(oin) for oin in (SCHOOL, LAS, TOWN, None, "")] == ["De Eik", "Leerlingboek", "Gemeente Dorp", "", ""]
    assert names.name("00000003111111110000") == "00000003111111110000"


def test_a_routeringskenmerk_is_called_by_the_institution_behind_it(names: Directory) -> None:
    assert names.name("0000000700001AA00042") == "De Eik"


def test_a_system_is_what_those_are_who_mandated_it(names: Directory) -> None:
    assert [names.kind(system) for system in (LAS, OTHER_LAS, BOX, "00000003111111110000")] == ["las", "sis", "municipality", "other"]


def test_a_party_is_found_by_name_brin_supplier_or_oin(names: Directory) -> None:
    assert names.search("eik") == [(SCHOOL, "De Eik")]
    assert names.search("01aa") == [(SCHOOL, "De Eik")]
    assert (LAS, "Leerlingboek") in names.search("leerlingboek bv")
    assert names.search("e") == [], "one letter finds everybody"


def test_names_follow_the_register() -> None:
    registers = [read_register(DOCUMENT, version=1)]

    def newest() -> Register:
        return registers[-1]

    kept = Directories(newest)
    before = kept.now()
    assert kept.now() is before
    registers.append(read_register({**DOCUMENT, "organisations": [], "mandates": [], "endpoints": []}, version=2))
    assert kept.now().name(SCHOOL) == SCHOOL


def test_a_routeringskenmerk_is_told_from_other_numbers_by_its_shape(names: Directory) -> None:
    assert filter_of({"nummer": "0000000700001aa00042"}, names).address == "0000000700001AA00042"
    assert filter_of({"nummer": "01a21f10-0f71-7e5a-9d82-ba9918b1e459"}, names).reference == "01a21f10-0f71-7e5a-9d82-ba9918b1e459"


def test_a_supplier_whom_nobody_knows_has_no_systems_and_finds_nothing(names: Directory) -> None:
    assert filter_of({"leverancier": "Leerlingboek BV"}, names).systems == (LAS,)
    assert filter_of({"leverancier": "Niemand"}, names).systems == ("-",)


def test_a_number_that_may_be_a_pupils_is_refused(names: Directory) -> None:
    with pytest.raises(BoardError):
        filter_of({"nummer": "999990019"}, names)
