"""Cells of CSV files: no spreadsheet finds a formula in one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cells import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("a=1", "a=1"), (-1, -1), (0.5, 0.5), (None, ""), ("", "")],
        *[(" =1", "' =1"), ("\t=1", "' =1"), ("\r=1", "' =1"), ("a;=1", "a,=1"), ("a\n=1", "a =1"), (";=1", ",=1"), ("a\t=1", "a =1")],
    ],
)
def test_a_cell_is_no_formula(value: object, shown: object) -> None:
    assert cell(value) == shown


@given(st.lists(st.text(alphabet="=+-@;,\t\r\n\"' ax\x85\u2028", max_size=8), min_size=1, max_size=5), st.sampled_from(",;\t"))
def test_no_part_of_a_line_begins_as_a_formula_whatever_it_is_split_at(values: list[str], sign: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow([cell(value) for value in values])
    for row in csv.reader(io.StringIO(out.getvalue()), delimiter=sign):
        assert not [part for part in row if part.lstrip().startswith(("=", "+", "-", "@"))]
    if sign != ",":  # and for one that splits before it looks at quotes
        assert not [part for line in out.getvalue().splitlines() for part in line.split(sign) if part.startswith(("=", "+", "-", "@"))]
