"""What the documentation lists is what exists: nobody has to find out from the code that a page is old."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import run
from broker_config.settings import Settings
from routing.register import read_register
from routing.register_files import columns
from routing.register_rows import FIELDS
from routing.register_wishes import MAY, Role
from schemas.contracts import load_contracts
from schemas.faults import CODES
from schemas.lifecycle import DeliveryState
from schemas.rules import RULES
from workers.register_plan_commands import LISTS

ROOT = Path(__file__).parents[2]
OPERATION = (ROOT / "docs/operation.md").read_text(encoding="utf-8")
GUARANTEES = (ROOT / "docs/delivery-guarantees.md").read_text(encoding="utf-8")
ADDING = (ROOT / "docs/adding-a-dienst.md").read_text(encoding="utf-8")
CONNECTING = (ROOT / "docs/connecting-a-party.md").read_text(encoding="utf-8")
REGISTER = (ROOT / "docs/register.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _log_calls() -> dict[str, set[str]]:
    """Event name -> its facts, from every `log.*` call in the code."""
    found: dict[str, set[str]] = {}
    files = [
        file
        for folder in ("adapters", "broker_config", "portal", "routing", "schemas", "workers")
        for file in (ROOT / folder).rglob("*.py")
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "log"):
                continue
            assert isinstance(node.args[0], ast.Constant), f"{file}: the event name is no constant"
            extra = next((keyword.value for keyword in node.keywords if keyword.arg == "extra"), None)
            names = {key.value for key in extra.keys if isinstance(key, ast.Constant)} if isinstance(extra, ast.Dict) else set()
            found.setdefault(str(node.args[0].value), set()).update(map(str, names))
    return found


def _row(text: str, name: str) -> str:
    """The table row that begins with this name."""
    rows = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"{name} has {len(rows)} rows"
    return rows[0]


@pytest.mark.parametrize("name", [row.name for row in Settings.from_environment({}).rows()])
def test_every_setting_is_explained_to_operators(name: str) -> None:
    assert f"`{name}`" in OPERATION.partition("## Settings")[2].partition("\n## ")[0]


@pytest.mark.parametrize("code", CODES)
def test_every_fault_stands_in_the_table_as_the_code_has_it(code: str) -> None:
    kind = CODES[code]
    retry = "yes" if kind.retry else "no"
    assert _row(GUARANTEES, code) == f"| `{code}` | {kind.cause} | {kind.owner} | {retry} | {kind.en} | {kind.remedy_en} |"


def test_the_fault_table_names_no_fault_that_does_not_exist() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", GUARANTEES.partition("## Fault codes")[2], re.MULTILINE)
    assert listed == list(CODES)


@pytest.mark.parametrize("state", DeliveryState)
def test_every_state_of_a_delivery_is_explained(state: DeliveryState) -> None:
    assert f"`{state}`" in GUARANTEES.partition("## States")[2].partition("\n## ")[0]


@pytest.mark.parametrize("command", run.COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    commands = README.partition("## Commands")[2].partition("\n## ")[0]
    assert re.search(rf"^\| .*`{command}[ `]", commands, re.MULTILINE)


@pytest.mark.parametrize(
    ("section", "program", "form"),
    [("### With Java", "java/Wss4jClient.java", 'settings.put("{0}", "{1}")'), ("### With Node.js", "node/client.cjs", "{0}: {1},")],
)
def test_what_developers_are_told_to_set_is_what_the_tested_program_sets(section: str, program: str, form: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", CONNECTING.partition(section)[2].partition("\n##")[0], re.MULTILINE)
    code = (
        (ROOT / "tests/interop" / program).read_text(encoding="utf-8").replace("EXCLUSIVE]", '"http://www.w3.org/2001/10/xml-exc-c14n#"]')
    )
    code = code.replace(": RSA_SHA256,", ': "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",')
    assert len(rows) >= 4
    assert [name for name, value in rows if form.format(name, value) not in code] == []


def test_the_readme_names_no_command_that_does_not_exist() -> None:
    assert set(re.findall(r"run\.py ([a-z]+)", README)) <= set(run.COMMANDS)


def test_every_log_event_is_explained_with_its_facts() -> None:
    for name, facts in _log_calls().items():
        explained = _row(OPERATION, name)
        assert not [fact for fact in facts if not re.search(rf"\b{fact}\b", explained)], f"{name} lacks facts"


def test_the_log_vocabulary_names_no_event_that_does_not_exist() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", OPERATION.partition("## Logs")[2].partition("\n## ")[0], re.MULTILINE)
    assert set(listed) == set(_log_calls())


def test_the_register_in_the_readme_can_be_loaded() -> None:
    document = json.loads(README.partition("```json\n")[2].partition("```")[0])
    register = read_register(document, version=1)
    served = {(kind.dienst, kind.versie) for kind in load_contracts().kinds}
    assert {(row.dienst, row.versie) for row in register.diensten.values()} <= served


def test_who_may_do_what_in_the_register_is_one_table_in_code_and_in_docs() -> None:
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in REGISTER.partition("## Who may do what")[2].partition("\n## ")[0].splitlines()
        if line.startswith("|")
    ]
    assert table[0] == ["action", *Role]
    assert table[2:] == [[action, *(roles.get(role, "-") for role in Role)] for action, roles in MAY.items()]


def test_the_registers_lists_are_explained_with_their_keys() -> None:
    table = REGISTER.partition("## What it holds")[2].partition("\n**")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE) == list(FIELDS)
    keys = dict(re.findall(r"^\| `([a-z]+)` \|.*\| `([a-z]+)` \|$", table, re.MULTILINE))
    assert all(key in columns(name) for name, key in keys.items())


def test_each_of_the_registers_lists_of_what_is_amiss_is_explained() -> None:
    table = REGISTER.partition("## What will change, and what is amiss")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(LISTS)


@pytest.mark.parametrize("command", re.findall(r"^ *run\.py (register .*?)(?: +#.*)?$", REGISTER, re.MULTILINE))
def test_every_register_command_in_the_docs_can_be_typed(command: str) -> None:
    parser = argparse.ArgumentParser()
    run.commands()["register"][0](parser)
    parser.parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("command", re.findall(r"^run\.py (account .*?)(?: +#.*)?$", OPERATION, re.MULTILINE))
def test_every_account_command_in_the_docs_can_be_typed(command: str) -> None:
    parser = argparse.ArgumentParser()
    run.commands()["account"][0](parser)
    parser.parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("rule", RULES)
def test_every_content_rule_is_named_for_whoever_adds_a_dienst(rule: str) -> None:
    assert f"`{rule}`" in ADDING.partition("## Content rules")[2].partition("\n## ")[0]


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_system_in_the_readmes_register_may_go_on_over_https_as_the_next_page_has_it() -> None:
    (document,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL) if '"systems"' in block)
    assert [sorted(system.channels) for system in read_register(document, version=1).systems.values()] == [["amqp", "https"]]


def test_the_environment_of_three_machines_is_read_alike_by_a_shell_and_names_settings_that_exist(tmp_path: Path) -> None:
    page = (ROOT / "docs/three-machines.md").read_text(encoding="utf-8")
    blocks = [
        block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if block.startswith(("KOPPELPUNT_HOME", "KOPPELPUNT_METRICS"))
    ]
    assert len(blocks) == 2
    (tmp_path / "environment").write_text("".join(blocks))
    shown = subprocess.run(["sh", "-c", "set -a; . ./environment; set +a; env -0"], cwd=tmp_path, env={}, capture_output=True, check=True)
    environment = dict(line.split("=", 1) for line in shown.stdout.decode().split("\0") if line)
    settings = Settings.from_environment({name: value for name, value in environment.items() if name not in ("PWD", "_", "SHLVL")})
    assert settings.gateway_host == settings.metrics_host != "127.0.0.1", "where the proxies find them"
    assert settings.gateway_connections_per_address == settings.gateway_connections, "all senders come from the proxy's address"
    assert settings.store.endswith("connect_timeout=3"), "the shell took an & for its own"
    assert settings.gateway_url == "https://koppelpunt.example"
    assert settings.warnings() == []
