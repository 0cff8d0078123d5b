"""One request under way at a backend, as the surfaces see it: what comes meanwhile, then exactly one outcome.

What both kinds of request (tool calls, and all others) have in common: rounds of input in a modern backend's place, an
end that is recorded once and before anybody hears of the outcome, and a cancellation when nobody waits any more. A
class and not a generator: the event loop keeps a book of generators, which costs every call (ADR 12).
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable
from typing import Final, Self

from gateway_proxy.backends.exchange import Exchange
from gateway_proxy.backends.splice import UpstreamRequest
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.input_rounds import InputRounds, find_input_required
from gateway_proxy.router.messages import OUTCOMES, Failure, RelayMessage, Result
from gateway_proxy.router.policy import Policy

INVALID_PARAMS: Final = -32602
STATE_ELSEWHERE: Final = "params.requestState: not of the server that answers for this now"
CANCELLED: Final = "cancelled"


class Conversation(ABC):
    """Iterate to the Result or Failure, which ends it; `aclose` before that cancels the request at the backend."""

    def __init__(self, ctx: TenantContext, caller: Caller, policy: Policy, clock: Clock) -> None:
        self.ctx = ctx
        self.caller = caller
        self._policy = policy
        self._clock = clock
        self._admitted_at: float | None = None
        self._exchange: Exchange | None = None
        self._rounds: tuple[InputRounds, AsyncGenerator[RelayMessage, None]] | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RelayMessage:
        """The next message.

        Raises:
            GatewayError: The conversation has failed, as the maker of it says.
        """
        if self._is_over:
            raise StopAsyncIteration
        try:
            message = await self._next()
            if isinstance(message, OUTCOMES):
                await self._end(self._outcome_of(message))
        except GatewayError as error:
            await self._end(type(error).__name__)
            raise
        except BaseException:
            await self._end(CANCELLED)
            raise
        return message

    async def aclose(self) -> None:
        """Nobody waits for the outcome any more."""
        await self._end(CANCELLED)

    # --- what the kinds differ in -------------------------------------------------------------------------------------
    @abstractmethod
    async def _prepare(self) -> tuple[Backend, UpstreamRequest] | Failure:
        """Authorize and route; a Failure for what no backend is to meet."""

    @abstractmethod
    def _send(self, backend: Backend, request: UpstreamRequest) -> Awaitable[Exchange | Result | Failure]:
        """Send the request as it is by now; once more for every round of input."""

    @abstractmethod
    def _outcome_of(self, final: Result | Failure) -> str:
        """The word for the record."""

    @abstractmethod
    def _record(self, outcome: str, seconds: float) -> None:
        """Note that it is over."""

    def _settle(self, final: Result | Failure) -> Result | Failure:
        """What the caller gets for what came."""
        return final

    # --- the common course --------------------------------------------------------------------------------------------
    async def _next(self) -> RelayMessage:
        if self._rounds is not None:
            return await self._next_of_rounds(*self._rounds)
        if self._exchange is None:
            prepared = await self._prepare()
            if isinstance(prepared, Failure):
                return prepared
            self._backend, self._request = prepared
            self._policy.admit(self.ctx)
            self._admitted_at = self._clock.monotonic()
            begun = await self._send(self._backend, self._request)
            if isinstance(begun, OUTCOMES):
                return await self._finish(begun)
            self._exchange = begun
        message = await self._exchange.receive()
        return await self._finish(message) if isinstance(message, OUTCOMES) else message

    async def _finish(self, final: Result | Failure) -> RelayMessage:
        required = find_input_required(final, self.caller)
        if required is None:
            return self._settle(final)
        rounds = InputRounds(self._backend, self.caller, self._request, self._send_again)
        self._rounds = (rounds, rounds.run(required))
        return await self._next_of_rounds(*self._rounds)

    async def _next_of_rounds(self, rounds: InputRounds, messages: AsyncGenerator[RelayMessage, None]) -> RelayMessage:
        async for message in messages:
            return message
        return self._settle(rounds.final)

    def _send_again(self) -> Awaitable[Exchange | Result | Failure]:
        return self._send(self._backend, self._request)

    async def _end(self, outcome: str) -> None:
        """Once, whatever comes first."""
        if self._is_over:
            return
        self._is_over = True
        try:
            if self._rounds is not None:
                await self._rounds[1].aclose()
        finally:
            if self._admitted_at is not None:
                self._policy.leave(self.ctx)
                self._record(outcome, self._clock.monotonic() - self._admitted_at)
            if self._exchange is not None:
                await self._exchange.close()
