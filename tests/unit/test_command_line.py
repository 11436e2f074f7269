"""The command line's table: everything it names is there."""

from __future__ import annotations

import argparse
import inspect
from importlib import import_module

import pytest

import run


def test_every_command_in_the_table_is_wired_and_no_other() -> None:
    assert list(run.COMMANDS) == list(run.commands())


@pytest.mark.parametrize("command", run.COMMANDS)
def test_every_command_has_options_and_something_that_runs(command: str) -> None:
    options, act = run.commands()[command]
    options(argparse.ArgumentParser())
    assert all(callable(getattr(import_module(module), name)) for module, name in _named(act)), command


def test_every_part_that_a_command_is_given_is_one_of_those_that_are_here() -> None:
    asked = {text.partition(".")[0] for _, act in run.commands().values() for text in _strings(act) if ":" not in text}
    assert asked <= {name for name, _ in inspect.getmembers(run.Here)}


@pytest.mark.parametrize("worker", run.workers())
def test_every_worker_in_the_table_names_what_it_runs(worker: str) -> None:
    assert all(callable(getattr(import_module(module), name)) for module, name in _named(run.workers()[worker]))


def _named(act: object) -> list[list[str]]:
    """Module and name of the functions that something is wired with."""
    return [text.split(":") for text in _strings(act) if ":" in text]


def _strings(act: object) -> list[str]:
    """What its closure holds, through what it calls."""
    found: list[str] = []
    for cell in getattr(act, "__closure__", None) or ():
        for value in _flat(cell.cell_contents):
            found += [value] if isinstance(value, str) else _strings(value)
    return found


def _flat(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, tuple) else [value]
