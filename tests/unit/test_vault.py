"""Bodies at rest: what opens them, and what does not (rule 6)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from adapters.vault import Vault, VaultError, create_master_key, read_master_key

VAULT = Vault(b"k" * 32)


def test_what_was_sealed_is_opened_with_the_same_master_key() -> None:
    sealed = Vault(b"k" * 32).seal("ref", b"body", b"facts")
    assert VAULT.open("ref", sealed.wrapped_key, "body", sealed.body) == b"body"
    assert VAULT.open("ref", sealed.wrapped_key, "facts", sealed.facts) == b"facts"


def test_every_message_has_its_own_key_so_equal_bodies_look_different() -> None:
    first, second = VAULT.seal("ref", b"same", b"same"), VAULT.seal("ref", b"same", b"same")
    assert len({first.body, first.facts, second.body, second.facts}) == 4
    assert first.wrapped_key != second.wrapped_key
    with pytest.raises(VaultError):
        VAULT.open("ref", first.wrapped_key, "body", second.body)


def test_another_master_key_opens_nothing() -> None:
    sealed = VAULT.seal("ref", b"body", b"facts")
    with pytest.raises(VaultError, match="cannot be decrypted"):
        Vault(b"x" * 32).open("ref", sealed.wrapped_key, "body", sealed.body)


def test_parts_and_messages_cannot_be_exchanged() -> None:
    sealed, other = VAULT.seal("ref", b"body", b"facts"), VAULT.seal("other", b"body", b"facts")
    for reference, key, part, cipher in (
        ("ref", sealed.wrapped_key, "body", sealed.facts),
        ("ref", sealed.wrapped_key, "facts", sealed.body),
        ("other", sealed.wrapped_key, "body", sealed.body),
        ("ref", other.wrapped_key, "body", other.body),
        ("ref", sealed.wrapped_key, "body", other.body),
    ):
        with pytest.raises(VaultError):
            VAULT.open(reference, key, part, cipher)


@pytest.mark.parametrize("position", [0, 5, -1])
def test_a_changed_byte_is_found(position: int) -> None:
    sealed = VAULT.seal("ref", b"body of some length", b"facts")
    for key, body in ((_flip(sealed.wrapped_key, position), sealed.body), (sealed.wrapped_key, _flip(sealed.body, position))):
        with pytest.raises(VaultError):
            VAULT.open("ref", key, "body", body)


def _flip(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def test_what_is_left_of_an_erased_key_opens_nothing() -> None:
    sealed = VAULT.seal("ref", b"body", b"facts")
    for key in (b"", bytes(60), sealed.wrapped_key[:20]):
        with pytest.raises(VaultError):
            VAULT.open("ref", key, "body", sealed.body)


def test_the_index_finds_equal_texts_and_depends_on_the_master_key() -> None:
    assert VAULT.index("pupil") == VAULT.index("pupil")
    assert len({VAULT.index("pupil"), VAULT.index("pupil2"), Vault(b"x" * 32).index("pupil")}) == 3
    assert len(VAULT.index("pupil")) == 16


def test_a_vault_prints_no_key() -> None:
    assert "k" not in repr(VAULT).removeprefix("Vault")


def test_a_master_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    create_master_key(path)
    key = read_master_key(path)
    create_master_key(path)
    assert read_master_key(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("content", "says"), [("no base64!", "base64"), ("c2hvcnQ=", "bytes"), ("", "bytes"), ("ï", "base64")])
def test_a_master_key_that_is_no_key_is_refused_with_a_sentence(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(VaultError, match=says):
        read_master_key(path)


def test_a_missing_master_key_says_where_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match=str(tmp_path / "master.key")):
        read_master_key(tmp_path / "master.key")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(VaultError):
        Vault(b"short")
