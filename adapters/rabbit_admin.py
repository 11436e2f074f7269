"""RabbitMQ's management interface: reading and applying the topology, shutting out and removing a party, depths of queues."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

import aiohttp

from broker_config.settings import mask
from broker_config.topology import (
    RECEIVER_QUEUES,
    SENDER_QUEUES,
    VHOST,
    Definitions,
    departed,
    difference,
    immovable,
    left_behind,
    missing,
    queue,
    renewable,
)

#: Longest wait for one answer. Declaring a thousand quorum queues in one request takes a minute.
_TIMEOUT_S: Final = 300.0
_CONNECT_S: Final = 10.0
#: RabbitMQ 3.10 writes the directory of its quorum queues some 0.7 s after it was changed. A node that is killed before that comes
#: back with a queue that never elects a leader, so nothing is put into new queues before this time has passed.
_SETTLE_S: Final = 2.0
#: How often a fresh node is asked again: it answers 503 or refuses while its definitions are being imported.
_PATIENCE_S: Final = 10.0
#: Longest wait until a party whose connections were closed is gone; and how long workers then have to take what is left in its queue.
_CUT_OFF_S: Final = 5.0
_DRAIN_S: Final = 1.0
#: RabbitMQ 3.10 tells consumers that their queue was deleted a moment later, and not at all (measured) when a queue of the same name is
#: there again by then: they would wait for ever for messages that another gets.
_FORGOTTEN_S: Final = 2.0

_KINDS: Final = ("users", "permissions", "topic_permissions", "vhosts", "exchanges", "queues", "bindings", "policies")


class AdminError(Exception):
    """The management interface cannot be used, or refuses; the text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What stands in a queue, as RabbitMQ last counted it: at most some five seconds ago."""

    ready: int
    unacknowledged: int
    consumers: int

    @property
    def messages(self) -> int:
        """All that are in the queue, handed out or not."""
        return self.ready + self.unacknowledged


class BrokerAdmin:
    """One broker's management interface, for one vhost. Use as `async with BrokerAdmin(url) as admin`."""

    def __init__(self, url: str, *, vhost: str = VHOST, settle_s: float = _SETTLE_S) -> None:
        """`url` holds user and password: `http://beheer:secret@127.0.0.1:15672`; `settle_s` is waited after new queues were declared."""
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/api/"
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self._headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        self._shown = mask(url)
        self._vhost = vhost
        self._settle_s = settle_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S, connect=_CONNECT_S)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self) -> Definitions:
        """What the broker looks like now: all users, and everything in our vhost, in the form of its definitions."""
        found: Definitions = await self._call("GET", "definitions")
        actual: Definitions = {kind: [dict(item) for item in found.get(kind, ())] for kind in _KINDS}
        for kind in set(_KINDS) - {"users", "vhosts"}:
            actual[kind] = [item for item in actual[kind] if item["vhost"] == self._vhost]
        for user in actual["users"]:
            user.setdefault("limits", {})
            if isinstance(user["tags"], str):  # before 3.9
                user["tags"] = [tag for tag in user["tags"].split(",") if tag]
        for exchange in actual["exchanges"]:
            exchange.setdefault("internal", False)  # 4.3 names it only when it is so
        if any(vhost["name"] == self._vhost for vhost in actual["vhosts"]):
            rows = await self._call("GET", f"queues/{self._v}?columns=name,policy&disable_stats=true&enable_queue_totals=true")
            policies = {row["name"]: row.get("policy") for row in rows}
            for item in actual["queues"]:
                item["policy"] = policies.get(item["name"])
        return actual

    async def check(self, wanted: Definitions) -> list[str]:
        """One sentence for each way in which the broker is not as wanted."""
        return difference(wanted, await self.read())

    async def apply(self, wanted: Definitions) -> Definitions:
        """Makes the broker as wanted, and returns what was added or changed. Applying twice does nothing. Deletes nothing, except
        hand-in queues of an earlier version, which are replaced while they are empty; those that are not stay, and `check` says so.

        Raises AdminError, before anything is changed, when something exists that RabbitMQ cannot change.
        """
        actual = await self.read()
        if obstacles := immovable(wanted, actual):
            raise AdminError(" ".join(obstacles))
        lacking, old = missing(wanted, actual), renewable(wanted, actual)
        lacking["queues"] = [item for item in lacking.get("queues", ()) if item["name"] not in old]
        lacking = {kind: items for kind, items in lacking.items() if items}
        if lacking:
            await self._call("POST", "definitions", lacking)
        renewed = await self._renew(wanted, old) if old else []
        if renewed:
            lacking["queues"] = lacking.get("queues", []) + [item for item in wanted["queues"] if item["name"] in renewed]
        if "queues" in lacking:
            await asyncio.sleep(self._settle_s)
        return lacking

    async def _renew(self, wanted: Definitions, names: list[str]) -> list[str]:
        """Replaces those of these hand-in queues that are empty; returns which. No hand-in that was confirmed is lost.

        Quorum queues cannot be deleted "if empty", so their parties are kept out meanwhile, for some four seconds: what they
        publish while their connections go gets no confirm, and after that they can connect only when the new queue is there. What
        a worker of ours holds from the old queue it stores and answers all the same. Interrupted half-way, the next `apply` ends it.
        """
        depths = await self.depths()
        idle = [name for name in names if name not in depths or not depths[name].messages]  # counts are seconds old: a first sieve
        users = {name: name.partition(".")[2] for name in idle}
        renewed: list[str] = []
        try:
            for user in users.values():
                await self._call("DELETE", f"permissions/{self._v}/{quote(user, safe='')}", absent_is_fine=True)
            gone = [name for name, user in users.items() if await self._is_cut_off(user)]
            if gone:
                await asyncio.sleep(_DRAIN_S)
            for name in gone:
                if await self._is_empty(name):
                    await self._call("DELETE", f"queues/{self._v}/{quote(name, safe='')}", absent_is_fine=True)
                    renewed.append(name)
            if renewed:
                await asyncio.sleep(_FORGOTTEN_S)
        finally:
            again = {
                "permissions": [item for item in wanted["permissions"] if item["user"] in users.values()],
                "queues": [item for item in wanted["queues"] if item["name"] in renewed],
                "bindings": [item for item in wanted["bindings"] if item["destination"] in renewed],
            }
            if idle:
                await self._call("POST", "definitions", again)
        return renewed

    async def _is_cut_off(self, user: str) -> bool:
        """Closes this user's connections; whether all of them have gone in time."""
        path = f"connections/username/{quote(user, safe='')}"
        until = asyncio.get_running_loop().time() + _CUT_OFF_S
        while any(row.get("vhost") == self._vhost for row in await self._call("GET", path, absent_is_fine=True) or ()):
            if asyncio.get_running_loop().time() > until:
                return False
            await self._call("DELETE", path, absent_is_fine=True)
            await asyncio.sleep(0.05)
        return True

    async def _is_empty(self, name: str) -> bool:
        """Whether nothing is ready in the queue. Asks the queue itself: one message is taken and put back, a moment after the answer,
        so that a second question right behind it might not see it."""
        question = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "base64", "truncate": 1}
        return not await self._call("POST", f"queues/{self._v}/{quote(name, safe='')}/get", question)

    async def shut_out(self, wanted: Definitions) -> tuple[list[str], list[str]]:
        """Takes every right in our vhost from parties that are not wanted any more, and ends their connections. Their queues stay.
        Returns who they are, and all parties of which queues are left.

        A user that has rights in somebody else's vhost as well stays a user there.
        """
        actual = await self.read()
        gone = departed(wanted, actual)
        for oin in gone:
            user = quote(oin, safe="")
            held = await self._call("GET", f"users/{user}/permissions", absent_is_fine=True) or ()
            await self._call("DELETE", f"topic-permissions/{self._v}/{user}", absent_is_fine=True)
            await self._call("DELETE", f"permissions/{self._v}/{user}", absent_is_fine=True)
            if all(right["vhost"] == self._vhost for right in held):
                await self._call("DELETE", f"users/{user}", absent_is_fine=True)  # which ends its connections
            else:
                await self._disconnect(oin)
        return gone, left_behind(wanted, actual)

    async def _disconnect(self, oin: str) -> None:
        for found in await self._call("GET", f"vhosts/{self._v}/connections?columns=name,user"):
            if found.get("user") == oin:
                await self._call("DELETE", f"connections/{quote(found['name'], safe='')}", absent_is_fine=True)

    async def remove_party(self, oin: str, *, even_with_messages: bool = False) -> None:
        """Ends a party: its user and open connections first, then its queues. Does nothing for a party that is not there.

        Raises AdminError, with the queues kept, while messages stand in them, unless `even_with_messages`.
        """
        await self._call("DELETE", f"users/{quote(oin, safe='')}", absent_is_fine=True)
        there = await self.depths()
        names = [name for kind in SENDER_QUEUES + RECEIVER_QUEUES if (name := queue(kind, oin)) in there]
        full = [name for name in names if there[name].ready or there[name].unacknowledged]
        if full and not even_with_messages:
            raise AdminError(f"The user {oin} is removed, but messages stand in {' and '.join(full)}: let them be handled, then try again.")
        for name in names:
            await self._call("DELETE", f"queues/{self._v}/{quote(name, safe='')}", absent_is_fine=True)

    async def depths(self) -> dict[str, Depth]:
        """What stands in every queue of the vhost."""
        rows = await self._call("GET", f"queues/{self._v}?columns=name,messages_ready,messages_unacknowledged,consumers")
        return {
            row["name"]: Depth(row.get("messages_ready", 0), row.get("messages_unacknowledged", 0), row.get("consumers", 0)) for row in rows
        }

    async def alarms(self) -> list[str]:
        """Sentences about alarms that make the broker refuse messages."""
        found = await self._call("GET", "health/checks/alarms", unhealthy_is_an_answer=True)
        return [f"RabbitMQ on {alarm['node']} takes no messages: it is short of {alarm['resource']}." for alarm in found.get("alarms", ())]

    async def delete_vhost(self) -> None:
        """Removes the vhost with all that is in it. Meant for tests."""
        await self._call("DELETE", f"vhosts/{self._v}", absent_is_fine=True)

    @property
    def _v(self) -> str:
        return quote(self._vhost, safe="")

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        absent_is_fine: bool = False,
        unhealthy_is_an_answer: bool = False,
    ) -> Any:
        if self._session is None:
            raise AdminError("The management interface is closed; open it with `async with`.")
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE_S
        while True:
            async with _translated(self._shown), self._session.request(method, self._base + path, json=body) as answer:
                if answer.status == 503 and unhealthy_is_an_answer:
                    return await answer.json()
                if answer.status == 503 and loop.time() < until:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status == 404 and absent_is_fine:
                    return None
                if answer.status in (401, 403):
                    raise AdminError(
                        f"The broker's management interface at {self._shown} refuses us; its user needs the tag administrator."
                    )
                if answer.status >= 400:
                    text = (await answer.text())[:300]
                    raise AdminError(f"The broker's management interface at {self._shown} refuses {method} {path}: {text}")
                return await answer.json() if answer.status == 200 and answer.content_type == "application/json" else None


@asynccontextmanager
async def _translated(shown: str) -> AsyncIterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        cause = type(error).__name__ if not str(error) else str(error)
        raise AdminError(
            f"The broker's management interface at {shown} does not answer ({cause[:120]}); "
            "is the plugin rabbitmq_management on, and KOPPELPUNT_AMQP_MANAGEMENT right?"
        ) from error


def summary(applied: Definitions) -> str:
    """What `apply` did, as one line: `12 queues, 4 users`."""
    return ", ".join(f"{len(items)} {kind.replace('_', ' ')}" for kind, items in applied.items()) or "nothing to change"
