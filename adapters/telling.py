"""How contacts are told: the channels and the rules that the settings ask for."""

from __future__ import annotations

from datetime import time, timedelta

from adapters.mail import Mail
from adapters.vault import Vault
from adapters.webhook import Webhook, check_secret, new_secret, seal_secret
from broker_config.settings import Settings
from routing.alerts import Rules
from routing.contacts import Channel
from routing.tellings import Sender


def senders(settings: Settings, vault: Vault) -> dict[Channel, Sender]:
    """The channels there are: no mail without a mail server."""
    found: dict[Channel, Sender] = {Channel.WEBHOOK: Webhook(vault, allowed=settings.push_networks, ca=settings.alert_ca)}
    if settings.mail_server is not None:
        found[Channel.EMAIL] = Mail(
            server=settings.mail_server, sender=settings.mail_from, password=settings.mail_password, ca=settings.alert_ca
        )
    return found


def rules(settings: Settings) -> Rules:
    """When something is an alert, and how soon who hears of it."""
    return Rules(
        steps=tuple((step.count, step.percent / 100) for step in settings.alert_steps),
        escalate_after=timedelta(hours=settings.alert_escalate_h),
        digest_at=time(settings.digest_hour),
    )


class WebhookSecrets:
    """Secrets that webhooks are signed with."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def make(self) -> str:
        """A new one."""
        return new_secret()

    def seal(self, contact: str, secret: str) -> bytes:
        """One as the store keeps it. Raises ValueError with a sentence when it is none."""
        check_secret(secret)
        return seal_secret(self._vault, contact, secret)
