"""`pki`, `sign` and `verify` as a user meets them: a process of its own, any input, an answer within a second and 300 MB."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters import soap
from tests.support import interop
from tests.support import signing as s

ROOT = Path(__file__).parents[2]
CONNECTING = (ROOT / "docs/connecting-a-party.md").read_text(encoding="utf-8")
#: The three commands alone, as the command line adds them.
PROGRAM = """
import argparse, sys
from adapters import wsse_cli as w
from adapters.errors import in_one_sentence
parser = argparse.ArgumentParser()
commands = parser.add_subparsers()
for name, add, run in (
    ("pki", w.pki_arguments, w.pki_command), ("sign", w.sign_arguments, w.sign), ("verify", w.verify_arguments, w.verify)
):
    sub = commands.add_parser(name)
    add(sub)
    sub.set_defaults(command=run)
arguments = parser.parse_args()
try:
    sys.exit(arguments.command(arguments))
except Exception as error:
    sentence = in_one_sentence(error)
    if sentence is None:
        raise
    sys.exit(sentence)
"""


@dataclass
class Answer:
    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments: object, cwd: Path | None = None, megabytes: int | None = None) -> Answer:
    def bound() -> None:
        if megabytes:
            resource.setrlimit(resource.RLIMIT_DATA, (megabytes << 20, megabytes << 20))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=30,
        preexec_fn=bound,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def verify(*arguments: object, **how: Any) -> Answer:
    return run("verify", *arguments, "--json", "--trust", s.folder() / "ca.pem", **how)


def test_a_receiver_verifies_an_envelope_of_the_backbone_by_naming_its_oin_as_who_may_sign_for_the_school(tmp_path: Path) -> None:
    """The command of docs/connecting-a-party.md."""
    assert "verify message.xml --trust ca.pem --at RECEIVED_AT --mandate SCHOOL:OUR-OIN" in CONNECTING
    file = tmp_path / "message.xml"
    file.write_bytes(interop.onward())
    given = ("verify", file, "--trust", s.folder() / "ca.pem", "--at", datetime.now(UTC).isoformat(), "--json")
    assert run(*given).objects[0]["code"] == "Client.DK0002"
    assert run(*given, "--mandate", f"{s.SCHOOL}:{s.HUB}").objects[0]["accepted"] is True
    assert "the receiver's OIN" in " ".join(run("verify", "--help").out.split())


def test_from_a_fresh_folder_to_a_verified_message(tmp_path: Path) -> None:
    folder, file = tmp_path / "pki", tmp_path / "m.xml"
    assert run("pki", "init", folder).status == 0
    assert run("pki", "issue", folder, "--oin", s.LAS, "--name", "las").status == 0
    file.write_bytes(s.unsigned(sender=s.LAS, created=None))
    assert run("sign", file, "--key", folder / "las.key", "--cert", folder / "las.crt", "-o", tmp_path / "out.xml").status == 0
    answer = run("verify", "out.xml", "--trust", folder / "ca.pem", "--crl", folder / "crl.pem", "--json", "--second-opinion", cwd=tmp_path)
    assert answer.status == 0
    assert answer.objects == [
        {
            "file": "out.xml",
            "accepted": True,
            "code": None,
            "reason": None,
            "sender": s.LAS,
            "receiver": s.HUB,
            "action": s.ACTION,
            "certificate_oin": s.LAS,
            "signed": ["To", "Action", "MessageID", "From", "Timestamp", "Body", "BinarySecurityToken"],
        }
    ]
    people = run("verify", tmp_path / "out.xml", "--trust", folder / "ca.pem")
    assert people.out.startswith(f"{tmp_path / 'out.xml'}: accepted from {s.LAS} to {s.HUB}")


def test_who_may_speak_for_the_sender_is_said_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "m.xml"
    file.write_bytes(s.signed())
    refused = verify(file, "--at", "created")
    assert (refused.status, refused.objects[0]["code"], refused.objects[0]["accepted"]) == (1, "Client.DK0002", False)
    assert verify(file, "--at", "created", "--mandate", f"{s.SCHOOL}:{s.LAS}").status == 0
    assert verify(file, "--at", "created", "--mandate", f"{s.LAS}:{s.SCHOOL}").status == 1
    assert verify(file, "--at", "created", "--trust", s.party().certificate).status == 0


def test_time_and_receiver_are_options(tmp_path: Path) -> None:
    file = tmp_path / "m.xml"
    file.write_bytes(s.signed(sender=s.LAS, created=s.NOW - timedelta(hours=2)))
    assert verify(file).objects[0]["code"] == "Client.EK0031"
    assert verify(file, "--at", "created").status == 0
    assert verify(file, "--at", (s.NOW - timedelta(hours=2)).isoformat()).status == 0
    assert verify(file, "--at", "created", "--own-oin", s.SCHOOL).objects[0]["code"] == "Client.DK0002"
    assert verify(file, "--at", "created", "--own-oin", s.SCHOOL, "--own-oin", s.HUB).status == 0


def test_revocation_is_checked_only_with_a_crl(tmp_path: Path) -> None:
    file = tmp_path / "m.xml"
    file.write_bytes(s.signed(by=s.signer("revoked", revoked=True), sender=s.LAS))
    assert verify(file, "--at", "created").status == 0
    assert verify(file, "--at", "created", "--crl", s.folder() / "crl.pem").objects[0]["code"] == "Client.EK0031"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--at", "yesterday"),
        ("--at", "2026-03-02T09:15:00"),
        ("--mandate", "x"),
        ("--own-oin", "123"),
        ("--crl", "/absent"),
        ("--trust", "/absent"),
    ],
)
def test_a_wrong_option_gives_one_sentence(tmp_path: Path, wrong: tuple[str, str]) -> None:
    answer = verify(tmp_path / "m.xml", *wrong)
    assert answer.status not in (0,)
    assert len(answer.err.splitlines()) == 1
    assert not answer.out


#: Short names, as many as fit in a PrefixList.
PREFIXES = [a + b for a in "abcdefghijklmnopqrstuvw" for b in "abcdefghijklmnopqrstuvwxyz"]


def hostile() -> dict[str, bytes]:
    good = s.signed(sender=s.LAS)
    content = s.CONTENT

    def inside(xml: bytes) -> bytes:
        return good.replace(content, xml)

    one = good[good.index(b"<ds:Reference ") : good.index(b"</ds:Reference>") + len(b"</ds:Reference>")]
    return {
        "empty": b"",
        "text": b"no xml",
        "zeros": bytes(3 << 20),
        "binary": os.urandom(1 << 20),
        "truncated": good[:-30],
        "nested": inside(b"<a>" * 100_000 + b"</a>" * 100_000),
        "attributes": inside(b"<a " + b" ".join(b'a%d=""' % i for i in range(100_000)) + b"/>"),
        "references": good.replace(one, one * 10_000),
        "namespaces": inside(b"<a " + b" ".join(b'xmlns:n%d="u:%d"' % (i, i) for i in range(100_000)) + b"/>"),
        "namespaces below the limit": inside(
            b"<a " + b" ".join(b'xmlns:n%d="u:%d"' % (i, i) for i in range(1_900)) + b">" + b"<b/>" * 50_000 + b"</a>"
        ),
        "attributes below the limit": inside(b"".join(b"<a " + b" ".join(b'a%d=""' % i for i in range(99)) + b"/>" for _ in range(2_950))),
        "many elements with attributes": inside(
            b"".join(b"<a " + b" ".join(b'a%d=""' % i for i in range(99)) + b"/>" for _ in range(9_000))
        ),
        "elements below the limit": inside(b"<a>" + b"<b/>x" * 399_000 + b"</a>"),
        "ids": inside(b"<a>" + b"".join(b'<b Id="i%d"/>' % i for i in range(100_000)) + b"</a>"),
        "headers": good.replace(b"<soapenv:Header>", b"<soapenv:Header>" + b"<h xmlns='urn:h'/>" * 100_000),
        "huge text": inside(b"<a>" + b"x" * (7 << 20) + b"</a>"),
        "too large": inside(b"<a>" + b"x" * (30 << 20) + b"</a>"),
        "entities": b'<!DOCTYPE a [<!ENTITY x "' + b"h" * 1000 + b'">]><a b="' + b"&x;" * 100_000 + b'"/>',
        "comments": b"<?xml version='1.0'?>" + b"<!---->" * 500_000 + b"<!",
        "quotes": b"Id=" * 1_000_000,
        "instructions": b"<a>" + b"<?a?>" * 390_000 + b"</a>",
        "ids of two kinds": inside(
            b"<a xmlns:w='%s'>" % soap.WSU.encode()
            + b"".join(b'<b w:Id="i%d"/><b Id="j%d"/>' % (i, i) for i in range(60_000))
            + b'<b Id="&#65;"/></a>'
        ),
        "a long prefix list over a deep SignedInfo": good.replace(
            f'<ds:CanonicalizationMethod Algorithm="{soap.EXC_C14N}"/>'.encode(),
            f'<ds:CanonicalizationMethod Algorithm="{soap.EXC_C14N}"><e:InclusiveNamespaces xmlns:e="{soap.EXC_C14N}" '
            f'PrefixList="{" ".join(PREFIXES)}"/></ds:CanonicalizationMethod>'.encode(),
        )
        .replace(b"<ds:Transforms>", b"<ds:Transforms>" + b"<x>" * 200 + b"<y/>" * 50_000 + b"</x>" * 200, 1)
        .replace(content, "".join(f"<{prefix}/>" for prefix in PREFIXES).encode()),
        "a default prefix list over a large SignedInfo": good.replace(
            f'<ds:CanonicalizationMethod Algorithm="{soap.EXC_C14N}"/>'.encode(),
            f'<ds:CanonicalizationMethod Algorithm="{soap.EXC_C14N}"><e:InclusiveNamespaces xmlns:e="{soap.EXC_C14N}" '
            'PrefixList="#default"/></ds:CanonicalizationMethod>'.encode(),
        ).replace(b"<ds:Transforms>", b"<ds:Transforms><x>" + b"<y/>" * 380_000 + b"</x>", 1),
        "default prefix list": good.replace(
            b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>',
            b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"><e:InclusiveNamespaces '
            b'xmlns:e="http://www.w3.org/2001/10/xml-exc-c14n#" PrefixList="#default a b c d e f g h"/></ds:Transform>',
        ).replace(content, b"<a>" + b"<b/>" * 150_000 + b"</a>"),
    }


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
def test_any_input_is_answered_within_a_second_and_300_mb(tmp_path: Path, name: str) -> None:
    file = tmp_path / "m.xml"
    file.write_bytes(HOSTILE[name])
    start = time.perf_counter()
    answer = verify(file, "--at", "created", megabytes=300)
    took = time.perf_counter() - start
    assert answer.status == 1
    assert answer.objects[0]["code"].partition(".")[0] in ("Client", "VersionMismatch")
    assert answer.objects[0]["reason"]
    assert took < 1.0 if os.environ.get("CI") is None else took < 3.0


def test_what_is_no_readable_file_is_answered_too(tmp_path: Path) -> None:
    good = tmp_path / "good.xml"
    good.write_bytes(s.signed(sender=s.LAS))
    os.mkfifo(tmp_path / "pipe")
    names = [str(tmp_path), str(tmp_path / "absent"), str(tmp_path / "pipe"), "/dev/zero", "", "x" * 5_000, str(good)]
    answer = verify(*names, "--at", "created")
    assert answer.status == 1
    assert [one["file"] for one in answer.objects] == names
    assert [one["accepted"] for one in answer.objects] == [False] * 6 + [True]


def test_a_sign_that_cannot_be_done_gives_one_sentence(tmp_path: Path) -> None:
    party = s.party()
    (tmp_path / "x.xml").write_bytes(b"<a/>")
    for file, key in ((tmp_path / "x.xml", party.key), (tmp_path / "absent", party.key), (tmp_path / "x.xml", party.certificate)):
        answer = run("sign", file, "--key", key, "--cert", party.certificate)
        assert answer.status != 0
        assert len(answer.err.splitlines()) == 1


def test_start_up_is_quick() -> None:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import adapters.wsse_cli, sys; assert 'signxml' not in sys.modules"], check=True, cwd=ROOT, timeout=10
    )
    assert time.perf_counter() - start < 1.0


def test_the_limits_of_the_command_are_wider_than_those_of_amqp() -> None:
    from adapters.wsse_cli import LIMITS

    assert LIMITS.size > soap.Limits().size
