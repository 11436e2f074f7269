"""Other people's SOAP stacks at the gateway: what they send is taken, or refused with a fault that says what to set; and they read us.

zeep composes from our WSDL, xmlsec (libxmlsec1) signs and verifies: the program of docs/examples, which imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import xmlsec
from lxml import etree
from zeep import Client
from zeep.exceptions import Fault
from zeep.plugins import HistoryPlugin
from zeep.wsse.signature import BinarySignature

from adapters import soap
from tests.integration.test_gateway import start
from tests.support import interop
from tests.support import signing as s
from tests.support.exchange import HUB, MBO, SCHOOL, Exchange

pytestmark = pytest.mark.broker

T = TypeVar("T")

EXAMPLE = Path(__file__).parents[2] / "docs/examples/zeep_client.py"
_spec = importlib.util.spec_from_file_location("zeep_client", EXAMPLE)
assert _spec is not None and _spec.loader is not None
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with Exchange() as made:
        made.run(start(made))
        yield made


def in_thread(exchange: Exchange, act: Callable[[], T]) -> T:
    """zeep waits for its answers, and the gateway runs in the test's own event loop."""
    return exchange.run(asyncio.to_thread(act))


def plugin(**more: Any) -> Any:
    """The LAS's."""
    party = s.party()
    return example.Edukoppeling(
        **{"key": str(party.key), "certificate": str(party.certificate), "ca": str(s.folder() / "ca.pem"), "hub": HUB} | more
    )


def zeep_client(exchange: Exchange, dienst: str, wsse: Any, *, query: str = f"?oin={MBO}") -> tuple[Client, Any, HistoryPlugin]:
    """A client made from the WSDL that the gateway serves, over mutual TLS with the LAS's certificate; and its service.

    Our WSDL says that addressing is required, so zeep adds the headers; wsa:To is the address it is given, with the receiver's OIN.
    """
    party, history = s.party(), HistoryPlugin()
    files = {"key": str(party.key), "certificate": str(party.certificate), "ca": str(s.folder() / "ca.pem")}
    url = f"https://localhost:{exchange.settings.gateway_port}/wus/{dienst}/1"
    client, service = in_thread(exchange, lambda: example.service_of(url, wsse, query=query, plugins=[history], **files))
    return client, service, history


def melding() -> dict[str, Any]:
    return {
        "bedrijfsdocument": {
            "identificatiecodeBedrijfsdocument": str(uuid.uuid4()),
            "verzendendeInstantie": SCHOOL,
            "ontvangendeInstantie": MBO,
            "datumTijdBedrijfsdocument": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "echo": "hallo",
    }


def sender() -> etree._Element:
    return example.sender_of(SCHOOL)


def test_the_example_of_the_documentation_runs_as_it_is_copied(exchange: Exchange, tmp_path: Path) -> None:
    """In a folder without anything of ours beside it."""
    program = shutil.copy(EXAMPLE, tmp_path)
    party, message_id = s.party(), s.message_id()
    url = f"https://localhost:{exchange.settings.gateway_port}/wus/proef/1"
    files = ["--cert", str(party.certificate), "--key", str(party.key), "--ca", str(s.folder() / "ca.pem")]
    parties = ["--school", SCHOOL, "--receiver", MBO, "--hub", HUB, "--message-id", message_id]

    def act(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", str(program), url, *files, *parties, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)

    same = ("--business-id", str(uuid.uuid4()), "--created", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    done = in_thread(exchange, lambda: act(*same))
    (row,) = exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=message_id)
    assert done.stdout.startswith(f"accepted: {row['reference']} at 20"), done.stderr
    assert done.returncode == 0
    assert in_thread(exchange, lambda: act(*same)).stdout == done.stdout
    other = in_thread(exchange, act)  # the same MessageID, and another business id
    assert (other.returncode, other.stdout.partition(" ")[2].partition(" ")[0]) == (1, "soapenv:Client.DUPLICATE_OTHER_CONTENT"), (
        other.stderr
    )


def test_the_example_takes_no_answer_to_another_message(exchange: Exchange) -> None:
    wsse = plugin()
    _, service, history = zeep_client(exchange, "proef", wsse)
    in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    first = history.last_received["envelope"]
    assert wsse.verify(first) is first
    in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    with pytest.raises(ValueError, match="to another message"):
        wsse.verify(first)
    wsse._sent = (wsse._sent[0], "AA==")
    with pytest.raises(ValueError, match="does not confirm our signature"):
        wsse.verify(history.last_received["envelope"])


def test_zeep_composes_from_our_wsdl_is_accepted_and_verifies_our_receipt(exchange: Exchange) -> None:
    _, service, history = zeep_client(exchange, "proef", plugin())
    receipt = in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert receipt.ontvangstBevestiging == "J"
    sent = history.last_sent["envelope"].findtext(f"{soap.HEADER}/{{{soap.WSA}}}MessageID")
    assert exchange.rows("SELECT reference FROM message WHERE message_id = :id", id=sent) == [{"reference": receipt.referentie}]


def test_zeep_reads_our_fault_and_its_code(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin())
    wrong = melding()
    wrong["bedrijfsdocument"]["ontvangendeInstantie"] = SCHOOL  # not whom wsa:To names
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**wrong, _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.HEADER_NOT_SENDER"
    assert "ontvangendeInstantie" in refused.value.message


def test_what_zeep_signs_by_default_is_refused_with_a_fault_that_names_the_algorithm(exchange: Exchange) -> None:
    """Its BinarySignature: RSA-SHA1, over the Body only."""
    party = s.party()

    class Default(BinarySignature):  # type: ignore[misc]
        def verify(self, envelope: etree._Element) -> etree._Element:
            return envelope

    _, service, _ = zeep_client(exchange, "proef", Default(str(party.key), str(party.certificate)))
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.EK0031"


def test_without_from_zeep_is_told_that_it_is_missing(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin())
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding()))
    assert refused.value.code == "soapenv:Client.EK0020"


def test_without_an_oin_behind_its_address_zeep_is_told_that_to_needs_one(exchange: Exchange) -> None:
    _, service, _ = zeep_client(exchange, "proef", plugin(), query="")
    with pytest.raises(Fault) as refused:
        in_thread(exchange, lambda: service.proef(**melding(), _soapheaders=[sender()]))
    assert refused.value.code == "soapenv:Client.EK0022"


def test_what_zeep_sends_again_gets_the_same_reference(exchange: Exchange) -> None:
    document, references = melding(), set()
    again = plugin(message_id=s.message_id())
    for _ in range(2):
        _, service, _ = zeep_client(exchange, "proef", again)
        references.add(in_thread(exchange, lambda service=service: service.proef(**document, _soapheaders=[sender()])).referentie)
    assert len(references) == 1


def test_xmlsec_verifies_a_message_that_we_send_on() -> None:
    onward = interop.onward()
    plugin().verify(etree.fromstring(onward))
    with pytest.raises(xmlsec.Error):
        plugin().verify(etree.fromstring(onward.replace(b"A-1", b"A-2")))
    with pytest.raises(ValueError, match="not signed by the hub"):
        plugin(hub=SCHOOL).verify(etree.fromstring(onward))
    with pytest.raises(ValueError, match=r"not signed: .*ReplyTo"):
        plugin().verify(etree.fromstring(onward.replace(b"</soapenv:Header>", b'<wsa:ReplyTo wsu:Id="more"/></soapenv:Header>')))


@pytest.mark.parametrize("dienst", ["vva", "proef"])
def test_zeep_finds_an_operation_for_each_message_kind(exchange: Exchange, dienst: str) -> None:
    client, _, _ = zeep_client(exchange, dienst, None)
    operations = set(next(iter(next(iter(client.wsdl.services.values())).ports.values())).binding._operations)
    assert operations == {"vva": {"mboGangerBericht", "aanmeldStatusBericht"}, "proef": {"proef"}}[dienst]
