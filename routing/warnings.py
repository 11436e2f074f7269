"""What will break unless somebody acts, as a value: who is warned of what, whose turn it is, and how long there is left.

How warnings are found: `routing.warning_rules`, pure. Where they are kept: `routing.warning_board`. None holds anything of a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from schemas.faults import Owner
from schemas.oin import Oin

#: Days before something ends on which its people are warned.
HORIZONS: Final = (60, 30, 7)


class WarningKind(StrEnum):
    """What a warning is about."""

    CERTIFICATE_ENDS = "certificate-ends"  #: ours, or one that a system signs or connects with, or shows us as a server
    MANDATE_ENDS = "mandate-ends"  #: and nobody has one from the next day on
    ENDPOINT_ENDS = "endpoint-ends"  #: and nobody receives from the next day on
    MANDATE_BEGINS = "mandate-begins"  #: in future; says whether its system has an endpoint for that day
    ENDPOINT_BEGINS = "endpoint-begins"  #: in future, and not at the place where it is received the day before
    MAIL_CHANGES_HANDS = "mail-changes-hands"  #: open messages for a receiver that is another system's, or nobody's, within a week
    ENDPOINT_UNREACHABLE = "endpoint-unreachable"  #: for a day or longer
    SCHOOL_SILENT = "school-silent"  #: handed in nothing for a week, while most with the same dienst and system did


@dataclass(frozen=True, slots=True, kw_only=True)
class Warning:
    """One thing that somebody must do, or know. While it lasts it has the same `key`; the rest may change from look to look."""

    key: str  #: kind, and what it is about
    kind: WarningKind
    nl: str
    en: str
    owner: Owner  #: whose turn it is
    organisation: Oin | None  #: the school, municipality or other party that it is about; with `system`: who is to see it
    system: Oin | None  #: certificate OIN of the system that it is about; both None: it is ours
    day: date | None  #: Amsterdam day: the last one of what ends, the first one of what begins; of what is amiss already: since when
    within: int | None = None  #: of what ends: the smallest of `HORIZONS` that it falls within; alerts go out when this changes

    def days_left(self, today: date) -> int | None:
        """Until `day`; 0 on the day itself, negative when it is over. None where no day is named."""
        return None if self.day is None else (self.day - today).days


def horizon(day: date, today: date, horizons: Sequence[int] = HORIZONS) -> int | None:
    """The smallest of these that a last day falls within; None: it is further away."""
    left = (day - today).days
    return min((days for days in horizons if left < days), default=None)
