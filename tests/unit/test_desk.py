"""What the desk adds to a receipt."""

from __future__ import annotations

from routing.register import read_register
from schemas.contracts import load_contracts
from schemas.oin import Oin
from tests.support.exchange import GANGER, HUB, PROEF
from workers.desk import unknown_receiver


def test_only_of_a_receiver_that_the_sender_chose_itself_is_said_that_the_register_does_not_have_it() -> None:
    nobody, contracts = read_register({}, version=1), load_contracts()
    assert len(unknown_receiver(contracts.kind(PROEF), Oin("0000000700004XY00000"), nobody)) == 1
    assert unknown_receiver(contracts.kind(GANGER), HUB, nobody) == ()  # addressed to the backbone, which chooses
