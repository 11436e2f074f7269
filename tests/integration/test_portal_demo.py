"""The demo's accounts: one for each role, each for a party of its chain."""

from __future__ import annotations

import socket
from pathlib import Path

from adapters.parties.demo_accounts import USUAL_PORT, accounts, make, portal_port
from adapters.parties.world import build_world
from broker_config.settings import OUR_TEST_OIN
from routing.people import Role
from tests.support.portal import Portal


def test_everybody_of_the_demo_signs_in_with_what_was_printed_and_sees_a_party_of_its_chain(tmp_path: Path) -> None:
    world = build_world(OUR_TEST_OIN)
    known = {row["oin"] for row in (*world.document["organisations"], *world.document["systems"])}
    with Portal(tmp_path) as portal:
        rows = make(portal.store.people, portal.passwords, accounts(world), now_us=portal.clock.now_us())
        assert {role for row in rows for role in row["role"].split(", ")} == set(Role)
        for row in rows:
            assert row["sees"] == "everything" or set(row["sees"].split(", ")) <= known
            assert f"Aangemeld als {row['name']}" in portal.browser().sign_in(row["name"], row["password"]).text
        again = make(portal.store.people, portal.passwords, accounts(world)[:1], now_us=portal.clock.now_us())
        assert portal.browser().sign_in(rows[0]["name"], rows[0]["password"]).status_code == 403
        assert portal.browser().sign_in(again[0]["name"], again[0]["password"]).status_code == 200


def test_a_demo_beside_another_portal_has_a_port_of_its_own() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", USUAL_PORT))
        except OSError:
            pass  # somebody else has it: all the better
        else:
            taken.listen()
        assert portal_port() != USUAL_PORT
