"""Our certificates while the next one takes over: who was told, who registered it, and which one we use towards whom.

The next certificate is published well ahead, so that every receiver that registers certificates can register both. Then each is switched
on its own, and back when it turns out not to be ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

#: How long ahead the next certificate is published.
AHEAD: Final = timedelta(days=60)


class CannotRollOver(Exception):
    """This cannot be done now; the text is one sentence that says why, and what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextCertificate:
    """The certificate that is to take over. Its key stays in its file, on every machine that signs."""

    pem: str
    sha256: str  #: hex fingerprint
    cert: str  #: file, as every process finds it
    key: str
    not_before_us: int
    from_us: int  #: from when it is meant to be used
    published_us: int
    published_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far one receiving system is."""

    confirmed_us: int | None = None  #: when it was noted that it registered the next certificate
    confirmed_by: str | None = None  #: who there said so
    switched_us: int | None = None  #: since when we use it there; None: we do not


@dataclass(frozen=True, slots=True, kw_only=True)
class RollOver:
    """Where we are. Empty: there is no next certificate."""

    next: NextCertificate | None = None
    parties: Mapping[str, Standing] = field(default_factory=dict)  #: by the system's OIN

    def uses_next(self, system: str | None, created: datetime) -> bool:
        """Whether an envelope for this system is signed with the next certificate. Not when it says that it was created before that one
        was valid: receivers verify at that moment."""
        if self.next is None or system is None or created.timestamp() * 1e6 < self.next.not_before_us:
            return False
        return self.parties.get(system, Standing()).switched_us is not None

    def published(self, fresh: NextCertificate, *, current: str, at_short_notice: bool = False) -> RollOver:
        """With this certificate as the next; `current`: the fingerprint of the one in use. Raises CannotRollOver."""
        if self.next is not None:
            raise CannotRollOver("There is a next certificate already; `certificate withdraw` takes it back.")
        if fresh.sha256 == current:
            raise CannotRollOver("That is the certificate in use: give the one that is to follow it.")
        if fresh.from_us < fresh.not_before_us:
            raise CannotRollOver("It is not valid on that day yet: choose a later one.")
        if fresh.from_us - fresh.published_us < AHEAD / timedelta(microseconds=1) and not at_short_notice:
            raise CannotRollOver(
                f"Receivers get {AHEAD.days} days to register it: choose a later day, or say --short-notice when it cannot wait."
            )
        return RollOver(next=fresh)

    def withdrawn(self, *, current: str) -> RollOver:
        """Without a next certificate: it is the one in use everywhere now, or nobody was switched. Raises CannotRollOver."""
        switched = [oin for oin, standing in self.parties.items() if standing.switched_us is not None]
        if self._there().sha256 != current and switched:
            raise CannotRollOver(f"{len(switched)} receivers were switched to it; switch them back first, or make it KOPPELPUNT_CERT.")
        return RollOver()

    def confirmed(self, oin: str, *, by: str, now_us: int) -> RollOver:
        """This system's people say that they registered it. Raises CannotRollOver."""
        self._there()
        return self._with({oin: replace(self._standing(oin), confirmed_us=now_us, confirmed_by=by)})

    def switched(self, oins: Collection[str], *, now_us: int, unconfirmed: bool = False) -> RollOver:
        """From now on the next certificate is used towards these. Raises CannotRollOver when it is not valid yet, or one of them has not
        confirmed it, unless told that this does not matter."""
        if now_us < self._there().not_before_us:
            raise CannotRollOver("The next certificate is not valid yet.")
        waiting = sorted(oin for oin in oins if self._standing(oin).confirmed_us is None)
        if waiting and not unconfirmed:
            raise CannotRollOver(
                f"{', '.join(waiting[:5])}{' and others' if len(waiting) > 5 else ''} did not confirm registering it; note it with "
                "`certificate confirm`, or say --unconfirmed."
            )
        return self._with({oin: replace(self._standing(oin), switched_us=now_us) for oin in oins})

    def back(self, oins: Iterable[str]) -> RollOver:
        """The certificate in use before is used towards these again. Raises CannotRollOver."""
        self._there()
        return self._with({oin: replace(self._standing(oin), switched_us=None) for oin in oins})

    def _there(self) -> NextCertificate:
        if self.next is None:
            raise CannotRollOver("There is no next certificate; publish one with `certificate next`.")
        return self.next

    def _standing(self, oin: str) -> Standing:
        return self.parties.get(oin, Standing())

    def _with(self, changed: Mapping[str, Standing]) -> RollOver:
        return replace(self, parties={**self.parties, **changed})

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RollOver:
        """The reverse."""
        fresh = found.get("next")
        return cls(
            next=NextCertificate(**fresh) if fresh else None,
            parties={oin: Standing(**standing) for oin, standing in found.get("parties", {}).items()},
        )
