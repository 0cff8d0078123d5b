"""Digests of keys that people chose: HMAC-SHA-256 under our own keys, so a stolen database cannot be guessed against.

For secrets that we made at random, `domain.secrets.digest_of` is enough.
"""

import hashlib
import hmac

from gateway_proxy.sealing.keyring import Keyring

SHORTEST_KEY = 16
"""Characters. Shorter ones could be found by asking /v1 itself."""


class KeyDigests:
    """Digests under every configured secret key: the current one is stored, all of them are looked for."""

    def __init__(self, keyring: Keyring) -> None:
        self._keys = tuple(reversed(keyring.signing_keys("static-key-digest")))  # the current one first

    def current(self, secret: str) -> bytes:
        """The 32 bytes to store."""
        return _digest(self._keys[0], secret)

    def all(self, secret: str) -> tuple[bytes, ...]:
        """What may be stored for this secret while keys are being rotated, the current digest first."""
        return tuple(_digest(key, secret) for key in self._keys)


def _digest(key: bytes, secret: str) -> bytes:
    return hmac.digest(key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256)
