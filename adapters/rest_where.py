"""Where a message goes that its system delivers itself: the endpoint of the other school's system, when both are mandated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from aiohttp import web

from adapters.rest_party import Asked, Visits, as_json, wrong
from routing.peers import to_dict, where
from routing.register import Register
from schemas.contract import Contract
from schemas.contracts import Contracts
from schemas.faults import NotAllowed, Refused
from schemas.oin import Oin


class WherePages:
    """`GET /rest/where?dienst=…&versie=…&edu-from=OIN&edu-to=OIN`."""

    def __init__(self, register: Callable[[], Register], visits: Visits, contracts: Contracts, now: Callable[[], datetime]) -> None:
        """`register`: raises StoreUnavailable."""
        self._register, self._visits, self._contracts, self._now = register, visits, contracts, now

    def routes(self) -> Iterable[web.RouteDef]:
        """See `https.Pages`."""
        return (web.get("/rest/where", self._where, allow_head=False),)

    async def _where(self, request: web.Request) -> web.Response:
        async def act(system: Oin) -> web.Response:
            asked = Asked(request, "dienst", "versie", "edu-from", "edu-to")
            contract = self._contract(asked.must("dienst"), asked.must("versie"))
            sender, receiver = (_party(asked, name) for name in ("edu-from", "edu-to"))
            return as_json(await self._visits.aside(lambda: self._answer(contract, system, sender, receiver)))

        return await self._visits.answer(request, act)

    def _contract(self, dienst: str, versie: str) -> Contract:
        """Raises Refused."""
        contract = self._contracts.find(dienst, versie)
        if contract is None:
            raise Refused("UNKNOWN_DIENST", f"there is no dienst {dienst[:40]} {versie[:40]} here", where="dienst")
        if contract.peer_to_peer is None:
            raise wrong(f"{dienst} {versie} does not run between systems: hand it in here", where="dienst")
        return contract

    def _answer(self, contract: Contract, system: Oin, sender: Oin, receiver: Oin) -> dict[str, Any]:
        """Raises NotAllowed for a system that may not act for the sender."""
        found = where(self._register(), contract, system=system, sender=sender, receiver=receiver, now=self._now())
        if found.sender.outcome != "yes":
            code = found.sender.code or "Client.DK0002"
            raise NotAllowed(code, found.sender.text_en, where="edu-from", owner=found.sender.owner)
        return to_dict(contract, found)


def _party(asked: Asked, name: str) -> Oin:
    """Raises Refused."""
    asked.must(name)
    oin = asked.oin(name)
    assert oin is not None
    return oin
