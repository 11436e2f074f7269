"""Everything the gateway answers: hand-ins, what a party asks over REST, the register's API, and our certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from adapters.answers import Answers
from adapters.assembly import Assembly
from adapters.certificate_pages import CertificatePages
from adapters.connections import Connections
from adapters.credentials import Credentials, FollowingContext, FollowingSigner
from adapters.https import Certificates, Door, GatewayServer, Pages
from adapters.openapi import OpenApiPages, description
from adapters.osr import OsrPages
from adapters.osr_openapi import OsrOpenApiPages
from adapters.osr_openapi import description as osr_description
from adapters.reloading import Following
from adapters.rest import RestPages
from adapters.rest_explain import ExplainPages
from adapters.rest_mailbox import MailboxPages
from adapters.rest_party import Visits
from adapters.rest_status import StatusPages
from adapters.rest_where import WherePages
from adapters.snapshot_http import SnapshotPages
from adapters.wus import WusPages
from routing.amsterdam import amsterdam_day
from routing.ports import Counter, Postbox, RegisterDesk
from routing.register import Register
from schemas.oin import Oin


class Working(Protocol):
    """The worker whose gateway this is."""

    @property
    def stopping(self) -> bool: ...

    @property
    def pause(self) -> Callable[[float], Awaitable[None]]:
        """Sleeps so many seconds, and not through a stop."""


def server(
    its: Assembly,
    credentials: Following[Credentials],
    certificates: Certificates,
    worker: Working,
    register: Callable[[], Register],
    counter: Counter,
    postbox: Postbox,
    desk: RegisterDesk,
) -> GatewayServer:
    """The server with all of its pages; it is ready when it has its port."""
    settings, store, contracts = its.settings, its.store, its.contracts
    door = Door(counter, certificates)
    answers = Answers(FollowingSigner(lambda: credentials().signer), Oin(settings.own_oins[0]))
    # the register's own visits: a large register is read in other threads than mailboxes are
    visits, visits_of_register = (Visits(door, worker.pause, lambda: worker.stopping) for _ in range(2))
    pages: list[Pages] = [
        WusPages(counter, door, contracts, answers, url=settings.gateway_address),
        RestPages(counter, door, contracts),
        OpenApiPages(description(contracts, url=settings.gateway_address)),
        StatusPages(store.enquiries, visits),
        MailboxPages(postbox, visits),
        ExplainPages(register, visits, lambda: amsterdam_day(its.now())),
        WherePages(register, visits, contracts, its.now),
        SnapshotPages(store.snapshots, visits, settings.followers),
        OsrPages(desk, door, visits_of_register, settings.register_reads),
        OsrOpenApiPages(osr_description(url=settings.gateway_address)),
        CertificatePages(credentials, store.certificates.read),
    ]
    made = GatewayServer(
        pages,
        context=FollowingContext(lambda: credentials().context),
        connections=Connections(settings.gateway_connections, settings.gateway_connections_per_address),
        observe=its.operations.requests,
    )
    its.operations.checks["port"] = lambda: None if made.port else f"port {settings.gateway_port} cannot be had"
    return made
