"""signxml as an independent second opinion on digests and signature value (design section 7). Slow: for tests, users and samples.

It finds ids anywhere and knows nothing of profile, certificates or time, so only a yes or no about the cryptography compares.
Known limits of signxml, where it may say no to what is right: a PrefixList with `#default` (lxml drops it), and one that is empty or
has anything but single spaces between its names (signxml then looks for a prefix without a name, and sometimes finds it).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature as CryptographyInvalid
from lxml import etree
from signxml import DigestAlgorithm, SignatureConfiguration, SignatureMethod, XMLVerifier
from signxml.exceptions import SignXMLException

from adapters import soap
from adapters.signature import SignatureBroken
from adapters.soap import DS, EXC_C14N, SOAP, WSSE, Limits
from schemas.envelope import Envelope
from schemas.faults import Fault

_SECURITY = f"{{{SOAP}}}Header/{{{WSSE}}}Security"
_METHODS = frozenset({SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512})
_DIGESTS = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What signxml says."""

    valid: bool
    reason: str  #: why not; empty when valid
    known_limit: str | None = None  #: set where signxml cannot judge this message


def ask(raw: bytes, *, limits: Limits = soap.DEFAULT_LIMITS) -> Opinion:
    """Whether every digest, and the signature value under the key in the token, is right. Raises Refused for what is no XML at all."""
    root = soap.parse(raw, limits=limits)
    lists = [str(element.get("PrefixList")) for element in root.iter(f"{{{EXC_C14N}}}InclusiveNamespaces")]
    limit = next((_limit(listed) for listed in lists if _limit(listed) is not None), None)
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(root.findtext(f"{_SECURITY}/{{{WSSE}}}BinarySecurityToken") or ""))
        references = root.findall(f"{_SECURITY}/{{{DS}}}Signature/{{{DS}}}SignedInfo/{{{DS}}}Reference")
        expected = SignatureConfiguration(
            require_x509=True,
            location=f"./{_SECURITY}/",
            expect_references=len(references),
            signature_methods=_METHODS,
            digest_algorithms=_DIGESTS,
            verification_time=certificate.not_valid_before_utc,  # validity is judged elsewhere
        )
        # No schema: Ids as toolkits make them need not be NCNames. Form is our own matter.
        XMLVerifier().verify(root, x509_cert=certificate, validate_schema=False, expect_config=expected)
    except (SignXMLException, CryptographyInvalid, etree.LxmlError, binascii.Error, ValueError, TypeError) as error:
        return Opinion(valid=False, reason=type(error).__name__, known_limit=limit)
    return Opinion(valid=True, reason="", known_limit=limit)


def _limit(prefix_list: str) -> str | None:
    if "#default" in prefix_list.split():
        return "signxml cannot honour #default in a PrefixList"
    if not prefix_list or prefix_list != " ".join(prefix_list.split()):
        return "signxml cannot read a PrefixList that is empty or has other than single spaces"
    return None


def disagreement(opinion: Opinion, verdict: Envelope | Fault) -> str | None:
    """A sentence when signxml and we differ on the cryptography; None when we agree, cannot compare, or know why."""
    if opinion.known_limit is not None:
        return None
    if isinstance(verdict, Envelope) and not opinion.valid:
        return f"we accept this message and signxml does not ({opinion.reason})"
    if isinstance(verdict, SignatureBroken) and opinion.valid:
        return f"signxml accepts this signature and we do not ({verdict.reason})"
    return None
