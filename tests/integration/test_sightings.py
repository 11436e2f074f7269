"""Certificates that systems use are seen where they are used: at a signature, a connection, and a server that we call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from adapters import endpoints
from adapters.crls import FollowingVerifier
from adapters.endpoints import Endpoints
from adapters.https import LIMITS
from adapters.parties.sandbox import Sandbox
from adapters.pki import read_certificate
from adapters.sightings import Sightings
from adapters.store import Store
from broker_config.settings import Settings
from routing.outcome import Asked, Wire
from routing.warning_board import CertificateUse, SeenCertificate
from routing.work import StoreUnavailable
from schemas.oin import Oin
from tests.support import signing as s
from tests.support.store import store as store

HUB, MUNICIPALITY, SYSTEM = Oin("00000003000000000001"), Oin("00000001001234560000"), Oin("00000003272448370000")


def settings() -> Settings:
    ours = s.party("other-hub", oin=HUB)
    values = {"KEY": ours.key, "CERT": ours.certificate, "TRUST": s.folder() / "ca.pem"}
    return Settings.from_environment({f"KOPPELPUNT_{name}": str(value) for name, value in values.items()})


def end_of(certificate: Path) -> int:
    return int(read_certificate(certificate).not_valid_after_utc.timestamp() * 1e6)


def test_a_certificate_is_written_once_for_each_use_however_often_it_signs(store: Store) -> None:
    verifier = FollowingVerifier.for_https(settings(), store.registry, LIMITS, shown=CertificateUse.CLIENT)
    party = s.party("signing-system", oin=SYSTEM)
    for _ in range(3):
        raw = s.signed(by=s.signer("signing-system", oin=SYSTEM), receiver=MUNICIPALITY, message=s.message_id(), created=None)
        verifier.verify(raw, at=datetime.now(UTC))
    der = read_certificate(party.certificate).public_bytes(Encoding.DER)
    verifier.certificate(der, at=datetime.now(UTC))
    verifier.sightings.write_down()
    seen = store.warning_facts.certificates()
    assert [(one.system, one.use, one.until_us) for one in seen] == [
        (SYSTEM, CertificateUse.CLIENT, end_of(party.certificate)),
        (SYSTEM, CertificateUse.SIGNING, end_of(party.certificate)),
    ]
    assert store.registry.saw_certificates(seen) == 0, "they are there"


def test_what_cannot_be_written_now_is_written_the_next_time_and_once() -> None:
    written: list[SeenCertificate] = []
    away = [True]

    def write(rows: Sequence[SeenCertificate]) -> None:
        if away:
            away.pop()
            raise StoreUnavailable("away")
        written.extend(rows)

    party = s.party("signing-system", oin=SYSTEM)
    sightings = Sightings(write)
    der = read_certificate(party.certificate).public_bytes(Encoding.DER)
    for _ in range(2):
        sightings.saw_server(SYSTEM, "host:443", der)
    sightings.write_down()
    assert not written
    sightings.write_down()
    sightings.write_down()
    assert [(one.use, one.place, one.until_us) for one in written] == [(CertificateUse.SERVER, "host:443", end_of(party.certificate))]


@pytest.mark.parametrize("signed", [True, False])
def test_the_certificate_of_a_server_that_answers_in_one_packet_is_seen(signed: bool, store: Store) -> None:
    """It has given its connection back before anybody can ask for it."""
    seen: list[tuple[str, str, bytes]] = []
    files = s.party(f"receiver-{SYSTEM}", oin=SYSTEM)

    async def call() -> None:
        sandbox = Sandbox(MUNICIPALITY, cert=files.certificate, key=files.key, trust=s.folder() / "ca.pem")
        caller = Endpoints(
            endpoints.context_of(settings()),
            FollowingVerifier.for_https(settings(), store.registry, LIMITS),
            allowed=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            answer_s=5.0,
            saw_server=lambda *what: seen.append(what),
        )
        async with asyncio.timeout(30), sandbox as receiver:
            for _ in range(5):
                message = s.message_id()
                raw = s.signed(by=s.signer("other-hub", oin=HUB), receiver=MUNICIPALITY, message=message, created=None)
                asked = Asked(message_id=message, receiver=MUNICIPALITY, system=SYSTEM, signed=signed)
                heard = await caller.offer(receiver.url, raw, action=s.ACTION, asked=asked)
                assert heard.wire is Wire.ANSWERED
            await caller.close()

    asyncio.run(call())
    ours = read_certificate(files.certificate).public_bytes(Encoding.DER)
    assert len(seen) == 5 and {(system, der) for system, _, der in seen} == {(SYSTEM, ours)}
