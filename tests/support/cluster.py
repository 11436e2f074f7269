"""Three machines on one: a RabbitMQ cluster of three nodes, and a PostgreSQL primary with a standby that follows it synchronously."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from broker_config.node import PrivateNode, _draw_port, _State
from tests.support import postgres


class ClusterNode(PrivateNode):
    """A private node that joins others: it shares their cookie, passwords and epmd."""

    def __init__(self, home: Path, state: _State, known: Sequence[str], epmd_port: int) -> None:
        super().__init__(home)
        self._known, self._epmd_port = known, epmd_port
        self._write(state)

    def _prepare(self) -> _State:
        state = super()._prepare()
        nodes = "".join(f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(self._known, start=1))
        with (self._node / "rabbitmq.conf").open("a") as configuration:
            configuration.write(f"cluster_formation.peer_discovery_backend = classic_config\n{nodes}")
        return state

    def _environment(self, state: _State) -> dict[str, str]:
        return super()._environment(state) | {"ERL_EPMD_PORT": str(self._epmd_port)}

    def _end_epmd(self, state: _State) -> None:
        """It is shared."""


class Cluster:
    """Three nodes. Use as `with`."""

    def __init__(self, home: Path) -> None:
        self._epmd_port = _draw_port(0, set())
        tag, cookie, backbone, admin = (secrets.token_hex(8) for _ in range(4))
        names = [f"koppelpunt-{tag}-{number}@localhost" for number in (1, 2, 3)]
        secret: dict[str, Any] = {"cookie": cookie, "backbone_password": backbone, "admin_password": admin}
        # each knows those before it, for they start in turn: from 4.0 on, a node waits until at least two that it knows are there
        self.nodes = [
            ClusterNode(home / f"node{n}", _State(name=name, **secret), names[:n], self._epmd_port) for n, name in enumerate(names, 1)
        ]

    def __enter__(self) -> Cluster:
        try:
            for node in self.nodes:
                node.start(timeout_s=90)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.kill()
        if epmd := shutil.which("epmd"):
            subprocess.run([epmd, "-port", str(self._epmd_port), "-kill"], capture_output=True, check=False, timeout=10)


class PostgresPair:
    """Primary and standby. A commit is answered when both have it. Use as `with`."""

    def __init__(self) -> None:
        self._user = postgres._unprivileged()
        self.folders = [Path(tempfile.mkdtemp(prefix=f"kp-pg-{name}-")) for name in ("primary", "standby")]
        for folder in self.folders:
            if self._user:
                shutil.chown(folder, self._user)
            folder.chmod(0o755)

    @property
    def url(self) -> str:
        """For whoever wants the one that may be written to, whichever that is."""
        return f"postgresql+psycopg://tests@/koppelpunt?host={','.join(map(str, self.folders))}&target_session_attrs=read-write"

    def __enter__(self) -> PostgresPair:
        try:
            self._set_up(*self.folders)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self, primary: Path, standby: Path) -> None:
        self._run("initdb", "-D", f"{primary}/data", "-U", "tests", "--auth=trust", "--no-sync", "-E", "UTF8")
        self._start(primary)
        self._run("createdb", "-h", str(primary), "-U", "tests", "koppelpunt")
        self._run("pg_basebackup", "-h", str(primary), "-U", "tests", "-D", f"{standby}/data", "-R", "-c", "fast", "--no-sync")
        self._start(standby)
        self._run("psql", "-h", str(primary), "-U", "tests", "koppelpunt", "-c", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self._run("psql", "-h", str(primary), "-U", "tests", "koppelpunt", "-c", "SELECT pg_reload_conf()")

    def __exit__(self, *_: object) -> None:
        for folder in self.folders:
            self._run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop", check=False)
            shutil.rmtree(folder, ignore_errors=True)

    def fail_over(self) -> None:
        """The primary's machine is gone; the standby takes its place, and waits for nobody's word any more."""
        primary, standby = self.folders
        self._run("pg_ctl", "-D", f"{primary}/data", "-m", "immediate", "stop")
        self._run("pg_ctl", "-D", f"{standby}/data", "-w", "promote")

    def _start(self, folder: Path) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=120"
        self._run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start")

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        path = postgres._program(program)
        assert path is not None, f"{program} is not there"
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        done = subprocess.run([path, *arguments], check=False, capture_output=True, cwd="/", user=self._user, env=environment, timeout=60)
        assert done.returncode == 0 or not check, done.stderr.decode()[-500:]
