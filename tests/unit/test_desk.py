"""What the desk adds to a receipt, and what it notes of a message."""

from __future__ import annotations

from datetime import date

import pytest

from adapters import soap
from routing.register import read_register
from schemas.contracts import load_contracts
from schemas.envelope import Envelope
from schemas.ids import new_id
from schemas.oin import Oin
from tests.support import content
from tests.support.exchange import GANGER, HUB, PROEF
from tests.support.store import VAULT
from workers.desk import as_message, unknown_receiver


def test_only_of_a_receiver_that_the_sender_chose_itself_is_said_that_the_register_does_not_have_it() -> None:
    nobody, contracts = read_register({}, version=1), load_contracts()
    assert len(unknown_receiver(contracts.kind(PROEF), Oin("0000000700004XY00000"), nobody)) == 1
    assert unknown_receiver(contracts.kind(GANGER), HUB, nobody) == ()  # addressed to the backbone, which chooses


@pytest.mark.parametrize(("status", "noted"), [("AO", True), ("OA", False)])
def test_of_an_application_alone_the_day_by_which_the_law_counts_it_is_noted_beside_its_sealed_content(status: str, noted: bool) -> None:
    raw = content.status(status=status, volgnummer=2, statusdatum="2026-03-20")
    envelope = Envelope(
        message_id="urn:uuid:1",
        sender=content.MBO,
        receiver=content.HUB,
        to="hub",
        action=content.STATUS,
        created=content.NOW,
        expires=None,
        certificate_oin=content.MBO,
        certificate_sha256="",
        signed=(),
        signature_value="",
        content=soap.parse(raw),
        xml=raw,
    )
    message = as_message(
        envelope,
        content.read(raw, content.STATUS),
        reference=new_id(),
        system=content.MBO,
        register=read_register({}, version=1),
        vault=VAULT,
        via="https",
        at=content.NOW,
        decisions=(),
    )
    assert message.law_day == ((date(2026, 3, 20) - date(1970, 1, 1)).days if noted else None)
