"""What a failing database means: out of reach (try again later), a duplicate, or a fault of ours. No query here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway_proxy.domain.errors import AlreadyExists, GatewayError

# Classes of SQLSTATE (PostgreSQL, appendix A) that pass by themselves or by an operator's hand.
_PASSING_CLASSES: Final = frozenset({"08", "28", "40", "53", "57", "58", "F0"})
# The database is not there, a lock was not to be had in time, a primary has become a replica.
_PASSING_STATES: Final = frozenset({"3D000", "55P03", "55006", "25006"})
_PASSING_SQLITE: Final = tuple(
    f"SQLITE_{name}" for name in ("BUSY", "LOCKED", "READONLY", "IOERR", "FULL", "CANTOPEN", "PROTOCOL", "NOMEM")
)
"""Result codes by name, which are the beginning of their extended codes' names; the driver is not imported for them."""


def is_unavailable(error: BaseException) -> bool:
    """Whether an error says that the database is out of reach, full or too slow, rather than ours to mend."""
    if isinstance(error, GatewayError):
        return False
    if isinstance(error, PoolTimeoutError | DisconnectionError | OSError | TimeoutError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = _driver_error(error)
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in _PASSING_CLASSES or state in _PASSING_STATES
    name = getattr(cause, "sqlite_errorname", None)
    if isinstance(name, str):
        return name.startswith(_PASSING_SQLITE)
    return isinstance(cause, OSError) or _is_closed_connection(cause)


def is_duplicate(error: IntegrityError) -> bool:
    """Whether a unique or primary key was hit, and not some other constraint."""
    cause = _driver_error(error)
    if getattr(cause, "sqlstate", None) == "23505":
        return True
    return getattr(cause, "sqlite_errorname", None) in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


@contextmanager
def naming_duplicates(noun: str, key: str) -> Iterator[None]:
    """Around an INSERT or UPDATE: a row with that natural key is there already.

    Raises:
        AlreadyExists: Naming the noun and the key.
    """
    try:
        yield
    except IntegrityError as error:
        if is_duplicate(error):
            raise AlreadyExists(noun, key) from error
        raise


def _driver_error(error: BaseException) -> Any:
    """The innermost error that the driver raised: SQLAlchemy wraps its adapter, which wraps asyncpg or sqlite3."""
    innermost: BaseException = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    while innermost.__cause__ is not None and not hasattr(innermost, "sqlite_errorname"):
        innermost = innermost.__cause__
    return innermost


def _is_closed_connection(error: Any) -> bool:
    """asyncpg's client-side errors carry no SQLSTATE; these two say that the connection went away under us."""
    return type(error).__module__.startswith("asyncpg") and type(error).__name__ in (
        "InterfaceError",
        "InternalClientError",
        "ConnectionDoesNotExistError",
    )
