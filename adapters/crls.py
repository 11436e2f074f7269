"""CRLs: fetched by the timetable, shared through the store, followed by every process that verifies (PKI003, facts 4.2)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
from cryptography import x509

from adapters.reloading import FileStamp, Following, file_stamp
from adapters.sightings import Sightings
from adapters.soap import Limits
from adapters.store.registry import Registry, StoredCrl
from adapters.trust import Revocation, TrustedCertificate, TrustStore, read_crls
from adapters.verify_policy import VerifyPolicy
from adapters.wsse import Verifier
from broker_config.settings import Settings, mask
from routing.warning_board import CertificateUse
from routing.work import StoreUnavailable
from schemas.envelope import Envelope
from schemas.oin import Oin

log = logging.getLogger("koppelpunt.crl")

#: PKIoverheid's guidance: at least every four hours. A source that failed is tried again sooner.
FETCH_EVERY: Final = timedelta(hours=4)
RETRY_AFTER: Final = timedelta(minutes=5)
FETCH_TIMEOUT_S: Final = 30
#: A CRL of a large issuer is some megabytes; more than this is not one.
LARGEST_CRL: Final = 64 * 1024 * 1024
#: How often a verifying process looks whether newer ones were fetched.
LOOK_EVERY_S: Final = 10.0
#: Over AMQP, Created may be this old (design section 3).
AMQP_AGE: Final = timedelta(days=400)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _trust(settings: Settings) -> Following[TrustStore]:
    revocation, files = Revocation.CHAIN if settings.crl else Revocation.NONE, [settings.trust] if settings.trust else []
    return Following("trusted CAs", files, lambda: TrustStore.from_files(files, revocation=revocation))


class CrlFetcher:
    """Fetches each configured source when it is due; one process does it for all."""

    def __init__(self, sources: Sequence[str], registry: Registry, trust: Callable[[], TrustStore]) -> None:
        """`trust` says which CAs a list must be of, now; its own lists are neither used nor changed."""
        self._sources, self._registry, self._trust = tuple(sources), registry, trust
        self._not_before: dict[str, datetime] = {}
        self._seen: dict[str, FileStamp] = {}
        self._taken: dict[str, FileStamp] = {}
        self._asked = False
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings, registry: Registry) -> CrlFetcher:
        """The configured sources. Raises ValueError when the trusted certificates cannot be read."""
        return cls(settings.crl, registry, _trust(settings))

    async def fetch_due(self) -> None:
        """Fetches what is four hours old or was never fetched, and warns when a CRL is past half its life."""
        known = {crl.source: crl for crl in self._registry.crls()}
        now = datetime.now(UTC)
        for source in self._sources:
            crl = known.get(source)
            due = crl is None or _us(now) - crl.fetched_us >= _us_of(FETCH_EVERY)
            if due and self._not_before.get(source, now) <= now:
                await self._fetch(source)
            elif crl is not None and past_half_life(crl, _us(now)):
                log.warning("crl_past_half_life", extra={"source": mask(source), "next_update_us": crl.next_update_us})

    async def fetch_all(self) -> dict[str, str]:
        """Fetches every source now, whatever its age: at start, and after a revocation that must count at once. Returns why not, by
        source, for those that could not be used."""
        found = {source: await self._fetch(source) for source in self._sources}
        return {source: why for source, why in found.items() if why is not None}

    def ask(self) -> None:
        """Whoever looks at the files next fetches everything first (SIGHUP)."""
        self._asked = True

    async def follow(self) -> None:
        """Fetches everything when that was asked for, and a file when another one stands there; not while somebody is writing it, so
        when two looks have seen the same."""
        if self._asked:
            self._asked = False
            await self.fetch_all()
        for source in self._sources:
            if (stamp := None if _is_address(source) else file_stamp(Path(source))) is None:
                continue
            settled, self._seen[source] = self._seen.get(source) == stamp, stamp
            if settled and self._taken.get(source) != stamp:
                self._taken[source] = stamp
                await self._fetch(source)

    async def _fetch(self, source: str) -> str | None:
        """Why it could not be used; None when it was."""
        async with self._turn:  # what was read before is not saved after what was read later
            now = datetime.now(UTC)
            try:
                fresh = self._saved(source, await _read(source), now)
            except (OSError, ValueError, aiohttp.ClientError, TimeoutError) as error:
                self._not_before[source] = now + RETRY_AFTER
                why = f"{type(error).__name__}: {error}"
                log.error("crl_not_fetched", extra={"source": mask(source), "error": why})
                return why
        log.info(
            "crl_fetched",
            extra={"source": mask(source), "next_update": datetime.fromtimestamp(fresh.next_update_us // 1_000_000, UTC).isoformat()},
        )
        return None

    def _saved(self, source: str, data: bytes, now: datetime) -> StoredCrl:
        """Raises ValueError for what cannot be used. Other processes fetch too (the command line, an old leader): what is replaced is
        what it was compared with, and not what they saved in the meantime."""
        while True:
            known = next((crl for crl in self._registry.crls() if crl.source == source), None)
            fresh = self._judged(source, data, known, now)
            if self._registry.save_crl(fresh, known=known):
                return fresh

    def _judged(self, source: str, data: bytes, known: StoredCrl | None, now: datetime) -> StoredCrl:
        """Raises ValueError for what cannot be used."""
        lists = read_crls(data)
        self._require_no_less(lists, known, now)
        ends = [crl.next_update_utc for crl in lists if crl.next_update_utc]
        if not ends:
            raise ValueError("it does not say until when it is good (nextUpdate)")
        return StoredCrl(source, data, _us(min(crl.last_update_utc for crl in lists)), _us(min(ends)), _us(now))

    def _require_no_less(self, lists: Sequence[x509.CertificateRevocationList], known: StoredCrl | None, now: datetime) -> None:
        """Raises ValueError for lists that no CA of ours signed, or that know less than those we have: CRLs come over plain http, so
        whoever sits in between could put back an old one from before a revocation, or anything at all."""
        trust = self._trust()
        fresh = trust.updates(lists)
        if not fresh:
            raise ValueError("no CA that is trusted here signed it")
        if known is None or known.next_update_us < _us(now):
            return
        for ca, since in trust.updates(read_crls(known.pem)).items():
            if ca not in fresh or fresh[ca] < since:
                raise ValueError("it is older, or speaks for fewer CAs, than the one we have")


def _us_of(span: timedelta) -> int:
    return int(span.total_seconds() * 1_000_000)


def past_half_life(crl: StoredCrl, now_us: int) -> bool:
    """Whether a CRL should have been replaced by now: the alarm comes while there is still time."""
    return now_us > crl.this_update_us + (crl.next_update_us - crl.this_update_us) // 2


def standing(registry: Registry, now_us: int) -> list[dict[str, Any]]:
    """How every CRL stands, for people: `current`, `past half life` or `expired`."""

    def state(crl: StoredCrl) -> str:
        return "expired" if crl.next_update_us < now_us else "past half life" if past_half_life(crl, now_us) else "current"

    return [
        {"source": crl.source, "fetched_us": crl.fetched_us, "next_update_us": crl.next_update_us, "state": state(crl)}
        for crl in registry.crls()
    ]


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


async def _read(source: str) -> bytes:
    """A file, or an address: CRLs are signed, so plain http is how their issuers publish them. Redirects are not followed."""
    if not _is_address(source):
        return await asyncio.to_thread(Path(source).read_bytes)
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(source, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"HTTP status {response.status}")
        data = await response.content.read(LARGEST_CRL + 1)
        while len(data) <= LARGEST_CRL and (more := await response.content.read(LARGEST_CRL + 1 - len(data))):
            data += more
        if len(data) > LARGEST_CRL:
            raise ValueError(f"more than {LARGEST_CRL} bytes")
        return data


class FollowingVerifier:
    """A verifier whose CRLs are those in the store, and whose CAs those in their file, looked at every few seconds."""

    def __init__(
        self,
        trust: Callable[[], TrustStore],
        policy: VerifyPolicy,
        registry: Registry,
        *,
        waits: bool = True,
        shown: CertificateUse | None = None,
    ) -> None:
        """`waits`: whoever asks may wait for the store. Otherwise somebody else calls `refresh`, from a thread. `shown`: for what systems
        use the certificates that `certificate` is asked about."""
        self._source, self._policy, self._registry, self._waits, self._shown = trust, policy, registry, waits, shown
        self.sightings = Sightings(registry.saw_certificates)
        self._trust = self._noticed = trust()
        self._verifier = self._made(self._trust)
        self._stamp = ""
        self._look_at = 0.0

    @classmethod
    def for_amqp(cls, settings: Settings, registry: Registry) -> FollowingVerifier:
        """As hand-ins over AMQP are judged. Raises ValueError when the trusted certificates cannot be read."""
        return cls(_trust(settings), VerifyPolicy(skew=timedelta(seconds=settings.skew_s), any_age=AMQP_AGE), registry)

    @classmethod
    def for_https(
        cls, settings: Settings, registry: Registry, limits: Limits, *, waits: bool = True, shown: CertificateUse | None = None
    ) -> FollowingVerifier:
        """As hand-ins over HTTPS are judged: their sender waits for the answer, so the Timestamp must be good now (facts 3.5)."""
        policy = VerifyPolicy(skew=timedelta(seconds=settings.skew_s), limits=limits)
        return cls(_trust(settings), policy, registry, waits=waits, shown=shown)

    def _made(self, trust: TrustStore) -> Verifier:
        return Verifier(trust, self._policy, noted=partial(self.sightings.saw, CertificateUse.SIGNING))

    def verify(self, raw: bytes, *, at: datetime, connected: Oin | None = None) -> Envelope:
        """As `wsse.Verifier.verify`, with the newest CRLs. While the store is away, those we have go on being used until they expire."""
        if self._waits:
            self.refresh()
        return self._verifier.verify(raw, at=at, connected=connected)

    def certificate(self, der: bytes, *, at: datetime) -> TrustedCertificate:
        """As `TrustStore.check`, with the newest CRLs."""
        if self._waits:
            self.refresh()
        found = self._trust.check(der, at=at)
        if self._shown is not None:
            self.sightings.saw(self._shown, found)
        return found

    def refresh(self) -> None:
        """Looks for newer CRLs and CAs, when it is time to, and writes down which certificates were seen; while the store is away this
        may take seconds."""
        trust = self._source()
        if trust is not self._noticed:  # other CAs count at once
            self._noticed, self._look_at = trust, 0.0
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_EVERY_S
            self.sightings.write_down()
            try:
                stamp = self._registry.crl_stamp()
                if stamp != self._stamp or trust is not self._trust:
                    trust.replace_crls([crl for stored in self._registry.crls() for crl in read_crls(stored.pem)])
                    self._stamp = stamp
                if trust is not self._trust:  # not before it has its CRLs: until then the one before it judges
                    self._trust, self._verifier = trust, self._made(trust)
            except StoreUnavailable:
                self._look_at = time.monotonic() + 1.0
