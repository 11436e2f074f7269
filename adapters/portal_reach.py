"""How browsers reach the portal, and where people sign in, by the settings."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable

from adapters.credentials import FollowingContext
from adapters.errors import UsageError
from adapters.https import CIPHERS
from adapters.oidc import Claims, Provider, is_safe
from adapters.reloading import Following
from broker_config.settings import Settings
from routing.people import Role

#: Connections of one portal process at a time, and of one address.
MOST, MOST_OF_ADDRESS = 1_000, 300


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """TLS with the portal's own certificate, which may be replaced; None: a proxy does that. Raises OSError or ssl.SSLError."""
    key, cert = settings.portal_key, settings.portal_cert
    if key is None or cert is None:
        return None

    def make() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers(CIPHERS)
        made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        made.load_cert_chain(cert, key)
        return made

    return FollowingContext(Following("the portal's certificate", (key, cert), make))


def most_connections(settings: Settings) -> tuple[int, int]:
    """In all, and of one address: a browser keeps six, an office may have one address for all its people, and a proxy for everybody."""
    behind_a_proxy = settings.portal_proxies or (settings.portal_url is not None and settings.portal_cert is None)
    return MOST, MOST if behind_a_proxy else MOST_OF_ADDRESS


def proxied(settings: Settings) -> Callable[[str], bool]:
    """Says of an address whether it is one of our proxies'."""

    def is_proxy(address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in settings.portal_proxies)

    return is_proxy


def provider_of(settings: Settings) -> Provider | None:
    """The identity provider, if one is set. Raises UsageError or OSError."""
    if settings.oidc_issuer is None or settings.oidc_client is None:
        return None
    unknown = sorted({role for _, _, role in settings.oidc_roles} - set(Role))
    if unknown:
        raise UsageError(f"KOPPELPUNT_OIDC_ROLES names the role {unknown[0]!r}; there are {', '.join(Role)}.")
    if not is_safe(settings.oidc_issuer):
        raise UsageError("KOPPELPUNT_OIDC_ISSUER must be an https address.")
    secret = settings.oidc_secret.read_text(encoding="utf-8").strip() if settings.oidc_secret else None
    claims = Claims(
        roles={(claim, value): role for claim, value, role in settings.oidc_roles},
        organisations=settings.oidc_organisations,
        systems=settings.oidc_systems,
    )
    return Provider(settings.oidc_issuer, settings.oidc_client, secret, claims, name=settings.oidc_name)
