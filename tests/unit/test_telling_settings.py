"""Settings of alerts: what can be typed wrong is said in one sentence, and no password is shown."""

from __future__ import annotations

import pytest

from adapters.telling import rules, senders
from adapters.vault import Vault
from broker_config.settings import MailServer, Settings, SettingsError
from routing.alerts import Rules
from routing.contacts import Channel


def read(**given: str) -> Settings:
    return Settings.from_environment({f"KOPPELPUNT_{name}": value for name, value in given.items()})


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("smtp://mail.example.nl", MailServer("mail.example.nl", 587, False, "")),
        ("smtps://kp%40example.nl@mail.example.nl", MailServer("mail.example.nl", 465, True, "kp@example.nl")),
        ("smtp://kp@mail.example.nl:2525/", MailServer("mail.example.nl", 2525, False, "kp")),
    ],
)
def test_a_mail_server_is_read_and_shown_as_it_was_written(text: str, server: MailServer) -> None:
    settings = read(MAIL_SERVER=text)
    assert settings.mail_server == server
    assert read(MAIL_SERVER=str(server)).mail_server == server
    assert Channel.EMAIL in senders(settings, Vault(b"k" * 32))


def test_without_a_mail_server_there_is_no_mail() -> None:
    assert list(senders(read(), Vault(b"k" * 32))) == [Channel.WEBHOOK]


@pytest.mark.parametrize("text", ["mail.example.nl", "http://mail.example.nl", "smtp://", "smtp://host/x", "smtp://host:0x1"])
def test_what_is_no_mail_server_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="smtp://user@host:587"):
        read(MAIL_SERVER=text)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="KOPPELPUNT_MAIL_PASSWORD") as refused:
        read(MAIL_SERVER="smtp://kp:geheim@mail.example.nl")
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("text", ["5", "5:50", "0:50%", "5:101%", "5:50%;20:10%"])
def test_steps_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="5:50%,20:10%"):
        read(ALERT_STEPS=text)


def test_no_steps_at_all_would_never_alert_and_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least one number"):
        read(ALERT_STEPS=",")


def test_the_rules_are_as_the_settings_say_and_by_default_as_the_code_says() -> None:
    assert rules(read()) == Rules()
    changed = rules(read(ALERT_STEPS="3:100%", ALERT_ESCALATE_H="1", DIGEST_HOUR="6"))
    assert (changed.steps, changed.escalate_after.total_seconds(), changed.digest_at.hour) == (((3, 1.0),), 3_600, 6)


@pytest.mark.parametrize("text", ["koppelpunt", "a@b\nc", "Naam <a@b.nl>"])
def test_a_sender_is_one_address(text: str) -> None:
    with pytest.raises(SettingsError, match="must be an e-mail address"):
        read(MAIL_FROM=text)
