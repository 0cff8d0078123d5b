"""The head of a reply to a POST: who may go on to read a message, and what every other status means for the call."""

from typing import Final

from gateway_proxy.backends.envelope import find_failure, read_envelopes
from gateway_proxy.backends.messages import Failure
from gateway_proxy.backends.runner_http import find_refusal, read_retry_after
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendUnavailable,
    EgressError,
)
from gateway_proxy.egress.exchange import Reply

ERROR_LIMIT: Final = 64 * 1024
ERROR_TIMEOUT: Final = 5.0
_SESSION_CODES: Final = frozenset({-32000, -32600, -32001})
_REQUEST_CODES: Final = frozenset({-32601, -32602})


class SessionExpired(Exception):
    """The backend no longer knows the session; nothing was executed. Stays inside this room."""


async def check_reply(reply: Reply, backend: str, *, has_session: bool) -> Failure | None:
    """None when a message follows in the body; a Failure when the backend said no in JSON-RPC under an error status.

    Anything but a 200 is read and closed here.

    Raises:
        SessionExpired: 404 (or the 400 that some servers send instead) on a session of ours.
        BackendRefusedCredentials, BackendUnavailable, BackendMisbehaved: As the status says.
    """
    status = reply.status
    if status == 200:
        if reply.header("content-encoding") in (None, "identity"):
            return None
        await reply.close()
        raise BackendMisbehaved(backend, "its answer is compressed although we asked for plain")
    retry_after = read_retry_after(reply.header("retry-after"))
    failure, refusal = await _read_error(reply)
    if has_session and _is_expired(status, failure):
        raise SessionExpired
    if status in (401, 403):
        raise BackendRefusedCredentials(backend)
    if failure is not None and status not in (429, 502, 503, 504):
        return failure
    if status >= 500 or status == 429:
        raise BackendUnavailable(backend, retry_after, refusal or f"it answered with status {status}")
    if 300 <= status < 400:
        raise BackendMisbehaved(
            backend, f"it answered with redirect {status}, which is not followed: write as its url where that leads"
        )
    raise BackendMisbehaved(backend, f"it answered with status {status}")


async def _read_error(reply: Reply) -> tuple[Failure | None, str | None]:
    """The JSON-RPC error in the body, if that is what it holds; else why the runner refused, if it was the runner."""
    try:
        body = await reply.read(limit=ERROR_LIMIT, timeout=ERROR_TIMEOUT)
        envelopes = read_envelopes(body)
    except (EgressError, ValueError):
        return None, None
    finally:
        await reply.close()
    if len(envelopes) == 1 and envelopes[0].error:
        failure = find_failure(envelopes[0].error)
        return failure, find_refusal(body) if failure is None else None
    return None, None


def _is_expired(status: int, failure: Failure | None) -> bool:
    """404, unless it is about the request; or 400 with an error that speaks of sessions, as some servers have it."""
    if status == 404:
        return failure is None or failure.code not in _REQUEST_CODES
    about_session = failure is not None and failure.code in _SESSION_CODES and "session" in failure.message.lower()
    return status == 400 and about_session
