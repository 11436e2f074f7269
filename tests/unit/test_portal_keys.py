"""What the portal has instead of the master key, and answers that are sealed to it: what opens them, and what does not."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.portal_keys import PortalKeys
from adapters.sealed_answer import open_sealed, seal_to
from adapters.vault import Vault, VaultError

MASTER = bytes(range(32))
KEYS, VAULT = PortalKeys.of(MASTER), Vault(MASTER)


def test_the_portal_finds_pupils_by_the_hashes_that_the_store_has() -> None:
    assert KEYS.index("subject 999990019") == VAULT.index("subject 999990019")
    assert PortalKeys.of(bytes(32)).index("subject 999990019") != KEYS.index("subject 999990019")


def test_no_key_of_the_portals_file_opens_a_message(tmp_path: Path) -> None:
    KEYS.write(tmp_path / "portal.secrets")
    text = (tmp_path / "portal.secrets").read_text()
    sealed = VAULT.seal("ref", b"body", b"{}")
    keys = [KEYS._index, KEYS._sign_in]
    assert len(json.loads(text)) == len(keys)
    for key in keys:
        assert key != MASTER
        with pytest.raises(VaultError):
            Vault(key).open("ref", sealed.wrapped_key, "body", sealed.body)
        with pytest.raises(Exception):  # noqa: B017 - InvalidTag, of the library
            AESGCM(key).decrypt(sealed.wrapped_key[:12], sealed.wrapped_key[12:], b"ref")


def test_the_file_is_its_owners_only_and_is_written_again_only_when_the_master_key_is_another(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "portal.secrets"
    assert KEYS.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert PortalKeys.read(path) == KEYS
    assert not KEYS.write(path)
    assert PortalKeys.of(bytes(32)).write(path)
    assert PortalKeys.read(path) != KEYS
    assert [file.name for file in path.parent.iterdir()] == ["portal.secrets"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"index": "c2hvcnQ=", "sign_in": "c2hvcnQ="}', '{"index": 1, "sign_in": 2}', "ï"])
def test_a_file_that_holds_no_keys_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "portal.secrets"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(VaultError, match=r"cannot be read: make it with `run\.py account keys`"):
        PortalKeys.read(path)


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match=r"no keys for the portal at .*account keys"):
        PortalKeys.read(tmp_path / "none")


def test_what_is_sealed_for_one_account_is_not_opened_for_another_nor_with_another_key() -> None:
    sealed = KEYS.seal("account:anna:totp", b"secret")
    assert b"secret" not in sealed and not PortalKeys.sealed_before(sealed)
    assert KEYS.open("account:anna:totp", sealed) == b"secret"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for keys, place, what in ((KEYS, "account:bert:totp", sealed), (PortalKeys.of(bytes(32)), "account:anna:totp", sealed)):
        with pytest.raises(VaultError):
            keys.open(place, what)
    for what in (changed, sealed[:20], b""):
        with pytest.raises(VaultError):
            KEYS.open("account:anna:totp", what)


def test_the_keys_print_nothing() -> None:
    assert repr(KEYS) == "PortalKeys(***)"


def test_an_answer_is_opened_by_who_asked_and_by_nobody_else() -> None:
    asker, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    sealed = seal_to(asker.public_key().public_bytes_raw(), b"<x/>", b"question 1")
    assert b"<x/>" not in sealed
    assert open_sealed(asker.private_bytes_raw(), sealed, b"question 1") == b"<x/>"
    changed = sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]
    for key, what, context in ((other, sealed, b"question 1"), (asker, sealed, b"question 2"), (asker, changed, b"question 1")):
        with pytest.raises(VaultError):
            open_sealed(key.private_bytes_raw(), what, context)
    for what in (b"", bytes(32), sealed[:40]):
        with pytest.raises(VaultError):
            open_sealed(asker.private_bytes_raw(), what, b"question 1")


@pytest.mark.parametrize("key", [b"", b"short", bytes(32)])
def test_an_answer_is_sealed_to_no_key_that_everybody_could_have(key: bytes) -> None:
    with pytest.raises(VaultError):
        seal_to(key, b"<x/>", b"")
