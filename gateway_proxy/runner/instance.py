"""One life of one child: started, initialised once, used by many, ended. Its id is the MCP session id of all callers.

A restarted child is another instance with another id, so nobody goes on talking to a process that has forgotten
them. How often a child may be started is decided elsewhere (`children`, `breaker`).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from gateway_proxy.domain.clock import Clock
from gateway_proxy.runner import envelope as jsonrpc
from gateway_proxy.runner.conversation import Conversation
from gateway_proxy.runner.envelope import Envelope
from gateway_proxy.runner.errors import StartFailed, WireClosed
from gateway_proxy.runner.framing import Oversized
from gateway_proxy.runner.launch import LaunchSpec

_STDIN_PATIENCE: Final = 1.0
_ENDED_EARLY: Final = "it ended before it answered initialize"


class Wire(Protocol):
    """What carries messages to and from a child: a process, or an HTTP+SSE connection."""

    @property
    def pid(self) -> int | None: ...
    @property
    def keeper_pid(self) -> int | None: ...
    @property
    def exit_status(self) -> int | None: ...
    @property
    def log(self) -> Sequence[str]: ...
    @property
    def has_ended(self) -> bool: ...
    async def start(self) -> None: ...
    def send(self, message: bytes) -> None: ...
    def note(self, line: bytes | Oversized) -> None: ...
    async def stop(self, *, patience: float = 0.0) -> None: ...


OpenWire = Callable[[LaunchSpec, Callable[[bytes | Oversized], None], Callable[[], None]], Wire]


class Instance:
    """A living child. `on_end(instance, useful)` is called once when it ended without being told to."""

    def __init__(
        self,
        instance_id: str,
        spec: LaunchSpec,
        *,
        open_wire: OpenWire,
        clock: Clock,
        on_end: Callable[["Instance"], None],
        on_useful: Callable[[], None],
    ) -> None:
        self.id = instance_id
        self.spec = spec
        self.started_at = clock.now()
        self.last_used = clock.monotonic()
        self.was_useful = False
        self.is_stopping = False
        self.failure: str | None = None
        self._clock = clock
        self._on_end = on_end
        self._on_useful = on_useful
        self._handshake: asyncio.Task[Envelope] | None = None
        self._initialized_sent = False
        self._stopped: asyncio.Task[None] | None = None
        self.wire = open_wire(spec, self._take_line, self._take_end)
        self.conversation = Conversation(
            send=self.wire.send,
            on_garbage=self.wire.note,
            on_useful=self._take_useful,
            on_hopeless=lambda: self.fail("it wrote a line over the limit"),
            exclusive=spec.exclusive,
        )

    @property
    def is_living(self) -> bool:
        """True while it may be used."""
        return not self.is_stopping and not self.wire.has_ended

    def touch(self) -> None:
        """It is being used now; idle time counts from here."""
        self.last_used = self._clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been in flight; 0 while something is."""
        return 0.0 if self.conversation.is_busy else self._clock.monotonic() - self.last_used

    async def initialize(self, message: Envelope) -> bytes:
        """Answer an `initialize` request: the first one is forwarded, all others get the same result.

        Raises:
            StartFailed: The child ended or did not answer in time; it is being stopped then.
        """
        raw_id = msgspec.Raw(bytes(message["id"]))
        if self._handshake is None:
            self._handshake = asyncio.create_task(self._shake_hands(message))
        response = await asyncio.shield(self._handshake)
        if "error" in response:
            self._handshake = None  # the next one may ask differently
        return jsonrpc.write_envelope({**response, "id": raw_id})

    async def _shake_hands(self, message: Envelope) -> Envelope:
        try:
            call = self.conversation.open_call(message)
        except WireClosed:  # its pipe is gone already, and its end is not noticed yet
            self.fail(_ENDED_EARLY)
            raise StartFailed(_ENDED_EARLY) from None
        try:
            async with asyncio.timeout(self.spec.start_timeout):
                while True:
                    batch = await call.outbox.take()
                    if batch is not None and batch.last:
                        break
        except TimeoutError:
            reason = f"it did not answer initialize within {self.spec.start_timeout:g} seconds"
            self.fail(reason)
            raise StartFailed(reason) from None
        finally:
            self.conversation.end_call(call)
        if not self.is_living or not batch.messages:
            raise StartFailed(_ENDED_EARLY)
        return jsonrpc.read_envelope(batch.messages[-1])

    def notify(self, message: Envelope) -> None:
        """Pass a notification on; `notifications/initialized` only the first time."""
        if jsonrpc.method_of(message) == "notifications/initialized":
            if self._initialized_sent:
                return
            self._initialized_sent = True
        self.conversation.notify(message)

    def fail(self, reason: str) -> None:
        """Stop it because it misbehaved; it counts as a failure."""
        self.failure = self.failure or reason
        if self._stopped is None:
            self.is_stopping = True
            self._stopped = asyncio.create_task(self.wire.stop())

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop it because it is not wanted any more. Returns when every process of it is gone."""
        self.is_stopping = True
        if self._stopped is None:
            patience = 0.0 if at_once else _STDIN_PATIENCE
            self._stopped = asyncio.create_task(self.wire.stop(patience=patience))
        await asyncio.shield(self._stopped)

    def describe(self) -> Mapping[str, Any]:
        """For the status page: no environment, no arguments, no headers; those may hold secrets."""
        return {
            "instance": self.id,
            "state": "running" if self.is_living else "ended" if self.wire.has_ended else "stopping",
            "pid": self.wire.pid,
            "started_at": self.started_at.isoformat(),
            "idle_seconds": round(self.idle_seconds, 1),
            "calls_in_flight": self.conversation.calls_in_flight,
            "garbage_lines": self.conversation.garbage_lines,
            "exit_status": self.wire.exit_status,
            "failure": self.failure,
        }

    def _take_line(self, line: bytes | Oversized) -> None:
        self.conversation.take_line(line)

    def _take_useful(self) -> None:
        if not self.was_useful:
            self.was_useful = True
            self._on_useful()

    def _take_end(self) -> None:
        if not self.is_stopping and self.failure is None:
            self.failure = f"it ended by itself, status {self.wire.exit_status}"
        self.conversation.close()
        self._on_end(self)
