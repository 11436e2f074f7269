"""Rules for whoever writes a migration; docs/three-machines.md explains them."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest

from adapters.store import schema
from adapters.store.tables.lifecycle import lifecycle_triggers

FOLDER = Path(schema.__file__).parent / "migrations" / "versions"
#: The first revision that may run beside the version before it.
FIRST = "0008"
LATER = [file for file in sorted(FOLDER.glob("0*.py")) if file.name[:4] >= FIRST]
#: A lifecycle (by the digest of its triggers), and the revision with which it came.
LIFECYCLES = {"9c4f113141436d05": "0004"}
#: What PostgreSQL does under a lock that keeps everybody out for as long as the table is large, or what breaks the version before.
FORBIDDEN = {
    "alter_column",
    "drop_column",
    "drop_table",
    "rename_table",
    "create_check_constraint",
    "create_foreign_key",
    "create_unique_constraint",
}


def _calls(file: Path) -> list[ast.Call]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    upgrade = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade")
    return [node for node in ast.walk(upgrade) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def _named(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == name), None)


def test_revisions_are_numbered_in_the_order_in_which_they_follow_each_other() -> None:
    texts = [file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("0*.py"))]
    revisions = [re.findall(r'^(?:revision|down_revision) = (?:"([0-9]+)"|None)$', text, re.MULTILINE) for text in texts]
    assert [revision for revision, _ in revisions] == [f"{number:04}" for number in range(1, len(texts) + 1)]
    assert [before for _, before in revisions] == ["", *(revision for revision, _ in revisions[:-1])]
    assert schema.head() == revisions[-1][0]
    assert schema.head() >= schema.USABLE_BY


def test_another_lifecycle_comes_with_a_revision_of_its_own() -> None:
    """By it the version before knows that the triggers are not its own, and leaves them alone."""
    digest = hashlib.sha256("\n".join(lifecycle_triggers("sqlite")).encode()).hexdigest()[:16]
    assert digest in LIFECYCLES, f"add {digest} with the revision it comes with"
    assert LIFECYCLES[digest] == max(LIFECYCLES.values()) <= schema.head()
    assert len(set(LIFECYCLES.values())) == len(LIFECYCLES)


@pytest.mark.parametrize("file", LATER, ids=lambda file: file.stem)
def test_a_migration_neither_holds_a_large_table_nor_takes_anything_from_the_version_before(file: Path) -> None:
    calls = _calls(file)
    made = {ast.unparse(call.args[0]) for call in calls if call.func.attr == "create_table"}  # type: ignore[attr-defined]
    for call in calls:
        name = call.func.attr  # type: ignore[attr-defined]
        assert name not in FORBIDDEN, f"{name} in {file.name}"
        if name == "create_index" and ast.unparse(call.args[1]) not in made:
            assert _named(call, "if_not_exists") == "True", (
                f"{file.name}: an index on a table that is there is built beforehand by the operator"
            )
        if name == "add_column":
            column = call.args[1]
            assert isinstance(column, ast.Call)
            assert _named(column, "nullable") != "False" or _named(column, "server_default"), (
                f"{file.name}: the version before does not fill it"
            )
