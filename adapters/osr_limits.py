"""How often one certificate may read endpoints: the register is not to be copied through its API (domain facts 1.3)."""

from __future__ import annotations

from adapters.osr_problem import Wrong
from routing import rate
from schemas.oin import Oin


class Rate(rate.Rate[Oin]):
    """So many a minute for each system, and what it hears that asks more."""

    def check(self, system: Oin, count: int = 1) -> None:
        """Raises Wrong (429) when it may not."""
        wait_s = self.take(system, count)
        if wait_s:
            raise Wrong(
                429,
                "REGISTER_TOO_OFTEN",
                "Too Many Requests",
                en=f"this may be asked {self.per_minute:,} times a minute here; keep answers, and come again in {wait_s} s",
                nl=f"Systeem {system} vraagt dit te vaak; bewaar antwoorden en kom over {wait_s} s terug.",
                retry_after=wait_s,
            )
