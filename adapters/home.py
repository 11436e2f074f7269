"""A home: the folder that holds all state of one machine. Its settings, what it needs before a worker can start, and its broker's address.

Nearly every command reads its settings here, so what makes keys, certificates and nodes is imported where it is needed.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from adapters.errors import UsageError
from broker_config.settings import Settings
from broker_config.topology import vhost_of

#: What `up` made for a private home: settings that hold unless the environment says otherwise.
_MADE: Final = "up.json"


def read_settings(environment: Mapping[str, str], home: Path | None = None) -> Settings:
    """The settings in this environment, and what was made for the home. Raises SettingsError."""
    settings = Settings.from_environment(environment, home=home)
    private = settings.home / _MADE
    if private.exists():
        made = {name: value for name, value in json.loads(private.read_text()).items() if name not in environment}
        settings = Settings.from_environment({**environment, **made}, home=settings.home)
    return settings


def make_private_home(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """What a home needs before its workers can start: a master key, the portal's keys that follow from it, and (unless set) a test PKI with
    our own certificate."""
    from adapters import pki
    from adapters.portal_keys import PortalKeys
    from adapters.vault import create_master_key, read_master_key

    settings.home.mkdir(parents=True, exist_ok=True)
    create_master_key(settings.master_key)
    PortalKeys.of(read_master_key(settings.master_key)).write(settings.portal_secrets)
    made: dict[str, str] = {}
    folder = settings.home / "pki"
    if settings.key is None:
        if not (folder / "ca.pem").exists():
            pki.init(folder)
        ours = pki.issue(folder, oin=settings.own_oins[0], name="Koppelpunt")
        made |= {"KOPPELPUNT_KEY": str(ours.key), "KOPPELPUNT_CERT": str(ours.certificate)}
    if settings.trust is None:
        made |= {"KOPPELPUNT_TRUST": str(folder / "ca.pem")}
        if not settings.crl:
            made |= {"KOPPELPUNT_CRL": str(folder / "crl.pem")}
    if made:
        before = json.loads((settings.home / _MADE).read_text()) if (settings.home / _MADE).exists() else {}
        (settings.home / _MADE).write_text(json.dumps(before | made, indent=1) + "\n")
    return read_settings(environment, home=settings.home)


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """One `up` or `demo` at a time in a home: a second one would start its workers beside the first one's, and take down that one's broker
    when it ends. Raises UsageError with the other's process id."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = f" (pid {pid})" if (pid := lock.read(20).strip()).isdigit() else ""
            raise UsageError(f"Another `up`{pid} runs in {home}; stop that one first, or give this one a --home of its own.") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield  # the lock ends with the process, whatever ends that


def require_store(settings: Settings) -> None:
    """Raises UsageError where there is no store yet: a forgotten `--home` is no reason to make an empty one and call all well."""
    from sqlalchemy import make_url

    url = make_url(settings.store)
    if url.get_backend_name() != "sqlite" or Path(str(url.database)).exists():
        return
    if "KOPPELPUNT_STORE" in settings.named:
        raise UsageError(f"There is no store at {url.database}; KOPPELPUNT_STORE names it, and the first worker makes it.")
    raise UsageError(f"There is no store in {settings.home}; name it with --home, or start it with `run.py up`.")


def amqp_urls(settings: Settings) -> tuple[str, str | None]:
    """The broker for workers and its management address; the private node of the home when no AMQP_URL is set. Raises NodeError."""
    if settings.amqp_url:
        return settings.amqp_url, settings.amqp_management
    from broker_config.node import PrivateNode

    node = PrivateNode(settings.home, port=settings.amqp_port)
    return node.url, node.management_url


def worker_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """For our own worker processes; the broker's password goes this way and not over the command line. Raises NodeError."""
    amqp, management = amqp_urls(settings)
    private = {"AMQP_URL": amqp, "KOPPELPUNT_HOME": str(settings.home)}
    return {**environment, **private, **({"KOPPELPUNT_AMQP_MANAGEMENT": management} if management else {})}


async def queue_depths(settings: Settings) -> dict[str, int]:
    """How many messages stand in each queue of the broker; none, and a sentence on stderr, when it cannot be asked."""
    from adapters.rabbit_admin import AdminError, BrokerAdmin
    from broker_config.node import NodeError

    try:
        amqp, management = amqp_urls(settings)
        if management is None:
            return {}
        async with BrokerAdmin(management, vhost=vhost_of(amqp)) as admin:
            return {name: depth.ready + depth.unacknowledged for name, depth in (await admin.depths()).items()}
    except (AdminError, NodeError) as error:
        sys.stderr.write(f"koppelpunt: {error}\n")
        return {}
