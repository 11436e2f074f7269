"""A private RabbitMQ node in the home folder: for one machine, for a demo, for tests.

It listens on 127.0.0.1 only, has its own epmd (so it neither needs nor disturbs another Erlang node on the machine), its own
name, cookie and passwords, and outlives the process that started it: whoever opens the same home finds it again by its pid.

Folders, under the home:
  broker/node.json   ports, passwords, pid; readable by the owner only
  broker/node/       what RabbitMQ itself uses: configuration, log, data; owned by the user it runs as
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.parse import quote

from broker_config.topology import BACKBONE, VHOST, password_hash

log = logging.getLogger(__name__)

#: The user who may apply the topology and look at everything; no worker needs it.
ADMIN: Final = "beheer"
LOCALHOST: Final = "127.0.0.1"

#: What the packages put in PATH insists on root or its own user and on /var/lib; the script beside it does not.
_WRAPPER: Final = "rabbitmq-script-wrapper"
_SYSTEM_USER: Final = "rabbitmq"
#: Ports we draw lie below the range that Linux gives to outgoing connections, so that a restart finds its port free.
_DRAWN_PORTS: Final = range(20_000, 32_000)
_POLL_S: Final = 0.05
#: What RabbitMQ says of data that an older version left, when it skips the versions between (3.10 to 4.0).
_OTHER_VERSION: Final = "failed_to_initialize_feature_flags_registry"
_HELLO: Final = b"AMQP\x00\x00\x09\x01"

_CONFIGURATION: Final = """\
listeners.tcp.local = {localhost}:{amqp_port}
management.tcp.ip = {localhost}
management.tcp.port = {management_port}
load_definitions = {folder}/definitions.json
# Rates are not looked at; counting them costs a tenth of a core on a busy node.
management.rates_mode = none
# Depths, which `status` shows; not every message once more per channel, exchange and queue.
collect_statistics = coarse
# The file is found by RABBITMQ_LOG_BASE.
log.file = node.log
log.file.level = info
log.file.rotation.size = 10485760
log.file.rotation.count = 3
log.console = false
heartbeat = 60
# Over AMQP a hand-in has 1 MiB. One that is a few times larger is told so in a receipt, and larger ones by the broker itself: a worker
# holds hundreds at a time.
max_message_size = 4194304
# Below these the node refuses messages instead of taking the machine down with it.
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = {disk_free_limit}
# The default of 512 MB is meant for machines that do nothing else.
raft.wal_max_size_bytes = 12582912
"""


class NodeError(Exception):
    """The private node cannot do what was asked; the text is one sentence that says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What `node.json` remembers. The name and the passwords stay; ports may change with a start."""

    name: str
    cookie: str
    backbone_password: str
    admin_password: str
    amqp_port: int = 0
    management_port: int = 0
    dist_port: int = 0
    epmd_port: int = 0
    pid: int = 0  #: 0 when it was stopped


class PrivateNode:
    """RabbitMQ in `home`/broker. Every method may be called in any order, by any process that can read the home."""

    def __init__(self, home: Path, *, port: int = 0, disk_free_limit: int = 500_000_000) -> None:
        """`port` is AMQP's; 0 draws a free one at the first start and keeps it as long as it is free; `disk_free_limit` is in bytes."""
        self._folder = home.absolute() / "broker"
        self._node = self._folder / "node"
        self._file = self._folder / "node.json"
        self._port = port
        self._disk_free_limit = disk_free_limit
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """AMQP address for our workers. Holds the password: mask it before showing it. Raises NodeError before the first start."""
        state = self._require()
        return f"amqp://{BACKBONE}:{quote(state.backbone_password)}@{LOCALHOST}:{state.amqp_port}/{quote(VHOST, safe='')}"

    @property
    def admin_url(self) -> str:
        """AMQP address of a user who may also declare and delete."""
        state = self._require()
        return f"amqp://{ADMIN}:{quote(state.admin_password)}@{LOCALHOST}:{state.amqp_port}/{quote(VHOST, safe='')}"

    @property
    def management_url(self) -> str:
        """Address of the management interface, with the administrator's password."""
        state = self._require()
        return f"http://{ADMIN}:{quote(state.admin_password)}@{LOCALHOST}:{state.management_port}"

    @property
    def log_file(self) -> Path:
        """Where RabbitMQ writes what it does."""
        return self._node / "log" / "node.log"

    @property
    def pid(self) -> int | None:
        """Process id of the running node; None when it does not run."""
        state = self._read()
        return state.pid if state is not None and state.pid and self._lives(state) else None

    def is_running(self) -> bool:
        """Whether its process lives. It may still be starting, or too busy to answer."""
        return self.pid is not None

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Starts the node and returns when it accepts connections; does nothing but wait when it runs already. Raises NodeError."""
        until = time.monotonic() + timeout_s
        if self.is_running():
            self._await_ready(self._require(), until, timeout_s)
            return
        program = find_server()
        for _attempt in range(3):
            state = self._prepare()
            try:
                self._launch(program, state)
                self._await_ready(self._require(), until, timeout_s)
            except _PortTaken:
                log.info("broker_port_taken", extra={"amqp_port": state.amqp_port})
                continue
            except NodeError:
                self.kill()
                raise
            return
        raise NodeError(f"RabbitMQ found no free port on {LOCALHOST}; see {self.log_file}.")

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Stops the node in an orderly way; kills it when it has not stopped in time."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            if not self._await_end(timeout_s):
                log.warning("broker_killed", extra={"after_s": timeout_s})
        self.kill()

    def kill(self) -> None:
        """Ends the node at once (kill -9), as a power cut would, and clears up after one that died by itself."""
        state = self._read()
        if state is None:
            return
        if state.pid and self._lives(state):
            os.kill(state.pid, signal.SIGKILL)
            self._await_end(10.0)
        self._end_epmd(state)
        self._write(replace(state, pid=0))

    def wipe(self) -> None:
        """Removes all the node held: messages, queues, users. The next start has our own users and an empty vhost. Raises NodeError."""
        if self.is_running():
            raise NodeError(f"The broker in {self._folder} is running; stop it before wiping it.")
        shutil.rmtree(self._node / "data", ignore_errors=True)

    def _end_epmd(self, state: _State) -> None:
        """Ends our own epmd, which refuses until it has noticed that the node is gone."""
        epmd = shutil.which("epmd")
        for _attempt in range(40):
            if epmd is None or not state.epmd_port or _is_free(state.epmd_port):
                return
            command = [epmd, "-port", str(state.epmd_port), "-kill"]
            subprocess.run(command, capture_output=True, check=False, timeout=10, env=self._environment(state))  # noqa: S603
            time.sleep(_POLL_S)

    # ---- preparing ----

    def _prepare(self) -> _State:
        """Draws ports, writes the configuration, and hands the folder to the user the node will run as."""
        state = self._read() or _State(
            name=f"koppelpunt-{secrets.token_hex(4)}@localhost",
            cookie=secrets.token_hex(20),
            backbone_password=secrets.token_urlsafe(24),
            admin_password=secrets.token_urlsafe(24),
        )
        if self._port and not _is_free(self._port):
            raise NodeError(
                f"Port {self._port} on {LOCALHOST} is taken, so RabbitMQ cannot use it; set KOPPELPUNT_AMQP_PORT to a free one."
            )
        taken: set[int] = {self._port}
        drawn: dict[str, int] = {}
        for name in ("amqp_port", "management_port", "dist_port", "epmd_port"):
            drawn[name] = self._port if name == "amqp_port" and self._port else _draw_port(getattr(state, name), taken)
            taken.add(drawn[name])
        state = _State(**{**asdict(state), "pid": 0, **drawn})
        if " " in str(self._node):
            log.warning("broker_disk_not_watched", extra={"reason": f"RabbitMQ cannot watch a disk by a path with spaces: {self._node}"})
        self._node.mkdir(parents=True, exist_ok=True)
        for name in ("data", "log"):
            (self._node / name).mkdir(exist_ok=True)
        self._write(state)
        (self._node / "rabbitmq.conf").write_text(
            _CONFIGURATION.format(
                localhost=LOCALHOST,
                amqp_port=state.amqp_port,
                management_port=state.management_port,
                folder=self._node,
                disk_free_limit=self._disk_free_limit,
            )
        )
        (self._node / "definitions.json").write_text(json.dumps(_definitions(state)))
        (self._node / "enabled_plugins").write_text("[rabbitmq_management].\n")
        cookie = self._node / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.write_text(state.cookie)
        cookie.chmod(0o400)
        self._node.chmod(0o700)
        if (user := self._run_as()) is not None:
            for path in (self._node, *self._node.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        return state

    def _run_as(self) -> pwd.struct_passwd | None:
        """RabbitMQ's own user when we are root and it can reach the folder; None to stay who we are."""
        if os.geteuid() != 0:
            return None
        try:
            user = pwd.getpwnam(_SYSTEM_USER)
        except KeyError:
            return None
        for folder in self._folder.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                log.warning("broker_runs_as_root", extra={"reason": f"user {_SYSTEM_USER} may not enter {folder}"})
                return None
        return user

    def _environment(self, state: _State) -> dict[str, str]:
        """The node's whole environment: nothing of ours reaches it, and no RABBITMQ_* of the caller's changes it."""
        node = str(self._node)
        return {
            "PATH": os.pathsep.join((os.defpath, "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")),
            "LANG": "C.UTF-8",
            "HOME": node,  # for the cookie
            "RUNNING_UNDER_SYSTEMD": "true",  # makes the script exec: our child is then the node itself, and its pid the one to signal
            "ERL_EPMD_PORT": str(state.epmd_port),
            "ERL_EPMD_ADDRESS": LOCALHOST,
            "ERL_CRASH_DUMP": f"{node}/log/erl_crash.dump",
            "ERL_CRASH_DUMP_SECONDS": "0",  # no dump: it could hold messages
            "RABBITMQ_NODENAME": state.name,
            "RABBITMQ_DIST_PORT": str(state.dist_port),
            "RABBITMQ_MNESIA_BASE": f"{node}/data",
            "RABBITMQ_LOG_BASE": f"{node}/log",
            "RABBITMQ_PID_FILE": f"{node}/pid",
            "RABBITMQ_CONFIG_FILE": f"{node}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{node}/no-such-file",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{node}/no-such-file.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{node}/enabled_plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{node}/data/config",
            # The first flag means nothing to Erlang: by it we know our node again. Schedulers that spin take our workers' cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-koppelpunt {state.name} -kernel inet_dist_use_interface {{127,0,0,1}} +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
        }

    # ---- running ----

    def _launch(self, program: Path, state: _State) -> None:
        user = self._run_as()
        output = self._node / "log" / "output.log"
        with output.open("wb") as sink:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    [str(program)],
                    env=self._environment(state),
                    cwd=self._node,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us; the broker stops after the workers have drained
                    user=None if user is None else user.pw_uid,
                    group=None if user is None else user.pw_gid,
                    extra_groups=None if user is None else [],
                    umask=0o077,
                )
            except OSError as error:
                raise NodeError(f"{program} cannot be run ({error.strerror}); reinstall rabbitmq-server.") from error
        self._write(replace(state, pid=self._process.pid))

    def _await_ready(self, state: _State, until: float, timeout_s: float) -> None:
        while not (_answers(state.amqp_port) and not _is_free(state.management_port)):
            if not self._lives(state):
                raise self._why_it_stopped()
            if time.monotonic() > until:
                raise NodeError(f"RabbitMQ did not answer on {LOCALHOST}:{state.amqp_port} within {timeout_s:g} s; see {self.log_file}.")
            time.sleep(_POLL_S)

    def _why_it_stopped(self) -> NodeError:
        text = ""
        for file in (self.log_file, self._node / "log" / "output.log"):
            if file.exists():
                text += file.read_text(errors="replace")[-20_000:]
        if not self._port and "eaddrinuse" in text:
            return _PortTaken()
        if _OTHER_VERSION in text:
            return NodeError(
                f"RabbitMQ was replaced by a version that cannot go on with what the old one left in {self._node / 'data'}: "
                "remove that folder and start again. The store gives everything back, and who has no receipt yet sends again."
            )
        reasons = [line.strip() for line in text.splitlines() if "error" in line.lower() and len(line) > 40]
        reason = f" ({reasons[-1][:200]})" if reasons else ""
        return NodeError(f"RabbitMQ stopped while it was starting{reason}; see {self.log_file} and {self._node / 'log' / 'output.log'}.")

    def _lives(self, state: _State) -> bool:
        """Whether the process with this pid lives and is this node: after a reboot the pid may be anybody's."""
        if self._process is not None and self._process.pid == state.pid and self._process.poll() is not None:
            return False
        try:
            os.kill(state.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # it runs as another user, so we cannot look; better to wait for it than to start a second one
        if not Path("/proc/self").exists():
            return True
        seen = _command_of(state.pid)
        return state.name.encode() in seen or b"rabbitmq-server" in seen  # the latter until the script has become Erlang

    def _await_end(self, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
        if self._process is not None:
            self._process.wait()
        return True

    # ---- node.json ----

    def _require(self) -> _State:
        state = self._read()
        if state is None or not state.amqp_port:
            raise NodeError(f"There is no broker in {self._folder} yet; start it first (`run.py up`).")
        return state

    def _read(self) -> _State | None:
        try:
            return _State(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise NodeError(f"{self._file} cannot be read; run this as the user who started the broker.") from error
        except (ValueError, TypeError) as error:
            raise NodeError(
                f"{self._file} is damaged; end the broker and remove {self._folder}, the store gives everything back."
            ) from error

    def _write(self, state: _State) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(asdict(state), indent=1))
            draft.replace(self._file)
        except OSError as error:
            raise NodeError(f"{self._folder} cannot be written ({error.strerror}); choose another home with --home.") from error


class _PortTaken(NodeError):
    """A port that we drew was taken by somebody else before RabbitMQ got to it: draw again."""


def find_server() -> Path:
    """The rabbitmq-server program: the first in PATH, else where systems put it. Raises NodeError with what to install."""
    for folders in (None, "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"):
        if found := shutil.which("rabbitmq-server", path=folders):
            program = Path(found).resolve()
            return program.with_name("rabbitmq-server") if program.name == _WRAPPER else Path(found)
    raise NodeError(
        "rabbitmq-server is not installed; install it (Debian, Ubuntu: `apt-get install rabbitmq-server`; macOS: "
        "`brew install rabbitmq`), or set AMQP_URL to a broker you have."
    )


def _definitions(state: _State) -> dict[str, object]:
    """What the node knows from its first moment on, also after a wipe: our own users, and the vhost."""
    rights = {"vhost": VHOST, "write": ".*", "read": ".*"}
    return {
        "users": [
            {"name": ADMIN, "password_hash": password_hash(state.admin_password), "tags": ["administrator"]},
            {"name": BACKBONE, "password_hash": password_hash(state.backbone_password), "tags": []},
        ],
        "vhosts": [{"name": VHOST}],
        "permissions": [{"user": ADMIN, "configure": ".*", **rights}, {"user": BACKBONE, "configure": "^$", **rights}],
    }


def _command_of(pid: int) -> bytes:
    """The command of a process; empty when it has ended, and for a moment only while it becomes another program."""
    for _look in range(10):
        with suppress(FileNotFoundError, ProcessLookupError):
            if seen := Path(f"/proc/{pid}/cmdline").read_bytes():
                return seen
        time.sleep(0.01)
    return b""


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as RabbitMQ does: connections that linger do not matter
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
        return True


def _draw_port(preferred: int, taken: set[int]) -> int:
    if preferred and preferred not in taken and _is_free(preferred):
        return preferred
    draw = SystemRandom()
    for _ in range(200):
        port = draw.choice(_DRAWN_PORTS)
        if port not in taken and _is_free(port):
            return port
    raise NodeError(f"No port from {_DRAWN_PORTS.start} to {_DRAWN_PORTS.stop} is free on {LOCALHOST}; end some programs first.")


def _answers(port: int) -> bool:
    """Whether an AMQP server greets us there."""
    try:
        with socket.create_connection((LOCALHOST, port), timeout=1.0) as connection:
            connection.sendall(_HELLO)
            return bool(connection.recv(1))
    except OSError:
        return False
