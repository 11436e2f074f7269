"""Who did it, as the journal has it."""

from __future__ import annotations

import os
import pwd

import pytest

from workers.commands import operator


@pytest.mark.parametrize(
    ("environment", "who"),
    [
        ({"SUDO_USER": "anna", "USER": "root"}, "anna"),
        ({"USER": "bert", "LOGNAME": "b"}, "bert"),
        ({"USER": "", "LOGNAME": "cor"}, "cor"),
        ({"USER": ""}, pwd.getpwuid(os.getuid()).pw_name),
    ],
)
def test_an_operator_has_the_name_that_the_environment_says_or_else_the_system(environment: dict[str, str], who: str) -> None:
    assert operator(environment) == f"operator {who}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)
    assert operator({}) == "operator uid 4000000"
