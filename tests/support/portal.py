"""The portal on a store of its own: accounts of every role, and browsers that sign in."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import requests

from adapters.connections import Connections
from adapters.passwords import Passwords
from adapters.portal_keys import PortalKeys
from adapters.store import Store, open_store
from adapters.store.contents import Contents
from adapters.vault import Vault
from portal.server import PortalServer
from portal.shell import Ports, Shell
from routing.people import Account, IdentityProvider, Role, digest_of, new_account, new_secret, new_token
from tests.support.broker import free_port
from tests.support.exchange import LAS, MBO, SCHOOL
from tests.support.store import fresh_url
from workers.clock import Clock
from workers.contents import Opener
from workers.loop import Worker

PASSWORD = "correct horse battery staple"
#: One account for each role, and what those see that do not see everything.
ROLES: Mapping[Role, Mapping[str, Iterable[str]]] = {
    Role.CHAIN_MANAGER: {},
    Role.OPERATOR: {},
    Role.PARTNER: {"systems": (LAS,)},
    Role.SCHOOL: {"organisations": (SCHOOL,)},
    Role.AUDITOR: {},
    Role.READER: {},
}
#: Another partner, which sees nothing of theirs.
STRANGER = {"organisations": (MBO,)}
MASTER_KEY = bytes(range(32))


@cache
def _hashed(password: str) -> str:
    """Made once: it is slow on purpose."""
    return Passwords(PortalKeys.of(MASTER_KEY)).hash(password)


class AheadClock(Clock):
    """The time now, and as much later as a test says."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class Browser(requests.Session):
    """A browser, as far as forms and cookies go. Redirects are followed within the portal."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def request(self, method: str, url: str, *args: Any, **named: Any) -> requests.Response:  # type: ignore[override]
        """`url`: a path of the portal, or a whole address."""
        named.setdefault("timeout", 30)
        return super().request(method, self.url + url if url.startswith("/") else url, *args, **named)

    def csrf(self, path: str = "/") -> str:
        """The token that the forms of a page carry."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)
        assert found, f"no form on {path}"
        return found.group(1)

    def submit(self, path: str, *, page: str | None = None, **fields: str) -> requests.Response:
        """Sends a form, with the token of the page that it stands on."""
        return self.post(path, data={"csrf": self.csrf(page or path), **fields})

    def sign_in(self, name: str, password: str = PASSWORD, code: str = "", to: str = "") -> requests.Response:
        """By the sign-in page."""
        return self.submit("/inloggen", name=name, password=password, code=code, naar=to)


class Portal:
    """Use as `with`. Runs on a thread of this process, on a free port."""

    def __init__(
        self,
        folder: Path,
        *,
        store: Store | None = None,
        provider: Callable[[str], IdentityProvider] | None = None,
        ports: Mapping[str, Any] | None = None,
        **shell: Any,
    ) -> None:
        """`store`: one that is there already. `provider`: makes the identity provider, given the portal's address. `ports`: more of
        them, or others. `shell`: as `portal.shell.Shell`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._own = store is None
        self.store = store or open_store(fresh_url("sqlite", folder))
        self.clock, self.passwords = AheadClock(), Passwords(PortalKeys.of(MASTER_KEY))
        self.worker = Worker("portal", self.store.registry, self.clock)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        made = provider(self.url) if provider else None
        self.ports = Ports(
            **{
                "people": self.store.people,
                "passwords": self.passwords,
                "clock": self.clock,
                "worker": self.worker,
                "provider": made,
                **(ports or {}),
            }
        )
        self.shell = Shell(ports=self.ports, **shell)
        self.server = PortalServer(self.shell, host="localhost", port=self.port, connections=Connections())
        self.opener: Opener | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="portal", daemon=True)
        self._running: Future[None] | None = None

    def __enter__(self) -> Portal:
        self._thread.start()
        self._running = asyncio.run_coroutine_threadsafe(self._run(), self._loop)
        asyncio.run_coroutine_threadsafe(self._listening(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._running is not None
        self._loop.call_soon_threadsafe(self.worker.stop)
        self._running.result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
        if self._own:
            self.store.close()

    async def _run(self) -> None:
        """The server and, if there is one, the process beside it that has the master key, until the worker stops."""
        await asyncio.gather(self.server.run(), *([self.opener.run()] if self.opener else []))

    def opens_content(self, vault: Vault) -> None:
        """From its start on, what is asked for is opened."""
        self.opener = Opener(self.worker, Contents(self.store.database, vault), self.store.people, self.store.board, self.clock)

    async def _listening(self) -> None:
        while not self.server.port:
            await asyncio.sleep(0.01)

    def account(self, name: str, *roles: str, password: str = PASSWORD, **more: Any) -> Account:
        """A local account; without a second factor."""
        own = {key: more.pop(key) for key in ("organisations", "systems", "email") if key in more}
        made = new_account(name, roles, **own)
        hashed, now_us = _hashed(password), self.clock.now_us()
        self.store.people.add(
            made,
            password=hashed,
            one_time=more.pop("one_time", False),
            totp=more.pop("totp", None),
            who="test",
            now_us=now_us,
            until_us=more.pop("until_us", None),
        )
        assert not more
        return made

    def accounts(self) -> dict[Role, Account]:
        """One for each role, called as the role."""
        return {role: self.account(role.value, role.value, **own) for role, own in ROLES.items()}

    def browser(self) -> Browser:
        """One that nobody signed in with yet."""
        return Browser(self.url)

    def signed_in(self, name: str) -> Browser:
        """A browser with a session of this account, without the work that a password is."""
        browser, secret = self.browser(), new_secret()
        self.store.people.open_session(digest_of(secret), name, now_us=self.clock.now_us())
        browser.cookies.set("koppelpunt", secret, domain="localhost.local", path="/")
        return browser

    def token(self, name: str, *, days: int = 30) -> str:
        """An API token of this account."""
        made, now_us = new_token(), self.clock.now_us()
        self.store.people.add_token(digest_of(made), name, "test", until_us=now_us + days * 86_400_000_000, who="test", now_us=now_us)
        return made
