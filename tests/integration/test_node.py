"""The private node: started, killed, wiped, found again, and never in anybody's way."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import broker_config.node
from adapters.rabbit import BrokerUnavailable, Inspector, Outgoing, Published, Publisher
from adapters.rabbit_admin import BrokerAdmin
from broker_config.node import NodeError, PrivateNode, _command_of, find_server
from broker_config.topology import topology
from tests.support.broker import require_rabbitmq, run, until

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that is deep, long, and has spaces in its name."""
    require_rabbitmq()
    top = Path(tempfile.mkdtemp(prefix="koppelpunt "))
    top.chmod(0o755)
    home = top / "een map met spaties" / ("lang" * 30) / "var"
    home.mkdir(parents=True)
    yield home
    PrivateNode(home).kill()
    shutil.rmtree(top, ignore_errors=True)


def test_a_node_starts_beside_another_is_found_again_and_leaves_nothing_behind(home: Path, broker_node: PrivateNode) -> None:
    node = PrivateNode(home)
    assert not node.is_running()
    with pytest.raises(NodeError, match=r"There is no broker in .* yet; start it first"):
        _ = node.url
    node.start()
    assert node.is_running() and broker_node.is_running()
    assert node.log_file.exists()
    assert stat.S_IMODE((home / "broker" / "node.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "broker" / "node").stat().st_mode) == 0o700
    ports = _ports(home)
    assert ports.isdisjoint(_ports(broker_node.log_file.parents[3]))
    _assert_only_this_machine_reaches(ports)

    async def connect() -> bool:
        async with Publisher(node.url) as ours:
            return ours.is_connected

    assert run(connect())
    found = PrivateNode(home)
    assert found.is_running() and (found.pid, found.url) == (node.pid, node.url)
    pid = found.pid
    found.start()  # runs already
    assert found.pid == pid
    found.stop()
    assert not node.is_running() and not found.is_running()
    for port in ports:
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", port))
    found.stop()  # nothing left to stop


def _ports(home: Path) -> set[int]:
    state = json.loads((home / "broker" / "node.json").read_text())
    return {state[name] for name in ("amqp_port", "management_port", "dist_port", "epmd_port")}


def _assert_only_this_machine_reaches(ports: set[int]) -> None:
    seen = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(port, 16) in ports:
                assert address in ("0100007F", "00000000000000000000000001000000"), f"port {int(port, 16)} listens on {address}"
                seen.add(int(port, 16))
    assert seen == ports


def test_a_wiped_node_still_knows_its_own_users_and_nothing_else(home: Path) -> None:
    node = PrivateNode(home)
    node.start()

    async def fill() -> None:
        async with BrokerAdmin(node.management_url) as admin:
            await admin.apply(topology([]))
        async with Publisher(node.url) as ours:
            assert await ours.publish(Outgoing(routing_key="epoch", body=b"e1")) is Published.CONFIRMED

    async def look() -> tuple[int | None, int]:
        async with Inspector(node.url) as inspector, BrokerAdmin(node.management_url) as admin:
            return await inspector.depth("epoch"), len((await admin.read())["queues"])

    run(fill())
    url = node.url
    with pytest.raises(NodeError, match="is running; stop it before wiping it"):
        node.wipe()
    assert run(look()) == (1, 5)
    node.kill()
    node.wipe()
    node.start()
    assert node.url == url, "workers find it under the same address"
    assert run(look()) == (None, 0)
    node.kill()


def test_a_node_without_disk_space_says_that_it_takes_no_messages(tmp_path: Path) -> None:
    require_rabbitmq()
    node = PrivateNode(tmp_path, disk_free_limit=900_000_000_000_000)

    async def act() -> None:
        async with BrokerAdmin(node.management_url) as admin:
            await until(admin.alarms)
            assert "takes no messages: it is short of disk" in (await admin.alarms())[0]
        async with Publisher(node.url, confirm_s=1, wait_s=0.5) as ours:
            with pytest.raises(BrokerUnavailable, match=r"confirmed nothing for 1 s \(low on disk\)"):
                await ours.publish(Outgoing(routing_key="nowhere", body=b"x"))

    try:
        node.start()
        run(act())
    finally:
        node.kill()


def test_a_port_that_is_taken_is_said_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    require_rabbitmq()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(NodeError, match=r"is taken.*KOPPELPUNT_AMQP_PORT"):
            PrivateNode(tmp_path, port=taken.getsockname()[1]).start()


def test_a_pid_that_now_belongs_to_somebody_else_is_not_taken_for_the_node(home: Path) -> None:
    PrivateNode(home).kill()
    file = home / "broker" / "node.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": os.getpid()}))
    node = PrivateNode(home)
    assert not node.is_running()
    node.kill()  # and we are still here


def test_a_configuration_that_rabbitmq_refuses_is_reported_with_its_log(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_config.node, "_CONFIGURATION", broker_config.node._CONFIGURATION + "no.such.setting = 1\n")
    with pytest.raises(NodeError, match=r"RabbitMQ stopped while it was starting.*see .*node\.log"):
        PrivateNode(home).start()


def test_a_version_that_cannot_read_what_the_old_one_left_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The last words of 4.0.5 on the data of 3.10.8."""
    newer = tmp_path / "rabbitmq-server"
    newer.write_text("#!/bin/sh\necho 'Error during startup: {error,failed_to_initialize_feature_flags_registry}'\nexit 1\n")
    newer.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(NodeError, match=r"cannot go on with what the old one left in .*/data: remove that folder"):
        PrivateNode(tmp_path).start()


def test_a_process_that_becomes_another_program_is_not_taken_for_one_that_ended(tmp_path: Path) -> None:
    """As rabbitmq-server does, which is a few scripts before it is Erlang: between two programs Linux shows no command at all."""
    script = tmp_path / "again"
    script.write_text('[ "$1" -gt 0 ] && exec sh "$0" "$(($1 - 1))"\nexec sleep 60\n')
    with subprocess.Popen(["sh", str(script), "300"]) as process:
        try:
            while b"sleep" not in (seen := _command_of(process.pid)):
                assert seen
        finally:
            process.kill()
    assert not _command_of(process.pid)


def test_the_rabbitmq_that_is_first_in_path_is_taken_without_the_wrapper_of_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own, package, sbin = tmp_path / "own", tmp_path / "lib", tmp_path / "sbin"
    for program in (own / "rabbitmq-server", package / "rabbitmq-server", package / "rabbitmq-script-wrapper"):
        program.parent.mkdir(exist_ok=True)
        program.touch(mode=0o755)
    sbin.mkdir()
    (sbin / "rabbitmq-server").symlink_to("../lib/rabbitmq-script-wrapper")
    monkeypatch.setenv("PATH", f"{sbin}:{own}")
    assert find_server() == package / "rabbitmq-server"
    monkeypatch.setenv("PATH", f"{own}:{sbin}")
    assert find_server() == own / "rabbitmq-server"


def test_a_missing_rabbitmq_is_one_sentence_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_options: None)
    with pytest.raises(
        NodeError, match=r"rabbitmq-server is not installed; install it \(Debian, Ubuntu: `apt-get install rabbitmq-server`"
    ):
        find_server()
