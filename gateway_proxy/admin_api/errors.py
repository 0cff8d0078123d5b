"""Reasons → wire for the admin surface: `{"error": one sentence, "details": [what to change]}`. The only such table.

Nothing of a library, no address and no secret gets into one; an error that is not ours goes on to the boundary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import JSONResponse, Response

from gateway_proxy.domain.errors import (
    ConfigFileInvalid,
    GatewayError,
    NotFound,
    ProviderInUse,
    RateLimited,
    SealingError,
    StorageError,
    TrialFailed,
)
from gateway_proxy.provisioning.problems import quotable

NO_STORE: Final = {"Cache-Control": "no-store"}
RETRY_SECONDS: Final = 2


@dataclass
class Refused(Exception):
    """A request that goes no further, in the words of this surface: method, body, JSON, a list that cannot be had."""

    status: int
    error: str
    details: Sequence[str] = ()
    headers: tuple[tuple[str, str], ...] = ()


def refusal(error: Refused) -> Response:
    """A refusal as a response."""
    body = {"error": error.error, "details": list(error.details)}
    return JSONResponse(body, status_code=error.status, headers=NO_STORE | dict(error.headers))


def refused_for(error: GatewayError, *, noun: str = "server") -> Refused:
    """What the caller is told about one of our errors. `noun` is what was to be defined.

    Raises:
        GatewayError: The same, when this surface never meets it: a fault of ours.
    """
    if isinstance(error, ConfigFileInvalid):
        return Refused(422, f"Invalid {noun} configuration.", error.problems)
    if isinstance(error, ProviderInUse):
        details = [f"assistants.{quotable(name)}.provider: change it, or remove it first" for name in error.assistants]
        return Refused(422, f"The provider '{quotable(error.provider)}' is in use.", details)
    if isinstance(error, TrialFailed):
        return Refused(502, "Failed to add backend servers.", error.problems)
    if isinstance(error, NotFound):
        return Refused(404, f"Unknown {error.noun} '{quotable(error.key)}'.")
    if isinstance(error, RateLimited):
        wait = ("Retry-After", str(max(1, math.ceil(error.retry_after))))
        return Refused(429, "Too many changes; try again later.", headers=(wait,))
    if isinstance(error, StorageError):
        return Refused(503, "The database cannot be reached.", headers=(("Retry-After", str(RETRY_SECONDS)),))
    if isinstance(error, SealingError):
        return Refused(500, "A stored credential was altered, so nothing of this tenant's servers can be shown.")
    raise error
