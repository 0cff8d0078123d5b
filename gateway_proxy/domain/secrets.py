"""Plaintext and digest: a `secret` is what the caller holds, a `digest` is what we store. No cipher lives here."""

import hashlib
import hmac


def digest_of(secret: str) -> bytes:
    """The SHA-256 of a 256-bit random secret, 32 bytes. Enough without salt because the input is not guessable."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def is_same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in constant time, whatever characters they hold."""
    return hmac.compare_digest(digest_of(given), digest_of(expected))
