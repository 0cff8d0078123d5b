"""The door to OpenAPI services: a request of the relay goes in, its outcome comes out, as from an MCP server.

Only calls count for the breaker. A document that cannot be had any more is no reason to refuse a call.
"""

from typing import Final

from gateway_proxy.backends.breaker import Breaker
from gateway_proxy.backends.deadline import Deadline
from gateway_proxy.backends.endpoints import Endpoints
from gateway_proxy.backends.faults import relay_error
from gateway_proxy.backends.messages import Failure, Result
from gateway_proxy.backends.openapi.calling import call_operation, read_params
from gateway_proxy.backends.openapi.documents import Documents
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    EgressError,
    ReplyTooLarge,
    ResultTooLarge,
)

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602


class OpenApiServices:
    """The OpenAPI services of this worker."""

    def __init__(self, endpoints: Endpoints, clock: Clock) -> None:
        self._documents = Documents(endpoints, clock)

    async def answer(
        self, backend: Backend, request: UpstreamRequest, deadline: Deadline, breaker: Breaker
    ) -> Result | Failure:
        """Answer a request as an MCP server with tools and nothing else would.

        Raises:
            RelayError: The service, or its document, could not be had or does not keep to the rules.
        """
        if request.method == "tools/call":
            return await self._call(backend, request, deadline, breaker)
        if request.method == "tools/list":
            return Result((await self._documents.renew(backend)).listed)
        if request.method == "ping":
            return Result(b"{}")
        return Failure(METHOD_NOT_FOUND, "An OpenAPI service has tools only.")

    def notes_of(self, backend: Backend) -> tuple[str, ...]:
        """What of its document is not offered, and why."""
        return self._documents.notes_of(backend)

    def forget(self, backend_id: str, revision: int) -> None:
        """That revision of a backend is gone."""
        self._documents.forget(backend_id, revision)

    async def _call(
        self, backend: Backend, request: UpstreamRequest, deadline: Deadline, breaker: Breaker
    ) -> Result | Failure:
        pause = breaker.pause_left()
        if pause:
            raise BackendUnavailable(backend.name, pause, "it failed repeatedly and is left alone for a while")
        site = await self._documents.get_site(backend)
        try:
            name, arguments = read_params(request)
        except ValueError:
            return Failure(INVALID_PARAMS, "params.name must be a string and params.arguments a JSON object")
        place = site.places.get(name)
        if place is None:
            return Failure(INVALID_PARAMS, "The OpenAPI document has no such operation any more.")
        try:
            result = Result(await call_operation(site, place, arguments, backend.name, deadline))
        except ReplyTooLarge as error:
            raise ResultTooLarge(backend.name, error.limit) from None
        except EgressError as error:
            problem = relay_error(backend.name, error, seconds=deadline.seconds)
            breaker.failed(problem)
            raise problem from None
        except BackendTimeout as error:
            breaker.failed(error)
            raise
        except (BackendMisbehaved, BackendRefusedCredentials):
            breaker.succeeded()  # it is there, and says no
            raise
        breaker.succeeded()
        return result
