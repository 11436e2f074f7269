"""Signing in at an identity provider: OpenID Connect Core 1.0, code flow (3.1) with PKCE (RFC 7636), state and nonce.

The id_token is the only thing that says who somebody is: its signature, issuer, audience, times and nonce are checked (3.1.3.7).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from routing.people import EMAIL_SHAPE, Account, AccountError, Flow, SignInRefused, Source, new_account, new_secret

#: Seconds for one answer of the provider; bytes of it; seconds for which its description is good, and after which keys are fetched again
#: for a token that was signed with one we do not have.
ANSWER_S, LARGEST, DESCRIPTION_S, KEYS_AGAIN_S = 10.0, 256 * 1024, 3_600.0, 30.0
#: Seconds that the provider's clock may differ from ours.
SKEW_S: Final = 60
#: No `none`, and nothing that is keyed with what we share with the provider.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Where the provider says what somebody is to us. `a.b` names what is inside something else."""

    roles: Mapping[tuple[str, str], str]  #: (claim, value that it has or that is in it) -> our role
    organisations: str = "organisations"
    systems: str = "systems"


class Provider:
    """One identity provider (`routing.people.IdentityProvider`). Used on one event loop."""

    def __init__(
        self, issuer: str, client: str, secret: str | None, claims: Claims, *, now: Callable[[], float] = time.time, name: str | None = None
    ) -> None:
        """`secret`: None for a public client, which PKCE protects alone. `name`: as the button says it."""
        self._issuer, self._client, self._secret, self._claims, self._now = issuer, client, secret, claims, now
        #: In the names of its accounts: another issuer's `sub` is another person (OpenID Connect Core 5.7).
        self._mark = hashlib.sha256(issuer.encode()).hexdigest()[:8]
        self.name = name or urlsplit(issuer).hostname or issuer
        self._session: aiohttp.ClientSession | None = None
        self._description: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._described_at = self._keys_at = float("-inf")

    def __repr__(self) -> str:
        return f"Provider({self._issuer!r}, client={self._client!r})"

    async def close(self) -> None:
        """Ends its connections."""
        if self._session is not None:
            await self._session.close()

    async def begin(self, redirect: str) -> tuple[str, Flow]:
        """See `routing.people.IdentityProvider`."""
        flow = Flow(state=new_secret(), nonce=new_secret(), verifier=new_secret() + new_secret())
        where: str = prepare_grant_uri(
            (await self._described())["authorization_endpoint"],
            self._client,
            "code",
            redirect,
            "openid profile email",
            flow.state,
            nonce=flow.nonce,
            code_challenge=create_s256_code_challenge(flow.verifier),
            code_challenge_method="S256",
        )
        return where, flow

    async def finish(self, flow: Flow, answer: Mapping[str, Any], redirect: str) -> Account:
        """See `routing.people.IdentityProvider`."""
        if not hmac.compare_digest(str(answer.get("state", "")).encode(errors="replace"), flow.state.encode()):
            raise SignInRefused("the answer belongs to another sign-in (state)")
        if answer.get("iss", self._issuer) != self._issuer:
            raise SignInRefused("the answer comes from another provider (iss, RFC 9207)")
        if "error" in answer:
            raise SignInRefused(f"the provider refused: {_word(answer['error'])}")
        if not answer.get("code"):
            raise SignInRefused("the answer has no code")
        tokens = await self._tokens(str(answer["code"]), flow, redirect)
        return self._account(await self._claims_of(tokens, flow))

    # -- what the provider says ------------------------------------------------------------------------------------------------------------

    async def _described(self) -> dict[str, Any]:
        """Its description (OpenID Connect Discovery 1.0, 4)."""
        if time.monotonic() - self._described_at > DESCRIPTION_S:
            found = await self._ask("GET", get_well_known_url(self._issuer, external=True))
            if found.get("issuer") != self._issuer:
                raise SignInRefused("the provider describes another issuer than KOPPELPUNT_OIDC_ISSUER")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not is_safe(found.get(name)):
                    raise SignInRefused(f"the provider's {name} is no https address")
            self._description, self._described_at = found, time.monotonic()
        return self._description

    async def _tokens(self, code: str, flow: Flow, redirect: str) -> dict[str, Any]:
        described = await self._described()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": flow.verifier}
        headers = {}
        if self._secret is None:
            form["client_id"] = self._client
        elif "client_secret_basic" in described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            credentials = aiohttp.encode_basic_auth(quote(self._client, safe=""), quote(self._secret, safe=""))  # RFC 6749, 2.3.1
            headers["Authorization"] = credentials
        else:
            form |= {"client_id": self._client, "client_secret": self._secret}
        return await self._ask("POST", described["token_endpoint"], data=form, headers=headers)

    async def _claims_of(self, tokens: Mapping[str, Any], flow: Flow) -> Mapping[str, Any]:
        raw = tokens.get("id_token")
        if not isinstance(raw, str):
            raise SignInRefused("the provider gave no id_token")
        try:
            token = await self._decoded(raw)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {"iss": {"essential": True, "value": self._issuer}, "aud": {"essential": True, "value": self._client}},
                {"nonce": flow.nonce, "client_id": self._client, "access_token": tokens.get("access_token")},
            )
            claims.validate(now=int(self._now()), leeway=SKEW_S)
        except (JoseError, ValueError) as error:
            raise SignInRefused(
                f"the id_token is not good: {_word(getattr(error, 'error', type(error).__name__))} {_word(error)}"
            ) from None
        return dict(claims)

    async def _decoded(self, raw: str) -> jwt.Token:
        """A token whose signature is the provider's. Raises JoseError, ValueError or SignInRefused."""
        if self._keys is not None:
            try:
                return jwt.decode(raw, self._keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):
                if time.monotonic() - self._keys_at < KEYS_AGAIN_S:
                    raise
        self._keys = KeySet.import_key_set(await self._ask("GET", (await self._described())["jwks_uri"]))  # type: ignore[arg-type]
        self._keys_at = time.monotonic()
        return jwt.decode(raw, self._keys, algorithms=list(ALGORITHMS))

    async def _ask(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S), cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(method, url, allow_redirects=False, **more) as answer:
                raw = await answer.content.read(LARGEST + 1)
                while len(raw) <= LARGEST and not answer.content.at_eof():
                    raw += await answer.content.read(LARGEST + 1 - len(raw))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SignInRefused(f"the provider cannot be reached: {type(error).__name__}") from None
        if len(raw) > LARGEST:
            raise SignInRefused("the provider's answer is too large")
        try:
            said = json.loads(raw)
        except ValueError:
            said = None
        if answer.status != 200 or not isinstance(said, dict):
            why = _word(said["error"]) if isinstance(said, dict) and "error" in said else "no JSON object"
            raise SignInRefused(f"the provider answered {answer.status}: {why}")
        return said

    # -- what that makes of somebody here --------------------------------------------------------------------------------------------------

    def _account(self, claims: Mapping[str, Any]) -> Account:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise SignInRefused("the id_token's sub is no name")
        roles = {role for (claim, value), role in self._claims.roles.items() if value in _values(claims, claim)}
        if not roles:
            raise SignInRefused("KOPPELPUNT_OIDC_ROLES gives this person no role")
        organisations, systems = _values(claims, self._claims.organisations), _values(claims, self._claims.systems)
        label = next((claims[name] for name in ("name", "preferred_username") if isinstance(claims.get(name), str)), "")
        email = claims.get("email") if claims.get("email_verified") is not False else None
        try:
            return new_account(
                f"oidc:{self._mark}:{subject}",
                roles,
                organisations=organisations,
                systems=systems,
                source=Source.OIDC,
                label=_word(label, 100),
                email=email if isinstance(email, str) and EMAIL_SHAPE.match(email) else "",
            )
        except AccountError as error:
            raise SignInRefused(str(error).rstrip(".")) from None


def is_safe(url: object) -> bool:
    """Whether nobody on the way can read along: https, or a provider on this very machine."""
    parts = urlsplit(url) if isinstance(url, str) else None
    return parts is not None and bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)


def _values(claims: Mapping[str, Any], path: str) -> Sequence[str]:
    """The texts that a claim has: itself, or those in its list."""
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _word(text: object, longest: int = 60) -> str:
    """What others wrote, as far as it may stand in a line of ours."""
    return "".join(c for c in str(text) if c.isprintable())[:longest]
