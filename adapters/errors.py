"""Every error a user can meet, as one sentence that says what to do."""

from __future__ import annotations

import sys
from typing import Final

#: Exceptions whose text already is such a sentence; by name, so that nothing is imported for a command that cannot raise them.
_SENTENCES: Final = (
    ("schemas.faults", "Fault"),
    ("schemas.contracts", "ContractError"),
    ("broker_config.settings", "SettingsError"),
    ("broker_config.node", "NodeError"),
    ("adapters.vault", "VaultError"),
    ("adapters.rabbit_admin", "AdminError"),
    ("routing.register", "RegisterError"),
    ("routing.register_wishes", "RuleBroken"),
    ("routing.register_files", "FileError"),
    ("routing.people", "AccountError"),
    ("routing.work", "StoreUnavailable"),
    ("routing.ports", "BrokerUnavailable"),
    ("adapters.pki", "PkiError"),
    ("adapters.trust", "TrustError"),
    ("adapters.wsse_cli", "UsageError"),
    ("workers.commands", "WrongArgument"),
    ("broker_config.install", "NotInstalled"),
    ("adapters.store.repair", "CannotRetry"),
    ("routing.actions", "CannotAct"),
    ("routing.board", "BoardError"),
    ("workers.lane_commands", "NoSuchLane"),
    ("routing.rollover", "CannotRollOver"),
    ("workers.alert_commands", "WrongContact"),
    ("routing.alerts", "CannotAcknowledge"),
)


class UsageError(Exception):
    """The command cannot do this; its text says what to do instead."""


def in_one_sentence(error: BaseException) -> str | None:
    """What to print for this error; None when it is a defect of ours, which deserves its traceback."""
    known = tuple(getattr(sys.modules[module], name) for module, name in _SENTENCES if hasattr(sys.modules.get(module), name))
    if isinstance(error, (UsageError, *known)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    return None
