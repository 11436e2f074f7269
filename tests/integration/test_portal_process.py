"""The portal as a process, and the command that makes its accounts."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp
import pytest
import requests
from aiohttp.test_utils import unused_port

import run as program
from adapters import pki
from adapters.errors import UsageError
from adapters.home import make_private_home
from adapters.oidc import Provider
from adapters.portal_keys import PortalKeys
from adapters.portal_reach import provider_of
from broker_config.settings import Settings, SettingsError
from tests.support.gateways import get, wait
from tests.support.portal import Browser
from workers.supervisor import Supervisor


class _Home:
    """A home without a broker; and without the master key, which is elsewhere."""

    def __init__(self, folder: Path, more: Mapping[str, str] | None = None) -> None:
        self.folder, self.port = folder, unused_port()
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "USER": "piet",
            "KOPPELPUNT_HOME": str(folder),
            "KOPPELPUNT_PORTAL_PORT": str(self.port),
            "KOPPELPUNT_METRICS_PORT": str(unused_port()),
            "KOPPELPUNT_CLOCK": "none",
            "AMQP_URL": "amqp://nobody:x@127.0.0.1:1/none",
            **(more or {}),
        }
        self.settings = make_private_home(Settings.from_environment(self.environment), environment=self.environment)
        self.settings.master_key.unlink()
        self.store = program.open_store_of(self.settings)

    @contextmanager
    def portal(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process, listening."""
        command = [sys.executable, str(program.ROOT / "run.py"), "work", "portal"]
        with (self.folder / "portal.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            wait(lambda: process.poll() is None and self.metrics() is not None and "portal_listens" in self.log())
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def metrics(self) -> str | None:
        """Where the process shows how it is."""
        return next((str(row["metrics"]) for row in self.store.registry.workers() if row["name"] == "portal" and row["metrics"]), None)

    def log(self) -> str:
        return (self.folder / "portal.log").read_text()

    def account(self, *words: str, ok: bool = True) -> Any:
        """`run.py account … --json`."""
        command = [sys.executable, str(program.ROOT / "run.py"), "account", *words, "--json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode == 0) is ok, done.stderr
        return json.loads(done.stdout) if ok else done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Iterator[_Home]:
    made = _Home(tmp_path)
    yield made
    made.store.close()


def test_the_first_account_signs_in_with_what_the_command_printed_and_the_process_drains_on_sigterm(home: _Home) -> None:
    made = home.account("add", "anna", "--role", "chain_manager")
    assert made["portal"] == f"http://localhost:{home.port}"
    code = pyotp.parse_uri(made["totp"])
    assert isinstance(code, pyotp.TOTP)
    with home.portal() as process:
        browser = Browser(made["portal"])
        came = browser.sign_in("anna", made["password"], code.now())
        assert came.url.endswith("/wachtwoord"), came.text
        new = "a password of my own"
        assert "Aangemeld als anna" in browser.submit("/wachtwoord", now=made["password"], new=new, again=new).text
        address = home.metrics()
        assert address is not None
        assert get(address, "/healthz")[0] == 200
        _, told = get(address, "/readyz")
        assert told["ready"], told
        assert 'koppelpunt_portal_requests_total{status="200"}' in get(address, "/metrics")[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert home.metrics() is None
    with pytest.raises(requests.ConnectionError):
        browser.get("/")
    assert made["password"] not in home.log()
    assert new not in home.log()


def test_a_program_with_a_token_from_the_command_asks_the_api_until_the_token_is_ended(home: _Home) -> None:
    home.account("add", "report", "--role", "reader", "--no-totp")
    made = home.account("tokens", "make", "report", "--label", "nightly report")
    with home.portal():
        program = requests.Session()
        program.headers["Authorization"] = f"Bearer {made['api_token']}"
        api = f"http://localhost:{home.port}/api/v1"
        assert program.get(f"{api}/me", timeout=30).json()["roles"] == ["reader"]
        described = [path for path, item in requests.get(f"{api}/openapi.json", timeout=30).json()["paths"].items() if "get" in item]
        for path in (path.removeprefix("/api/v1") for path in described if "{" not in path and not path.endswith("/messages")):
            answer = program.get(f"{api}{path}", params={"by": "code"} if path == "/items/tally" else {}, timeout=30)
            assert answer.status_code == (403 if path in ("/items.csv", "/accounts") else 200), (path, answer.text)
        home.account("tokens", "end", "report", "--token", made["token"])
        assert program.get(f"{api}/me", timeout=30).status_code == 401
    assert made["api_token"] not in home.log()


def test_whoever_waits_for_an_answer_when_the_portal_stops_has_it(home: _Home) -> None:
    home.account("add", "anna", "--role", "reader", "--no-totp")
    with home.portal() as process:
        browser = Browser(f"http://localhost:{home.port}")
        token = browser.csrf("/inloggen")
        answers: list[int] = []

        def enter() -> None:
            form = {"csrf": token, "name": "anna", "password": "wrong", "code": "", "naar": ""}
            answers.append(browser.post("/inloggen", data=form).status_code)

        waiting = threading.Thread(target=enter)
        waiting.start()
        wait(lambda: bool(_tries(home)))  # it is being judged
        process.send_signal(signal.SIGTERM)
        waiting.join(30)
        assert answers == [403]
        assert process.wait(30) == 0


def _tries(home: _Home) -> list[Any]:
    with home.store.database.read() as connection:
        return list(connection.exec_driver_sql("SELECT key FROM sign_in_try"))


def test_with_a_certificate_of_its_own_it_speaks_tls_and_follows_one_that_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.init(folder)
    one, two = (pki.issue(folder, oin="00000004900000010000", name=name) for name in ("one", "two"))
    key, cert = tmp_path / "portal.key", tmp_path / "portal.pem"

    def use(party: pki.Party) -> None:
        key.write_bytes(party.key.read_bytes())
        cert.write_bytes(party.certificate.read_bytes())

    use(one)
    home = _Home(tmp_path / "home", {"KOPPELPUNT_PORTAL_CERT": str(cert), "KOPPELPUNT_PORTAL_KEY": str(key)})
    try:
        with home.portal():
            context = ssl.create_default_context(cafile=folder / "ca.pem")

            def shown() -> bytes:
                with (
                    socket.create_connection(("localhost", home.port), timeout=10) as plain,
                    context.wrap_socket(plain, server_hostname="localhost") as connection,
                ):
                    return connection.getpeercert(binary_form=True) or b""

            before = shown()
            with urllib.request.urlopen(f"https://localhost:{home.port}/inloggen", context=context, timeout=10) as answer:
                assert answer.headers["Set-Cookie"].startswith("__Host-koppelpunt=")
                assert "Strict-Transport-Security" in answer.headers
            use(two)
            wait(lambda: shown() != before)
    finally:
        home.store.close()


def test_a_port_that_somebody_else_has_is_said_and_tried_again(home: _Home) -> None:
    with socket.create_server(("127.0.0.1", home.port)):
        command = [sys.executable, str(program.ROOT / "run.py"), "work", "portal"]
        with (home.folder / "portal.log").open("ab") as log:
            process = subprocess.Popen(command, env=home.environment, stdout=log, stderr=log)
        try:
            wait(lambda: home.metrics() is not None and "portal_cannot_listen" in home.log())
            address = home.metrics()
            assert address is not None
            wait(lambda: "port" in get(address, "/readyz")[1]["reasons"])
        finally:
            process.terminate()
            assert process.wait(30) == 0


def test_accounts_are_made_shown_changed_and_shut_out_by_command(home: _Home) -> None:
    home.account("add", "las", "--role", "partner", "--system", "00000003900000010000", "--no-totp")
    home.account("add", "anna", "--role", "chain_manager")
    rows = {row["name"]: row for row in home.account("list")}
    assert (rows["las"]["state"], rows["las"]["second_factor"], rows["las"]["systems"]) == (
        "one-time password",
        "none",
        ["00000003900000010000"],
    )
    assert rows["anna"]["second_factor"] == "totp"
    changed = home.account("set", "las", "--role", "partner", "--role", "school", "--organisation", "0000000700025BE00000")
    assert (changed["roles"], changed["systems"], changed["organisations"]) == (
        ["partner", "school"],
        ["00000003900000010000"],
        ["0000000700025BE00000"],
    )
    made = home.account("tokens", "make", "las", "--label", "monitoring", "--days", "30")
    assert re.fullmatch(r"kpt_[\w-]{43}", made["api_token"])
    (listed,) = home.account("tokens", "list", "las")
    assert (listed["label"], listed["counts"], "api_token" in listed) == ("monitoring", True, False)
    assert home.account("disable", "las")["state"] == "disabled"
    assert not home.account("tokens", "list", "las")[0]["counts"]
    assert home.account("set", "las", "--enable")["state"] == "one-time password"
    assert home.account("tokens", "end", "las", "--token", made["token"])["ended"]
    assert home.account("reset", "las", "--totp")["totp"].startswith("otpauth://totp/Koppelpunt:las?")
    assert {row["name"]: row["second_factor"] for row in home.account("list")} == {"anna": "totp", "las": "totp"}
    with home.store.database.read() as connection:
        payloads = b"".join(bytes(row[0]) for row in connection.exec_driver_sql("SELECT payload FROM event"))
    assert payloads.count(b"operator piet") >= 9


def test_what_cannot_be_is_told_in_one_sentence(home: _Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    for words, told in (
        (("add", "Anna B", "--role", "reader"), "is no name for an account"),
        (("add", "anna", "--role", "school"), "would see nothing"),
        (("add", "anna"), "needs a role"),
        (("reset", "nobody"), "There is no account nobody"),
        (("disable", "nobody"), "There is no account nobody"),
        (("tokens", "make", "nobody", "--label", "x"), "There is no account nobody"),
    ):
        assert program.main(["account", *words]) == 1
        said = capsys.readouterr()
        assert told in said.err
        assert (said.err.count("\n"), said.out) == (1, "")


def test_an_identity_provider_is_asked_over_tls_and_for_roles_that_exist() -> None:
    def provider(**given: str) -> object:
        given = {"OIDC_ISSUER": "https://login.example", "OIDC_CLIENT": "us", "OIDC_ROLES": "groups:x=reader", **given}
        return provider_of(Settings.from_environment({f"KOPPELPUNT_{name}": value for name, value in given.items()}))

    made = provider()
    assert isinstance(made, Provider)
    assert made.name == "login.example"
    with pytest.raises(UsageError, match="must be an https address"):
        provider(OIDC_ISSUER="http://login.example")
    with pytest.raises(UsageError, match="names the role 'boss'; there are chain_manager"):
        provider(OIDC_ROLES="groups:x=boss")


def test_settings_that_do_not_go_together_are_refused_and_a_portal_that_can_be_read_along_is_warned_of() -> None:
    def settings(**given: str) -> Settings:
        return Settings.from_environment({f"KOPPELPUNT_{name}": value for name, value in given.items()})

    for wrong, told in (
        ({"PORTAL_CERT": "x.pem"}, "belong together"),
        ({"OIDC_ISSUER": "https://login.example"}, "also needs KOPPELPUNT_OIDC_CLIENT and KOPPELPUNT_OIDC_ROLES"),
        ({"OIDC_ROLES": "groups=x"}, "must look like claim:value=role"),
    ):
        with pytest.raises(SettingsError, match=told):
            settings(**wrong)
    assert "without encryption" in settings(PORTAL_HOST="0.0.0.0").warnings()[0]
    proxied = {"PORTAL_HOST": "0.0.0.0", "PORTAL_URL": "https://portal.example"}
    assert "name it in KOPPELPUNT_PORTAL_PROXIES" in settings(**proxied).warnings()[0]
    assert settings(**proxied, PORTAL_PROXIES="10.0.0.4/32").warnings() == []
    assert settings(PORTAL_HOST="0.0.0.0", PORTAL_CERT="c.pem", PORTAL_KEY="k.pem").warnings() == []
    assert settings(PORTAL_PORT="9000").portal_address == "http://localhost:9000"
    assert settings(OIDC_ROLES="groups:a=b=reader,x.y:z=school").oidc_roles == (("groups", "a=b", "reader"), ("x.y", "z", "school"))


def test_without_its_keys_the_portal_does_not_start_and_says_what_to_do(home: _Home) -> None:
    home.settings.portal_secrets.unlink()
    command = [sys.executable, str(program.ROOT / "run.py"), "work", "portal"]
    done = subprocess.run(command, env=home.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert f"there are no keys for the portal at {home.settings.portal_secrets}: make it with `run.py account keys`" in done.stderr


def test_the_portal_gets_no_way_to_the_broker_from_up(tmp_path: Path) -> None:
    """Nor does any other worker get none."""
    echo = tmp_path / "echo.py"
    echo.write_text("import os, sys\nopen(sys.argv[0] + '.' + sys.argv[2], 'w').write(' '.join(sorted(os.environ)))\n")
    environment = {"AMQP_URL": "amqp://b:secret@mq/v", "KOPPELPUNT_AMQP_MANAGEMENT": "http://a:b@mq", "KOPPELPUNT_HOME": str(tmp_path)}

    async def play() -> None:
        supervisor = Supervisor(echo, ("portal", "relay"), environment)
        await supervisor.start()
        while not all((tmp_path / f"echo.py.{name}").exists() for name in ("portal", "relay")):
            await asyncio.sleep(0.05)
        await supervisor.stop()

    asyncio.run(asyncio.wait_for(play(), 30))
    given = {name: set((tmp_path / f"echo.py.{name}").read_text().split()) & set(environment) for name in ("portal", "relay")}
    assert given == {"portal": {"KOPPELPUNT_HOME"}, "relay": set(environment)}


def test_the_portals_keys_are_made_by_command_where_the_master_key_is(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(base64.b64encode(bytes(32)))
    for changed in (True, False):
        command = [sys.executable, str(program.ROOT / "run.py"), "account", "keys", "--home", str(tmp_path), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert json.loads(done.stdout) == {"file": str(tmp_path / "portal.secrets"), "changed": changed}
    assert PortalKeys.read(tmp_path / "portal.secrets") == PortalKeys.of(bytes(32))
