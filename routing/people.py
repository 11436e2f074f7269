"""Who may look at the board: the scope that every query takes. (Roles and accounts: the portal's part of this module.)"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.oin import Oin


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an account may see. Every query takes one and applies it in SQL; the empty one shows nothing."""

    everything: bool = False
    organisations: frozenset[Oin] = frozenset()  #: schools, municipalities: what they sent or were to receive
    systems: frozenset[Oin] = frozenset()  #: a supplier's systems: what came through them, either way
