"""Koppelpunt's settings: read once from the environment, explained, and never printed with a password in them."""

# ruff: noqa: RUF009 (_setting only builds a field)

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The backbone's own OIN until an operator sets a real one: from the range for tests, so that nobody can mistake it for theirs.
OUR_TEST_OIN: Final = "00000099000000010000"

#: Variables that are ours though they lack our prefix.
_UNPREFIXED: Final = frozenset({"AMQP_URL"})
_PREFIX: Final = "KOPPELPUNT_"
_OIN: Final = re.compile(r"[0-9]{8}[0-9A-Z]{12}\Z")
#: Roles of people at the portal (routing.people.Role).
_PEOPLE: Final = ("chain_manager", "operator", "partner", "school", "auditor", "reader")
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
#: Hosts that are this machine itself.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class SettingsError(ValueError):
    """A setting is unknown or has an impossible value; the text is one sentence that says which, and what to write instead."""


def mask(text: str) -> str:
    """The text with the password of every URL in it replaced: `amqps://backbone:***@mq`."""
    masked = re.sub(r"(://[^:/?#\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:password|passwd|pwd|token|secret)=)[^&\s]*", r"\1***", masked)


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _paths(value: str) -> tuple[Path, ...]:
    return tuple(_path(part) for part in value.split(os.pathsep) if part.strip())


def _list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _oins(value: str) -> tuple[str, ...]:
    oins = _list(value)
    for oin in oins:
        if not _OIN.match(oin):
            raise ValueError(f"{oin[:40]!r} is not an OIN of 20 positions (eight digits, then twelve digits or capitals)")
    if not oins:
        raise ValueError("at least one OIN is needed")
    return oins


def _oins_or_none(value: str) -> tuple[str, ...]:
    return _oins(value) if value.strip() else ()


def _oin(value: str) -> str:
    return _oins(value)[0]


def _level(value: str) -> str:
    if value.upper() not in _LEVELS:
        raise ValueError(f"it must be one of {', '.join(_LEVELS)}")
    return value.upper()


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"it must look like {schemes[0]}://user:password@host:port/…")
        return value

    return parse


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in."""

    host: str
    port: int
    tls: bool  #: from the first byte; else STARTTLS
    user: str  #: empty: nobody logs in

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        return f"{'smtps' if self.tls else 'smtp'}://{user}{self.host}:{self.port}"


def _mail_server(value: str) -> MailServer:
    try:
        parts = urlsplit(value)
        tls = parts.scheme == "smtps"
        usable = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.path in ("", "/") and not parts.query
        found = MailServer(parts.hostname or "", parts.port or (465 if tls else 587), tls, unquote(parts.username or ""))
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it must look like smtp://user@host:587 (STARTTLS) or smtps://user@host:465")
    if parts.password is not None:
        raise ValueError("the password must not stand in it; put it in a file that KOPPELPUNT_MAIL_PASSWORD names")
    return found


def _mail_address(value: str) -> str:
    if not re.match(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}\Z", value):
        raise ValueError("it must be an e-mail address, such as koppelpunt@example.nl")
    return value


def _steps(value: str) -> tuple[Step, ...]:
    found = []
    for part in _list(value):
        match = re.match(r"([1-9][0-9]{0,6}):([0-9]{1,3})%\Z", part)
        if match is None or int(match.group(2)) > 100:
            raise ValueError("it must be numbers and shares such as 5:50%,20:10%,100:1%,1000:0%")
        found.append(Step(int(match.group(1)), int(match.group(2))))
    if not found:
        raise ValueError("at least one number with its share is needed")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Step:
    """At least so many, when they are at least this percentage of all."""

    count: int
    percent: int

    def __str__(self) -> str:
        return f"{self.count}:{self.percent}%"


def _store(value: str) -> str:
    if not re.match(r"(sqlite|postgresql)(\+[a-z0-9_]+)?://", value):
        raise ValueError("it must start with sqlite:// or postgresql+psycopg://")
    return value


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.match(r"[0-9]{1,9}\Z", value) or not least <= int(value) <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return parse


def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part) for part in _list(value))
    except ValueError as error:
        raise ValueError(f"one of its networks is none ({error}); write 10.1.0.0/16 or 127.0.0.1/32") from None


_port = _number(1, 65_535)
_port_or_none = _number(0, 65_535)


def _source(value: str) -> str:
    if value not in ("own", "remote", "first"):
        raise ValueError("it must be own, remote or first")
    return value


def _clock(value: str) -> tuple[str, ...]:
    named = _list(value)
    if named == ("none",):
        return ()
    if not named or set(named) - {"store", "kernel"}:
        raise ValueError("it must be store, kernel, store,kernel or none")
    return named


def _claims(value: str) -> tuple[tuple[str, str, str], ...]:
    found = [re.match(r"([^:=]+):(.+)=([a-z_]+)\Z", part) for part in _list(value)]
    if not all(found):
        raise ValueError("each part must look like claim:value=role, such as groups:ketenregie=chain_manager")
    return tuple((one[1], one[2], one[3]) for one in found if one)


def _roles(value: str) -> tuple[str, ...]:
    named = _list(value)
    if named == ("none",):
        return ()
    if unknown := set(named) - set(_PEOPLE):
        raise ValueError(f"there is no role {sorted(unknown)[0][:40]!r}: it must be some of {', '.join(_PEOPLE)}, or none")
    return named


def _host(value: str) -> str:
    if not re.match(r"[0-9A-Za-z.:-]{1,253}\Z", value):
        raise ValueError("it must be an address or a name of this machine, such as 127.0.0.1")
    return value


def _setting(name: str, meaning: str, parse: Callable[[str], Any], default: str | None) -> Any:
    """A field that comes from the environment. `{home}` in a default is the home folder; None means: not set."""
    return field(metadata={"name": name, "meaning": meaning, "parse": parse, "default": default})


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `run.py settings`; safe to print."""

    name: str  #: of the environment variable
    value: str  #: as it is used now, passwords masked; empty when not set
    default: str
    meaning: str
    is_set: bool  #: whether the environment names it


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Each field is one environment variable; nothing else reads the environment."""

    home: Path = _setting("KOPPELPUNT_HOME", "folder that holds all state: store, broker, keys", _path, "var")
    amqp_url: str | None = _setting("AMQP_URL", "broker to use; not set: a private RabbitMQ node in the home", _url("amqps", "amqp"), None)
    amqp_management: str | None = _setting(
        "KOPPELPUNT_AMQP_MANAGEMENT",
        "management address (https://user:password@host:15671) of the broker in AMQP_URL, to apply the topology",
        _url("https", "http"),
        None,
    )
    store: str = _setting("KOPPELPUNT_STORE", "SQLAlchemy address of the store", _store, "sqlite:///{home}/koppelpunt.db")
    master_key: Path = _setting("KOPPELPUNT_MASTER_KEY", "file with the key that wraps all message keys", _path, "{home}/master.key")
    portal_secrets: Path = _setting(
        "KOPPELPUNT_PORTAL_SECRETS", "file with the keys that the portal has instead of the master key", _path, "{home}/portal.secrets"
    )
    own_oins: tuple[str, ...] = _setting("KOPPELPUNT_OIN", "our own OINs, separated by commas; the first one signs", _oins, OUR_TEST_OIN)
    diensten: tuple[Path, ...] = _setting("KOPPELPUNT_DIENSTEN", f"extra folders with diensten, separated by {os.pathsep!r}", _paths, "")
    trust: Path | None = _setting("KOPPELPUNT_TRUST", "PEM file with the CA certificates we trust", _path, None)
    crl: tuple[str, ...] = _setting("KOPPELPUNT_CRL", "revocation lists: files or addresses, separated by commas", _list, "")
    key: Path | None = _setting("KOPPELPUNT_KEY", "PEM file with our private signing key", _path, None)
    cert: Path | None = _setting("KOPPELPUNT_CERT", "PEM file with our certificate and its chain", _path, None)
    amqp_port: int = _setting("KOPPELPUNT_AMQP_PORT", "port of the private broker, on this machine only", _port, "5673")
    gateway_host: str = _setting(
        "KOPPELPUNT_GATEWAY_HOST", "address the gateway listens on; 0.0.0.0: every one of this machine", _host, "127.0.0.1"
    )
    gateway_url: str | None = _setting(
        "KOPPELPUNT_GATEWAY_URL",
        "the gateway's address as senders know it, for the WSDLs; not set: localhost and its port",
        _url("https"),
        None,
    )
    gateway_port: int = _setting("KOPPELPUNT_GATEWAY_PORT", "port of the gateway (https)", _port, "8443")
    gateway_connections: int = _setting(
        "KOPPELPUNT_GATEWAY_CONNECTIONS", "connections of a gateway process at a time, at most", _number(10, 100_000), "2500"
    )
    gateway_connections_per_address: int = _setting(
        "KOPPELPUNT_GATEWAY_CONNECTIONS_PER_ADDRESS",
        "of those, from one address, at most; behind a load balancer that hides its clients' addresses, as many as all",
        _number(10, 100_000),
        "500",
    )
    register_reads: int = _setting(
        "KOPPELPUNT_REGISTER_READS",
        "how often a minute one certificate may read endpoints through the register's API, and as often lists of schools; "
        "of each gateway process",
        _number(1, 1_000_000),
        "600",
    )
    register_endpoints: int = _setting(
        "KOPPELPUNT_REGISTER_ENDPOINTS",
        "endpoints, those that are over included, that one system may have in the register; an operator may add more",
        _number(1, 10_000_000),
        "100000",
    )
    portal_host: str = _setting(
        "KOPPELPUNT_PORTAL_HOST", "address the portal listens on; 0.0.0.0: every one of this machine", _host, "127.0.0.1"
    )
    portal_port: int = _setting("KOPPELPUNT_PORTAL_PORT", "port of the portal (http; https with a certificate of its own)", _port, "8080")
    api_calls: int = _setting(
        "KOPPELPUNT_API_CALLS",
        "how often a minute one API token may ask the portal; of each portal process",
        _number(1, 1_000_000),
        "600",
    )
    portal_url: str | None = _setting(
        "KOPPELPUNT_PORTAL_URL",
        "the portal's address as browsers know it, https://portal.example; not set: localhost and its port",
        _url("https", "http"),
        None,
    )
    portal_key: Path | None = _setting("KOPPELPUNT_PORTAL_KEY", "PEM file with the private key of the portal's certificate", _path, None)
    portal_cert: Path | None = _setting(
        "KOPPELPUNT_PORTAL_CERT", "PEM file with the portal's own certificate and its chain; not set: http, for a proxy", _path, None
    )
    portal_proxies: tuple[Network, ...] = _setting(
        "KOPPELPUNT_PORTAL_PROXIES", "networks of the proxies before the portal, whose X-Forwarded-For counts", _networks, ""
    )
    portal_second_factor: tuple[str, ...] = _setting(
        "KOPPELPUNT_PORTAL_SECOND_FACTOR",
        "local accounts with one of these roles must have a second factor, and set one up at their next sign-in; none: nobody must",
        _roles,
        "chain_manager,operator,auditor",
    )
    portal_one_time_h: int = _setting(
        "KOPPELPUNT_PORTAL_ONE_TIME_H",
        "hours for which a password is good that `account add` or `account reset` made",
        _number(1, 8_760),
        "72",
    )
    oidc_token_days: int = _setting(
        "KOPPELPUNT_OIDC_TOKEN_DAYS",
        "days after its owner's last sign-in at the identity provider for which an API token counts",
        _number(1, 730),
        "30",
    )
    oidc_issuer: str | None = _setting(
        "KOPPELPUNT_OIDC_ISSUER", "issuer of the identity provider with which people sign in (OpenID Connect)", _url("https", "http"), None
    )
    oidc_client: str | None = _setting("KOPPELPUNT_OIDC_CLIENT", "our client id there", _text, None)
    oidc_secret: Path | None = _setting(
        "KOPPELPUNT_OIDC_SECRET", "file with our client secret there; not set: a public client", _path, None
    )
    oidc_name: str | None = _setting("KOPPELPUNT_OIDC_NAME", "how the button calls it; not set: the issuer's host", _text, None)
    oidc_roles: tuple[tuple[str, str, str], ...] = _setting(
        "KOPPELPUNT_OIDC_ROLES",
        "which roles its claims give: claim:value=role, separated by commas, such as groups:ketenregie=chain_manager",
        _claims,
        "",
    )
    oidc_organisations: str = _setting(
        "KOPPELPUNT_OIDC_ORGANISATIONS", "claim with the OINs of a person's organisations", _text, "organisations"
    )
    oidc_systems: str = _setting("KOPPELPUNT_OIDC_SYSTEMS", "claim with the OINs of a person's systems", _text, "systems")
    metrics_host: str = _setting("KOPPELPUNT_METRICS_HOST", "address on which health and metrics are shown", _host, "127.0.0.1")
    metrics_port: int = _setting(
        "KOPPELPUNT_METRICS_PORT",
        "first port of health and metrics (http); each process takes the next free one; 0: none",
        _port_or_none,
        "9464",
    )
    clock: tuple[str, ...] = _setting(
        "KOPPELPUNT_CLOCK",
        "what readiness checks the clock against: store (the PostgreSQL server), kernel (a time service keeps it right), both, or none",
        _clock,
        "store",
    )
    snapshot_hours: int = _setting(
        "KOPPELPUNT_SNAPSHOT_HOURS",
        "hours for which a signed snapshot of our register is good, for whoever follows it; 0: none is made",
        _number(0, 8_784),
        "0",
    )
    followers: tuple[str, ...] = _setting(
        "KOPPELPUNT_FOLLOWERS", "OINs of the systems that may fetch those snapshots, separated by commas", _oins_or_none, ""
    )
    follow_url: str | None = _setting(
        "KOPPELPUNT_FOLLOW_URL",
        "another register to follow instead of keeping one: the address of its snapshots, https://host:8443/osr/api/v2/snapshot",
        _url("https"),
        None,
    )
    follow_oin: str | None = _setting("KOPPELPUNT_FOLLOW_OIN", "OIN of whoever keeps and signs that register", _oin, None)
    register_source: str = _setting(
        "KOPPELPUNT_REGISTER_SOURCE",
        "who says who may act for whom and where to deliver: own (our register), remote (the one at KOPPELPUNT_OSR_URL), or first "
        "(ours, and the other where ours has nothing for the day)",
        _source,
        "own",
    )
    osr_url: str | None = _setting(
        "KOPPELPUNT_OSR_URL",
        "another register's API v2, such as https://osr.example/api/v2: what comes before /endpoints",
        _url("https"),
        None,
    )
    osr_key: Path | None = _setting("KOPPELPUNT_OSR_KEY", "file with our API key there", _path, None)
    osr_keep_s: int = _setting(
        "KOPPELPUNT_OSR_KEEP_S",
        "seconds for which a mandate or endpoint of the other register is believed without asking again",
        _number(1, 3_600),
        "300",
    )
    osr_per_minute: int = _setting(
        "KOPPELPUNT_OSR_PER_MINUTE", "questions a minute to the other register, of each process of ours", _number(6, 60_000), "300"
    )
    skew_s: int = _setting("KOPPELPUNT_SKEW_S", "seconds a sender's clock may differ from ours", _number(0, 3_600), "300")
    push_window: int = _setting("KOPPELPUNT_PUSH_WINDOW", "open releases per push endpoint", _number(1, 1_000), "20")
    push_answer_s: int = _setting("KOPPELPUNT_PUSH_ANSWER_S", "seconds an endpoint has for its whole answer", _number(1, 600), "30")
    push_networks: tuple[Network, ...] = _setting(
        "KOPPELPUNT_PUSH_NETWORKS",
        "networks that endpoints may be in though they are not public, such as 10.1.0.0/16; separated by commas",
        _networks,
        "",
    )
    mailbox_window: int = _setting("KOPPELPUNT_MAILBOX_WINDOW", "open deliveries shown per mailbox", _number(1, 1_000), "1000")
    approve_above: int = _setting(
        "KOPPELPUNT_APPROVE_ABOVE",
        "an action on more messages than this waits until a second person approves it",
        _number(0, 1_000_000),
        "500",
    )
    jobs_kept_days: int = _setting(
        "KOPPELPUNT_JOBS_KEPT_DAYS",
        "days for which a job that is done or cancelled is kept, with what became of each of its messages",
        _number(30, 3_650),
        "400",
    )
    batch_size: int = _setting("KOPPELPUNT_BATCH_SIZE", "messages a worker takes at once, at most", _number(1, 1_000), "200")
    batch_ms: int = _setting("KOPPELPUNT_BATCH_MS", "milliseconds a worker waits to fill its batch, at most", _number(0, 1_000), "5")
    mail_server: MailServer | None = _setting(
        "KOPPELPUNT_MAIL_SERVER",
        "mail server that alerts go through: smtp://user@host:587 (STARTTLS) or smtps://user@host:465; not set: no mail is sent",
        _mail_server,
        None,
    )
    mail_password: Path | None = _setting("KOPPELPUNT_MAIL_PASSWORD", "file with the password for the mail server", _path, None)
    mail_from: str = _setting("KOPPELPUNT_MAIL_FROM", "sender of that mail", _mail_address, "koppelpunt@localhost")
    alert_ca: Path | None = _setting(
        "KOPPELPUNT_ALERT_CA",
        "PEM file with the CAs that mail server and webhooks are checked against; not set: those of this machine",
        _path,
        None,
    )
    alert_steps: tuple[Step, ...] = _setting(
        "KOPPELPUNT_ALERT_STEPS",
        "when failures of one cause are an alert: numbers in an hour or a day, each with the share of the traffic that is enough then",
        _steps,
        "5:50%,20:10%,100:1%,1000:0%",
    )
    alert_escalate_h: int = _setting(
        "KOPPELPUNT_ALERT_ESCALATE_H", "hours after which the next contact is told of an alert that nobody took", _number(1, 168), "4"
    )
    digest_hour: int = _setting(
        "KOPPELPUNT_DIGEST_HOUR",
        "hour, in Amsterdam, from which the daily digest is sent, and on Mondays the weekly report",
        _number(0, 23),
        "8",
    )
    log_level: str = _setting("KOPPELPUNT_LOG_LEVEL", f"{', '.join(_LEVELS)}", _level, "INFO")
    named: frozenset[str] = frozenset()  #: the variables that were set

    @property
    def gateway_address(self) -> str:
        """The gateway's URL as senders know it, without a path."""
        return (self.gateway_url or f"https://localhost:{self.gateway_port}").rstrip("/")

    @property
    def portal_https(self) -> bool:
        """Whether browsers reach the portal over TLS, here or at a proxy."""
        return self.portal_cert is not None if self.portal_url is None else self.portal_url.startswith("https://")

    @property
    def portal_address(self) -> str:
        """The portal's URL as browsers know it, without a path."""
        return (self.portal_url or f"http{'s' if self.portal_https else ''}://localhost:{self.portal_port}").rstrip("/")

    @classmethod
    def from_environment(cls, env: Mapping[str, str], home: Path | None = None) -> Settings:
        """Reads all settings; `home` (the command line's --home) goes before KOPPELPUNT_HOME. An empty value counts as not set.

        Raises SettingsError.
        """
        given = {name: value for name, value in env.items() if value and (name in _UNPREFIXED or name.startswith(_PREFIX))}
        known = [f.metadata["name"] for f in _fields()]
        for name in sorted(given.keys() - known):
            # without what they all begin with: that is no likeness
            short = {one.removeprefix(_PREFIX): one for one in known}
            near = difflib.get_close_matches(name.removeprefix(_PREFIX), short, n=1, cutoff=0.7)
            hint = f"did you mean {short[near[0]]}?" if near else "`run.py settings` lists the ones that exist."
            raise SettingsError(f"There is no setting {name[:60]}; {hint}")
        if home is not None:
            given["KOPPELPUNT_HOME"] = str(home)
        read = {f.name: _read(f.metadata, given, "") for f in _fields() if f.name == "home"}
        read["home"] = read["home"].absolute()
        read |= {f.name: _read(f.metadata, given, str(read["home"])) for f in _fields() if f.name != "home"}
        if (read["key"] is None) != (read["cert"] is None):
            raise SettingsError("KOPPELPUNT_KEY and KOPPELPUNT_CERT belong together: set both, or neither.")
        if (read["portal_key"] is None) != (read["portal_cert"] is None):
            raise SettingsError("KOPPELPUNT_PORTAL_KEY and KOPPELPUNT_PORTAL_CERT belong together: set both, or neither.")
        if read["oidc_issuer"] and not (read["oidc_client"] and read["oidc_roles"]):
            raise SettingsError("KOPPELPUNT_OIDC_ISSUER also needs KOPPELPUNT_OIDC_CLIENT and KOPPELPUNT_OIDC_ROLES.")
        return cls(**read, named=frozenset(given))

    def rows(self) -> list[SettingRow]:
        """All settings with value, default and meaning, in the order of this file."""
        return [
            SettingRow(
                name=f.metadata["name"],
                value=mask(_shown(getattr(self, f.name))),
                default=(f.metadata["default"] or "").format(home="HOME"),
                meaning=f.metadata["meaning"],
                is_set=f.metadata["name"] in self.named,
            )
            for f in _fields()
        ]

    def warnings(self) -> list[str]:
        """Sentences about settings that work but should not stay so (design section 4: AMQPS wherever it leaves the machine)."""
        parts, found = urlsplit(self.amqp_url or ""), []
        if parts.scheme == "amqp" and parts.hostname not in LOOPBACK:
            found.append(f"AMQP_URL reaches {parts.hostname} without encryption; use amqps:// as soon as the broker is on another machine.")
        if self.portal_host not in LOOPBACK and not self.portal_https:
            found.append(
                f"The portal listens on {self.portal_host} without encryption: passwords can be read on the way. Give it "
                "KOPPELPUNT_PORTAL_CERT and KOPPELPUNT_PORTAL_KEY, or put a TLS proxy before it and set KOPPELPUNT_PORTAL_URL to https://…"
            )
        if self.portal_https and self.portal_cert is None and not self.portal_proxies:
            found.append(
                "KOPPELPUNT_PORTAL_URL is https, so a proxy is before the portal; name it in KOPPELPUNT_PORTAL_PROXIES, or everybody "
                "who signs in has its address, and a few wrong passwords keep all others out too."
            )
        return found

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{row.name}={row.value!r}' for row in self.rows() if row.is_set)})"


def _fields() -> list[Any]:
    return [f for f in fields(Settings) if f.metadata]


def _read(metadata: Mapping[str, Any], given: Mapping[str, str], home: str) -> Any:
    name, default = metadata["name"], metadata["default"]
    if name not in given and default is None:
        return None
    try:
        return metadata["parse"](given[name] if name in given else default.format(home=home))
    except ValueError as error:
        raise SettingsError(f"{name} is set to {mask(given[name])[:80]!r}, but {error}.") from error


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        if value and isinstance(value[0], tuple):
            return ",".join(f"{claim}:{has}={role}" for claim, has, role in value)
        return (os.pathsep if value and isinstance(value[0], Path) else ",").join(map(str, value))
    return "" if value is None else str(value)
