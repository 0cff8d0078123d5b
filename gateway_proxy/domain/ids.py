"""The one place where ids and secrets are minted, so that their size and alphabet are decided once."""

import itertools
import secrets
from typing import Final, Literal

SECRET_PREFIXES: Final = ("gw_at_", "gw_rt_", "gw_ac_", "gw_cs_", "gw_pat_")
SecretPrefix = Literal["gw_at_", "gw_rt_", "gw_ac_", "gw_cs_", "gw_pat_"]


def new_id() -> str:
    """A row id: 128 random bits, 32 hex characters. Not a secret."""
    return secrets.token_hex(16)


def new_client_id() -> str:
    """The id of a registered OAuth client (RFC 7591 §3.2.1). Public, unguessable all the same."""
    return "gwc_" + secrets.token_urlsafe(18)


def new_session_id() -> str:
    """An MCP or browser session id: 256 random bits, visible ASCII only (MCP 2025-11-25, Session Management)."""
    return secrets.token_urlsafe(32)


def new_secret(prefix: SecretPrefix) -> str:
    """A bearer secret of 256 random bits behind a prefix that secret scanners and our own redaction recognise."""
    return prefix + secrets.token_urlsafe(32)


def new_password() -> str:
    """A first password for a person, shown one time: 120 random bits, typeable."""
    return secrets.token_urlsafe(15)


_FIRST: Final = 10**11  # so that every number has twelve digits


class IdSeries:
    """Ids for what there is one of per request: 80 bits chosen once, then a count; 32 hex characters like a row id.

    Unique among workers and restarts, but guessable. One of `new_id` asks the system for randomness each time.
    """

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(10)
        self._numbers = itertools.count(_FIRST)

    def next(self) -> str:
        """The next id."""
        return f"{self._prefix}{next(self._numbers)}"
