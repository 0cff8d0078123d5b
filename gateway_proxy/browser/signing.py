"""Values that a browser keeps for us and may not alter, by `itsdangerous`, each purpose with keys of its own.

Signed is not secret: nothing confidential may be signed here, only sealed elsewhere.
"""

import hashlib
from datetime import timedelta
from typing import Final

import itsdangerous

from gateway_proxy.domain.clock import Clock
from gateway_proxy.sealing.keyring import Keyring

MAXIMUM_LENGTH: Final = 32 * 1024


class Signing:
    """Signs with the first configured key and accepts all of them, so that keys rotate without signing people out."""

    def __init__(self, keyring: Keyring, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock
        self._signers: dict[str, _ClockSigner] = {}

    def sign(self, purpose: str, value: str) -> str:
        """`value` in URL-safe characters, with the time and a signature. `purpose` keeps uses apart."""
        encoded = itsdangerous.encoding.base64_encode(value)
        return self._signer(purpose).sign(encoded).decode("ascii")

    def find(self, purpose: str, signed: str, *, max_age: timedelta) -> str | None:
        """The value behind `signed`; None when it is not ours, for another purpose, altered or older than `max_age`."""
        if len(signed) > MAXIMUM_LENGTH:
            return None
        try:
            encoded = self._signer(purpose).unsign(signed, max_age=int(max_age.total_seconds()))
            return itsdangerous.encoding.base64_decode(encoded).decode("utf-8")
        except (itsdangerous.BadData, UnicodeError):
            return None

    def _signer(self, purpose: str) -> "_ClockSigner":
        signer = self._signers.get(purpose)
        if signer is None:
            keys = self._keyring.signing_keys(f"browser.{purpose}")
            signer = self._signers[purpose] = _ClockSigner(keys, purpose, self._clock)
        return signer


class _ClockSigner(itsdangerous.TimestampSigner):
    """A TimestampSigner that reads our clock."""

    def __init__(self, keys: list[bytes], purpose: str, clock: Clock) -> None:
        super().__init__(keys, salt=purpose, key_derivation="hmac", digest_method=hashlib.sha256)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock.now().timestamp())
