"""Settings: read once, explained, and never shown with a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_config.settings import Settings, SettingsError, mask
from routing.people import Role


def read(**env: str) -> Settings:
    return Settings.from_environment(env)


def test_without_any_setting_everything_lives_under_var() -> None:
    settings = read(PATH="/bin", HOME="/root")
    assert settings.home == Path("var").absolute()
    assert settings.store == f"sqlite:///{settings.home}/koppelpunt.db"
    assert settings.master_key == settings.home / "master.key"
    assert (settings.amqp_url, settings.amqp_port, settings.own_oins) == (None, 5673, ("00000099000000010000",))
    assert not any(row.is_set for row in settings.rows())


def test_the_command_line_decides_where_home_is() -> None:
    settings = Settings.from_environment({"KOPPELPUNT_HOME": "/env"}, home=Path("/line {x}"))
    assert settings.home == Path("/line {x}")
    assert settings.master_key == Path("/line {x}/master.key")


def test_lists_are_split_and_an_empty_value_is_no_value() -> None:
    settings = read(KOPPELPUNT_CRL="a.pem, https://x/b.crl", KOPPELPUNT_DIENSTEN="/a:/b", KOPPELPUNT_SKEW_S="", KOPPELPUNT_TRUST="")
    assert settings.crl == ("a.pem", "https://x/b.crl")
    assert settings.diensten == (Path("/a"), Path("/b"))
    assert (settings.skew_s, settings.trust) == (300, None)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("KOPPELPUNT_HOEM", "x", "There is no setting KOPPELPUNT_HOEM; did you mean KOPPELPUNT_HOME?"),
        ("KOPPELPUNT_BOGUS", "x", "There is no setting KOPPELPUNT_BOGUS; `run.py settings` lists"),
        ("KOPPELPUNT_GATEWAY_PROT", "x", "There is no setting KOPPELPUNT_GATEWAY_PROT; did you mean KOPPELPUNT_GATEWAY_PORT?"),
        ("KOPPELPUNT_ZZZZZZZZZZZZZZZZZZZZ", "x", "There is no setting KOPPELPUNT_Z{20}; `run.py settings` lists"),
        ("KOPPELPUNT_AMQP_PORT", "70000", "KOPPELPUNT_AMQP_PORT is set to '70000', but it must be a whole number from 1 to 65535."),
        ("KOPPELPUNT_AMQP_PORT", "-1", "must be a whole number"),
        ("KOPPELPUNT_MAILBOX_WINDOW", "1001", "from 1 to 1000"),
        ("KOPPELPUNT_OIN", "123", "not an OIN of 20 positions"),
        ("KOPPELPUNT_OIN", ",", "at least one OIN"),
        ("KOPPELPUNT_LOG_LEVEL", "LOUD", "must be one of DEBUG"),
        ("KOPPELPUNT_STORE", "mysql://x", "must start with sqlite:// or postgresql"),
        ("AMQP_URL", "http://x", "must look like amqps://"),
        ("AMQP_URL", "amqp://u:geheim@", r"'amqp://u:\*\*\*@', but it must look like amqps"),
        ("KOPPELPUNT_PORTAL_SECOND_FACTOR", "auditor,keizer", "there is no role 'keizer': it must be some of chain_manager, operator"),
        ("KOPPELPUNT_PORTAL_SECOND_FACTOR", "none,auditor", "there is no role 'none'"),
        ("KOPPELPUNT_KEY", "k.pem", "KOPPELPUNT_KEY and KOPPELPUNT_CERT belong together"),
    ],
)
def test_a_setting_that_cannot_be_is_said_in_one_sentence(name: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        read(**{name: value})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("shown", "masked"),
    [
        ("amqps://backbone:geheim@mq", "amqps://backbone:***@mq"),
        ("postgresql+psycopg://u:ge:he@im@db/x", "postgresql+psycopg://u:***@db/x"),
        (
            "postgresql+psycopg://db/x?user=u&password=geheim&sslmode=require",
            "postgresql+psycopg://db/x?user=u&password=***&sslmode=require",
        ),
        ("sqlite:////var/koppelpunt.db", "sqlite:////var/koppelpunt.db"),
        ("amqp://127.0.0.1:5672/vhost", "amqp://127.0.0.1:5672/vhost"),
    ],
)
def test_a_password_is_masked_wherever_it_stands(shown: str, masked: str) -> None:
    assert mask(shown) == masked


def test_no_listing_and_no_repr_shows_a_password() -> None:
    settings = read(AMQP_URL="amqps://b:geheim@mq/v", KOPPELPUNT_STORE="postgresql+psycopg://u:geheim@db/x")
    assert settings.amqp_url == "amqps://b:geheim@mq/v"
    assert "geheim" not in repr(settings) and "geheim" not in str(settings.rows())
    assert "AMQP_URL='amqps://b:***@mq/v'" in repr(settings)


def test_who_must_have_a_second_factor_is_named_by_role() -> None:
    assert read().portal_second_factor == ("chain_manager", "operator", "auditor")
    assert read(KOPPELPUNT_PORTAL_SECOND_FACTOR="none").portal_second_factor == ()
    assert read(KOPPELPUNT_PORTAL_SECOND_FACTOR=",".join(Role)).portal_second_factor == tuple(Role), "every role there is"


def test_a_broker_elsewhere_without_encryption_is_warned_of() -> None:
    assert len(read(AMQP_URL="amqp://b:x@mq.example/v").warnings()) == 1
    assert read(AMQP_URL="amqp://b:x@127.0.0.1/v").warnings() == []
    assert read(AMQP_URL="amqps://b:x@mq.example/v").warnings() == []


def test_every_setting_is_explained_once() -> None:
    rows = read().rows()
    assert len({row.name for row in rows}) == len(rows) > 15
    assert all(row.meaning for row in rows)
