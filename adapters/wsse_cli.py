"""The commands `pki`, `sign` and `verify` (design section 8). They need no home, register, broker or store.

Imports stay light, because `verify` promises an answer within a second, start-up included: signxml comes in only with --second-opinion.
"""

from __future__ import annotations

import argparse
import json
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters import pki, verify_policy, wsse
from adapters.soap import Limits
from adapters.trust import TrustStore
from schemas.envelope import Envelope
from schemas.faults import Fault, Refused
from schemas.oin import Oin, parse_oin
from schemas.privacy import plain

#: A user may look at what arrives over HTTPS too; with these limits any input is answered within 1 s and 300 MB.
LIMITS: Final = Limits(size=8 << 20, markup=400_000)

# ---------------------------------------------------------------- pki


def pki_arguments(parser: argparse.ArgumentParser) -> None:
    """`pki init|issue|renew-crl`."""
    actions = parser.add_subparsers(dest="what", required=True, metavar="ACTION")
    init = actions.add_parser("init", help="make root, intermediate, ca.pem and crl.pem in a folder")
    init.add_argument("folder", type=Path, metavar="DIR")
    init.add_argument("--key-size", type=int, choices=(2048, 3072, 4096), default=2048, help="RSA bits (default 2048)")
    init.add_argument("--pss", action="store_true", help="sign everything with RSASSA-PSS, as PKIoverheid G4 does")
    init.set_defaults(pki_action=_pki_init)
    issue = actions.add_parser("issue", help="issue a certificate to a party; the same name again replaces it")
    issue.add_argument("folder", type=Path, metavar="DIR")
    issue.add_argument("--oin", required=True, help="20 positions; becomes the subject serialNumber")
    issue.add_argument("--name", required=True, help="file name and common name")
    issue.add_argument("--days", type=int, default=365, help="valid for so many days from now; negative: expired (default 365)")
    issue.add_argument(
        "--revoked",
        action="store_true",
        help="put the new certificate on crl.pem at once, to test with",
    )
    issue.add_argument("--key-size", type=int, choices=(2048, 3072, 4096), default=2048, help="RSA bits (default 2048)")
    issue.set_defaults(pki_action=_pki_issue)
    renew = actions.add_parser("renew-crl", help="write crl.pem anew, valid for seven days")
    renew.add_argument("folder", type=Path, metavar="DIR")
    renew.set_defaults(pki_action=_pki_renew)


def pki_command(arguments: argparse.Namespace) -> int:
    """Runs `pki`; prints the files it wrote."""
    for path in arguments.pki_action(arguments):
        sys.stdout.write(f"{path}\n")
    return 0


def _pki_init(arguments: argparse.Namespace) -> tuple[Path, ...]:
    pki.init(arguments.folder, key_size=arguments.key_size, pss=arguments.pss)
    return arguments.folder / "ca.pem", arguments.folder / "crl.pem"


def _pki_issue(arguments: argparse.Namespace) -> tuple[Path, ...]:
    if abs(arguments.days) > 3_000:
        raise UsageError("--days must be at most 3000")
    party = pki.issue(
        arguments.folder,
        oin=arguments.oin,
        name=arguments.name,
        days=arguments.days,
        revoked=arguments.revoked,
        key_size=arguments.key_size,
    )
    return party.certificate, party.key


def _pki_renew(arguments: argparse.Namespace) -> tuple[Path, ...]:
    return (pki.renew_crl(arguments.folder),)


# ---------------------------------------------------------------- sign


def sign_arguments(parser: argparse.ArgumentParser) -> None:
    """`sign FILE --key K --cert C [-o OUT]`."""
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--key", type=Path, required=True, help="private key, PEM without password")
    parser.add_argument("--cert", type=Path, required=True, help="certificate with the OIN in its subject, PEM or DER")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="default: standard output")


def sign(arguments: argparse.Namespace) -> int:
    """Runs `sign`. Raises Fault, PkiError, UsageError or OSError, each with a sentence."""
    from adapters.signing import Signer

    signer = Signer(pki.read_key(arguments.key), pki.read_certificate(arguments.cert))
    try:
        unsigned = _read(str(arguments.file))
    except ValueError as error:
        raise UsageError(f"{arguments.file}: {error}") from None
    signed = signer.sign(unsigned)
    if arguments.output is not None:
        arguments.output.write_bytes(signed)
    else:
        sys.stdout.write(signed.decode())
    return 0


# ---------------------------------------------------------------- verify


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    """`verify FILE... --trust PEM`, with one line per file."""
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument(
        "--trust", type=Path, action="append", required=True, metavar="PEM", help="CA or end-entity certificates; repeatable"
    )
    parser.add_argument(
        "--crl", type=Path, action="append", default=[], metavar="FILE", help="check revocation with these CRLs; repeatable"
    )
    parser.add_argument(
        "--own-oin",
        action="append",
        default=[],
        metavar="OIN",
        help="the receiver's OIN, to which the message must be addressed (default: any); repeatable",
    )
    parser.add_argument(
        "--mandate",
        action="append",
        default=[],
        metavar="FROM:CERT",
        help="the system CERT may sign for the sender FROM; in an envelope of the backbone CERT is its OIN; repeatable",
    )
    parser.add_argument(
        "--at", default=None, metavar="TIME", help="judge at this time (ISO 8601 with zone), or at each message's `created`"
    )
    parser.add_argument("--second-opinion", action="store_true", help="ask signxml too, and refuse where it disagrees")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


class UsageError(Exception):
    """The command cannot do this; its text says what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    verifier: wsse.Verifier
    mandates: frozenset[tuple[str, str]]
    pinned: frozenset[str]
    at: datetime | None  #: None: at each message's own Created
    second_opinion: bool

    def judge(self, file: str) -> Envelope | Fault:
        """The message in a file, or why it is refused. Any input has an answer."""
        try:
            raw = _read(file)
        except OSError as error:
            return Refused("Client.NOT_XML", f"the file cannot be read: {(error.strerror or 'unknown reason').lower()}")
        except ValueError as error:
            return Refused("Client.NOT_XML", str(error))
        except Fault as fault:
            return fault
        verdict: Envelope | Fault
        try:
            verdict = self.verifier.verify(raw, at=self.at)
            wsse.check_from(verdict, mandates=self.mandates, pinned=self.pinned)
        except Fault as fault:
            verdict = fault
        if self.second_opinion:
            problem = _second_opinion(raw, verdict)
            if problem is not None:
                return Refused("Client.EK0031", f"the second opinion differs: {problem}")
        return verdict


def _second_opinion(raw: bytes, verdict: Envelope | Fault) -> str | None:
    from adapters import second_opinion

    try:
        return second_opinion.disagreement(second_opinion.ask(raw, limits=LIMITS), verdict)
    except Refused:
        return None  # not XML: our own verdict says so


def verify(arguments: argparse.Namespace) -> int:
    """Runs `verify`: 0 when all are accepted, 1 when one is refused. Raises TrustError or UsageError for wrong options."""
    trust = TrustStore.from_files(arguments.trust, arguments.crl)
    own = frozenset(_oin(oin) for oin in arguments.own_oin) or None
    judge = _Judge(
        verifier=wsse.Verifier(trust, verify_policy.VerifyPolicy(own_oins=own, limits=LIMITS)),
        mandates=frozenset(map(_mandate, arguments.mandate)),
        pinned=trust.pinned,
        at=_time(arguments.at),
        second_opinion=arguments.second_opinion,
    )
    refused = False
    for file in arguments.files:
        verdict = judge.judge(file)
        refused = refused or isinstance(verdict, Fault)
        sys.stdout.write((_as_json(file, verdict) if arguments.json else _as_line(file, verdict)) + "\n")
    return 1 if refused else 0


def _read(file: str) -> bytes:
    """The bytes of a regular file. Raises OSError, ValueError (not a file), or Refused (too large: not even opened)."""
    status = Path(file).stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file but a folder, pipe or device")
    if status.st_size > LIMITS.size:
        raise Refused("Client.TOO_LARGE", f"the file is {status.st_size:,} bytes; at most {LIMITS.size:,} are taken here")
    return Path(file).read_bytes()


def _mandate(pair: str) -> tuple[str, str]:
    sender, colon, system = pair.partition(":")
    if not colon:
        raise UsageError(f"--mandate {pair[:60]!r} is not FROM:CERT, two OINs with a colon between them")
    return _oin(sender), _oin(system)


def _oin(given: str) -> Oin:
    try:
        return parse_oin(given)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _time(given: str | None) -> datetime | None:
    if given is None:
        return datetime.now(UTC)
    if given == "created":
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise UsageError(f"--at {given[:40]!r} is neither `created` nor a time with a zone, such as 2026-03-02T09:15:00Z")
    return at.astimezone(UTC)


def _as_json(file: str, verdict: Envelope | Fault) -> str:
    accepted = verdict if isinstance(verdict, Envelope) else None
    fault = verdict if isinstance(verdict, Fault) else None
    return json.dumps(
        {
            "file": file,
            "accepted": accepted is not None,
            "code": fault and fault.code,
            "reason": fault and _reason(fault),
            "sender": accepted and accepted.sender,
            "receiver": accepted and accepted.receiver,
            "action": accepted and accepted.action,
            "certificate_oin": accepted and accepted.certificate_oin,
            "signed": list(accepted.signed) if accepted else [],
        }
    )


def _as_line(file: str, verdict: Envelope | Fault) -> str:
    if isinstance(verdict, Fault):
        return plain(f"{file}: refused {verdict.code} {_reason(verdict)}")
    parts = ", ".join(verdict.signed)
    return plain(f"{file}: accepted from {verdict.sender} to {verdict.receiver} action {verdict.action} signed {parts}")


def _reason(fault: Fault) -> str:
    return f"{fault.reason} (at {fault.where})" if fault.where else fault.reason
