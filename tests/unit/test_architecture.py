"""The promises of the layout: imports only point inward, and only run.py sees the environment."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "routing", "broker_config", "adapters", "workers", "portal", "benchmarks", "tests", "run")
MAY_IMPORT = {
    "schemas": set(),
    "routing": {"schemas"},
    "broker_config": set(),
    "adapters": {"schemas", "routing", "broker_config"},
    "workers": {"schemas", "routing", "broker_config"},
    "portal": {"schemas", "routing", "broker_config"},
}


def imports_of(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found & set(PACKAGES)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_only_point_inward(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = {
        str(file.relative_to(ROOT)): imports_of(file) - allowed for file in (ROOT / package).rglob("*.py") if imports_of(file) - allowed
    }
    assert not wrong


def test_only_the_command_line_reads_the_environment() -> None:
    readers = [
        str(file.relative_to(ROOT))
        for package in MAY_IMPORT
        for file in (ROOT / package).rglob("*.py")
        if "os.environ" in file.read_text(encoding="utf-8")
    ]
    # the node and the installer pass it on to programs they start; they read no setting from it
    assert set(readers) <= {"broker_config/node.py", "broker_config/install.py"}


def test_foreign_xml_is_parsed_in_one_place_only() -> None:
    # schemas/xml.py parses the XSDs of a dienst, which an operator puts there
    parsers = [
        str(file.relative_to(ROOT))
        for package in MAY_IMPORT
        for file in (ROOT / package).rglob("*.py")
        if any(
            call in file.read_text(encoding="utf-8") for call in ("etree.fromstring", "etree.parse", "etree.XML(", "ElementTree", "minidom")
        )
    ]
    assert set(parsers) <= {"adapters/soap.py", "schemas/xml.py"}


def test_no_two_test_files_share_a_name() -> None:
    """pytest imports each by its name alone, and collects nothing when another folder has one of that name."""
    folders: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        folders.setdefault(file.name, []).append(str(file.parent.relative_to(ROOT)))
    assert not {name: where for name, where in folders.items() if len(where) > 1}
