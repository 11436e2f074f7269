"""`validate FILE…`: content only. Which dienst, its XSD, its rules; every mistake with its XPath, in Dutch and in English.

A file is a whole envelope or a bare content document. Signatures, certificates and the register are not looked at.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lxml import etree

from schemas.content import Finding
from schemas.contracts import Contracts
from schemas.faults import Refused
from schemas.oin import Oin

#: Foreign XML is parsed by the caller's hardened parser. Raises Refused.
Parse = Callable[[bytes], etree._Element]

_SOAP: Final = "{http://schemas.xmlsoap.org/soap/envelope/}"
_WSA: Final = "{http://www.w3.org/2005/08/addressing}"
_OIN_IN_ADDRESS: Final = re.compile(r"[?&]oin=([0-9]{8}[0-9A-Z]{12})(?:&|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What was found in one file."""

    file: str  #: as given
    dienst: str | None = None
    versie: str | None = None
    bericht: str | None = None
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the content would be accepted."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """One object, as `validate --json` prints it."""
        errors = [{"code": each.code, "where": each.where, "nl": each.nl, "en": each.en} for each in self.findings]
        kind = {"dienst": self.dienst, "versie": self.versie, "bericht": self.bericht}
        return {"file": self.file, "valid": self.valid, **kind, "errors": errors, "warnings": list(self.warnings)}

    def lines(self) -> list[str]:
        """What a person reads: a line for the file, and for each mistake its place and code, Dutch, English."""
        what = f" ({self.dienst} {self.versie}, {self.bericht})" if self.dienst else ""
        lines = [f"{self.file}: {'goed / valid' if self.valid else 'fout / invalid'}{what}"]
        for each in self.findings:
            lines += [f"  {each.where}  [{each.code}]", *_folded(each.nl, "    "), *_folded(each.en, "    ")]
        for warning in self.warnings:
            lines += _folded(f"let op / note: {warning}", "  ")
        return lines


def validate_file(file: str, *, parse: Parse, contracts: Contracts, now: datetime) -> FileReport:
    """Judges one file. Never raises for what is in it; a file that cannot be read is a finding too."""
    try:
        root = parse(Path(file).read_bytes())
    except OSError as error:
        en = f"The file cannot be read: {error.strerror or type(error).__name__}."
        return _stopped(file, "Client.NOT_XML", "bestand", "Het bestand kan niet worden gelezen; controleer naam en rechten.", en)
    except Refused as fault:
        return _stopped(file, fault.code, fault.where or "bestand", f"{fault.kind.nl}.", f"{fault.reason}.".replace("..", "."))
    content, action, sender, receiver = root, None, None, None
    if root.tag == f"{_SOAP}Envelope":
        body = root.find(f"{_SOAP}Body")
        inside = [] if body is None else [child for child in body if isinstance(child.tag, str)]
        if len(inside) != 1:
            nl, en = "De Body van de envelop moet precies één bericht bevatten.", "The envelope's Body must hold exactly one message."
            return _stopped(file, "Client.DK0004", "/Envelope/Body", nl, en)
        content = inside[0]
        header = f"{_SOAP}Header/"
        action = (root.findtext(f"{header}{_WSA}Action") or "").strip() or None
        sender, receiver = _oin(root.findtext(f"{header}{_WSA}From/{_WSA}Address")), _oin(root.findtext(f"{header}{_WSA}To"))
    try:
        reader = contracts.reader(action) if action is not None else contracts.reader_for(content.tag)
    except Refused as fault:
        return _stopped(file, fault.code, "wsa:Action", f"{fault.kind.nl}: geen dienst heeft deze wsa:Action.", f"{fault.reason}.")
    if reader is None:
        nl = "Geen enkele dienst kent een bericht dat zo begint; controleer naam en namespace van het buitenste element."
        en = "No dienst knows a message that starts like this; check name and namespace of the outermost element."
        return _stopped(file, "UNKNOWN_DIENST", f"/{etree.QName(content).localname[:60]}", nl, en)
    reading = reader.read(content, sender=sender, receiver=receiver, now=now)
    kind = reader.kind
    return FileReport(
        file=file, dienst=kind.dienst, versie=kind.versie, bericht=kind.name, findings=reading.findings, warnings=reading.warnings
    )


def validate(
    files: Iterable[str], *, parse: Parse, contracts: Contracts, now: datetime, as_json: bool, say: Callable[[str], object]
) -> int:
    """The command: says what was found in each file, one JSON object per line with `as_json`. Returns the exit status."""
    all_valid = True
    for file in files:
        report = validate_file(file, parse=parse, contracts=contracts, now=now)
        all_valid = all_valid and report.valid
        say(json.dumps(report.as_json(), ensure_ascii=False) if as_json else "\n".join(report.lines()))
    return 0 if all_valid else 1


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a whole envelope, or a bare content document")
    parser.add_argument("--json", action="store_true", help="one JSON object per file and line")


def run(arguments: Namespace, *, parse: Parse, contracts: Contracts) -> int:
    """The command, on its arguments: judges at this moment, writes to stdout."""
    return validate(
        arguments.files,
        parse=parse,
        contracts=contracts,
        now=datetime.now(UTC),
        as_json=arguments.json,
        say=lambda text: sys.stdout.write(f"{text}\n"),
    )


def _folded(text: str, indent: str) -> list[str]:
    """A sentence in lines of at most 100 columns."""
    return textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _stopped(file: str, code: str, where: str, nl: str, en: str) -> FileReport:
    return FileReport(file=file, findings=(Finding(code=code, where=where, nl=nl, en=en),))


def _oin(address: str | None) -> Oin | None:
    found = _OIN_IN_ADDRESS.search((address or "").strip())
    return Oin(found.group(1)) if found else None
