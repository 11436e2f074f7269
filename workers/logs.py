"""Log lines as a vocabulary: one event name, its facts as key=value, the message's id and never its content."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

from schemas.privacy import plain, redact

_STANDARD: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """`2026-02-01T10:00:00Z WARNING koppelpunt.relay tickets_not_taken queue="route"`; personal numbers masked whatever was logged."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{k}={json.dumps(v, default=str, ensure_ascii=False)}" for k, v in record.__dict__.items() if k not in _STANDARD)
        line = f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S%z')} {record.levelname} {record.name} {record.getMessage()} {facts}".rstrip()
        line = plain(line)
        if record.exc_info:
            line += "\n" + "\n".join(map(plain, self.formatException(record.exc_info).split("\n")))
        return redact(line)


def configure(level: str) -> None:
    """Logs to stderr, ours from `level` on, libraries' from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("koppelpunt").setLevel(level)
    # it warns whenever a job takes longer than its interval; the job comes again, and a job that fails is logged by us
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
