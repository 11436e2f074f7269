"""What is taken from the component library: what pages use, and nothing else."""

from __future__ import annotations

from portal.vendoring import _needed, _trimmed

CSS = """@charset "UTF-8";
/* .utrecht-button { color: red } */
.utrecht-button, .utrecht-calendar { color: var(--utrecht-button-color, var(--other)); }
.utrecht-button--hover { color: red; }
.utrecht-button:hover { color: blue; }
.utrecht-checkbox--custom { background: url("data:x"); }
h1 { color: red; }
@media print { .utrecht-table { color: black; } .utrecht-calendar { color: black; } }
@media screen { .utrecht-calendar { color: black; } }
"""


def test_only_rules_of_components_that_are_used_stay() -> None:
    assert _trimmed(CSS).splitlines() == [
        ".utrecht-button { color: var(--utrecht-button-color, var(--other)) }",
        ".utrecht-button:hover { color: blue }",
        "@media print {",
        ".utrecht-table { color: black }",
        "}",
    ]


def test_only_tokens_that_those_name_stay_and_what_they_name_themselves() -> None:
    tokens = {"--utrecht-button-color": "var(--basis)", "--basis": "#fff", "--utrecht-calendar-color": "#000"}
    assert list(_needed(_trimmed(CSS), tokens)) == ["  --utrecht-button-color: var(--basis);\n", "  --basis: #fff;\n"]
