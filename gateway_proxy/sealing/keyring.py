"""Sealing: AES-256-GCM for what must be read back, and signing keys for what must be recognised.

Every key is derived by HKDF-SHA256 for one purpose, so the configured secrets are never used directly. A sealed value
names the key that sealed it and is bound to its place by `context` (AAD): copied elsewhere, it does not open.
No file, no environment and no database is read here.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway_proxy.domain.errors import KeyUnknown, SealBroken

MINIMUM_SECRET_LENGTH: Final = 16
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
_UNDER_KEYRING: Final = b"\x01"
_UNDER_SECRET: Final = b"\x02"
_HEADER_BYTES: Final = 1 + KEY_ID_BYTES


class Keyring:
    """The configured secret keys: the first seals and signs, all of them open and verify (rotation without log-out)."""

    def __init__(self, secret_keys: Sequence[str]) -> None:
        """Derive the keys once.

        Raises:
            ValueError: No key, a key under 16 characters, or the same key twice. The key itself is never in the text.
        """
        if not secret_keys:
            raise ValueError("expected at least one secret key")
        for number, secret in enumerate(secret_keys, start=1):
            if len(secret) < MINIMUM_SECRET_LENGTH:
                raise ValueError(f"secret key {number}: expected at least {MINIMUM_SECRET_LENGTH} characters")
        if len(set(secret_keys)) != len(secret_keys):
            raise ValueError("expected different secret keys; one stands there twice")
        self._secrets = tuple(secret.encode() for secret in secret_keys)
        self._ciphers = {_key_id(secret): AESGCM(_derive(secret, "seal")) for secret in self._secrets}
        self._current = _key_id(self._secrets[0])

    def __repr__(self) -> str:
        return f"Keyring(key_ids={self.key_ids!r})"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys in hex, the current one first. Not secret."""
        return tuple(key_id.hex() for key_id in self._ciphers)

    @property
    def current_header(self) -> bytes:
        """What every value begins with that the first key has sealed."""
        return _UNDER_KEYRING + self._current

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """Encrypt for one place: version byte | key id (8) | nonce (12) | ciphertext and tag (security K1).

        `context` says where the value lives (see `row_context`) or what it is for; it must be given again to open.
        """
        header = self.current_header
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._current].encrypt(nonce, plaintext, _aad(header, context))
        return header + nonce + sealed

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Decrypt a value in the place it was sealed for.

        Raises:
            KeyUnknown: It was sealed under a key that is not configured; names the key's id.
            SealBroken: It was altered, cut, or sealed for another place.
        """
        header, body = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES:]
        nonce, rest = body[:NONCE_BYTES], body[NONCE_BYTES:]
        if header[:1] != _UNDER_KEYRING or len(rest) < TAG_BYTES:
            raise SealBroken
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            raise KeyUnknown(header[1:].hex())
        return _decrypt(cipher, nonce, rest, _aad(header, context))

    def is_current(self, sealed: bytes) -> bool:
        """Whether a value is sealed under the first key, so that a rotation can pass over it."""
        return sealed[:_HEADER_BYTES] == self.current_header

    def signing_keys(self, purpose: str) -> list[bytes]:
        """Keys for one kind of signature, the current one last (the order that itsdangerous wants)."""
        return [_derive(secret, f"sign:{purpose}") for secret in reversed(self._secrets)]


def row_context(*, tenant_id: str, table: str, column: str, row_id: str) -> str:
    """The context of a sealed column: a ciphertext moved to another tenant, table, column or row does not open."""
    return f"{tenant_id}|{table}|{column}|{row_id}"


def seal_under(secret: str, plaintext: bytes, *, context: str) -> bytes:
    """Encrypt under a secret that only its holder presents, so that the database alone reveals nothing.

    Meant for 256-bit random secrets (a refresh token): the key is one HKDF away, which would not do for a password.
    """
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCM(_derive(secret.encode(), "presented"))
    return _UNDER_SECRET + nonce + cipher.encrypt(nonce, plaintext, _aad(_UNDER_SECRET, context))


def open_under(secret: str, sealed: bytes, *, context: str) -> bytes:
    """Decrypt what `seal_under` made.

    Raises:
        SealBroken: Another secret, another place, or an altered value.
    """
    nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    if sealed[:1] != _UNDER_SECRET or len(rest) < TAG_BYTES:
        raise SealBroken
    cipher = AESGCM(_derive(secret.encode("utf-8", "surrogatepass"), "presented"))
    return _decrypt(cipher, nonce, rest, _aad(_UNDER_SECRET, context))


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"gateway-proxy/1/{purpose}".encode()).derive(secret)


def _key_id(secret: bytes) -> bytes:
    """A name for a key that tells nothing about it: a digest of a key derived for nothing else."""
    return hashlib.sha256(_derive(secret, "key-id")).digest()[:KEY_ID_BYTES]


def _aad(header: bytes, context: str) -> bytes:
    return header + context.encode()


def _decrypt(cipher: AESGCM, nonce: bytes, rest: bytes, aad: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, rest, aad)
    except InvalidTag:
        raise SealBroken from None
