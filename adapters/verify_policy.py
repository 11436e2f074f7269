"""What a connection accepts of a message: the allow-lists of facts 3.3, and every variation that costs no security."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes

from adapters.soap import DEFAULT_LIMITS, RSA_SHA256, SHA256, Limits

#: The allow-lists of facts 3.3 (SIGN003, SIGN004); everything else is refused before any crypto.
SIGNATURE_METHODS: Final[Mapping[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        RSA_SHA256: hashes.SHA256(),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384": hashes.SHA384(),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512": hashes.SHA512(),
    }
)
DIGEST_METHODS: Final[Mapping[str, Callable[[bytes], hashlib._Hash]]] = MappingProxyType(
    {
        SHA256: hashlib.sha256,
        "http://www.w3.org/2001/04/xmldsig-more#sha384": hashlib.sha384,
        "http://www.w3.org/2001/04/xmlenc#sha512": hashlib.sha512,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPolicy:
    """What a connection accepts. The defaults take every variation that facts 3.2-3.7 list and that costs no security."""

    message_id_forms: Collection[str] = ("urn:uuid:", "uuid:", "")  #: what may stand before the UUID
    prefix_lists: bool = True  #: InclusiveNamespaces with a PrefixList, on transforms and on the canonicalisation method
    token_must_be_signed: bool = False  #: DUO's text asks for it, DUO's practice does not
    must_understand: bool | None = None  #: require (True) or refuse (False) mustUnderstand="1" on Security; None: either
    signature_methods: Collection[str] = tuple(SIGNATURE_METHODS)
    digest_methods: Collection[str] = tuple(DIGEST_METHODS)
    skew: timedelta = timedelta(minutes=5)  #: how far the sender's clock may be off, on both bounds (WB002)
    max_age: timedelta = timedelta(minutes=10)  #: of a message without Expires
    any_age: timedelta | None = None  #: over AMQP: Created may be this old, and a past Expires is no reason to refuse (design section 3)
    max_lifetime: timedelta | None = None  #: of Expires minus Created; None: no maximum
    own_oins: frozenset[str] | None = None  #: receivers we serve; a message for another is refused. None: any
    references: int = 64  #: at most so many in SignedInfo, and so many WS-Addressing headers
    limits: Limits = DEFAULT_LIMITS


EDUKOPPELING: Final = VerifyPolicy()
