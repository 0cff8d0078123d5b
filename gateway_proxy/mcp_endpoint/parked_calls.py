"""Calls at backends of the older era that wait for input of a client of 2026-07-28 (relay.md 6).

The call stays under way here while its client is away. The client's retry may reach any worker; it goes by letter to
the one that holds the call, and what the call says from there on comes back by letters. A worker that is gone takes
its parked calls with it: the retry is then refused, and nothing is ever run a second time.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from gateway_proxy.domain.errors import GatewayError, StorageUnavailable
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.config import EndpointLimits
from gateway_proxy.mcp_endpoint.errors import Refusal, refusal_of
from gateway_proxy.mcp_endpoint.parameters import invalid_parameters
from gateway_proxy.mcp_endpoint.request_states import RequestStates, State
from gateway_proxy.router.messages import OUTCOMES, Failure, Messages, Notification, RelayMessage, Result, ServerRequest
from gateway_proxy.sessions.mailbox import Letter, Mailbox
from gateway_proxy.telemetry.logs import get_log

log = get_log(__name__)

RESUME: Final = "resume-call"
STEP: Final = "call-step"
ABANDON: Final = "abandon-call"
LOOK: Final = "are-you-there"
"""Nobody reads this one: that it can be sent says that the worker lives."""

PART_BYTES: Final = 1024 * 1024
TAKEN_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 10.0
GONE: Final = "The call is no longer waiting for this input; call again if you need it"


class Resume(msgspec.Struct, array_like=True):
    """A retry, for the worker that holds the call."""

    state: State
    responses: bytes
    digest: bytes


class Step(msgspec.Struct, array_like=True):
    """A part of a message of a resumed call. `kind`: taken, notification, result or failure; `is_more`: to go on."""

    kind: str
    raw: bytes = b""
    is_more: bool = False
    code: int = 0
    text: str = ""
    has_data: bool = False


_encoder: Final = msgspec.msgpack.Encoder()
_resumes: Final = msgspec.msgpack.Decoder(Resume)
_steps: Final = msgspec.msgpack.Decoder(Step)
_responses: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Parking:
    """Whose call it is and what it is about, for the moment in which it has to wait."""

    ctx: TenantContext
    target: str
    digest: bytes


@dataclass(slots=True)
class ParkedCall:
    """A call that waits. `messages` goes on where it stopped once `question`, called `key`, has its answer."""

    parking: Parking
    messages: Messages
    question: ServerRequest
    key: str
    timer: asyncio.TimerHandle


class ParkedCalls:
    """The parked calls of this worker by number, and its clients' calls that are parked elsewhere."""

    def __init__(self, mailbox: Mailbox, states: RequestStates, limits: EndpointLimits) -> None:
        self._mailbox = mailbox
        self._states = states
        self._limits = limits
        self._calls: dict[int, ParkedCall] = {}
        self._by_user: dict[tuple[str, str], OrderedDict[int, None]] = {}
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._awaited: dict[str, asyncio.Queue[Step]] = {}
        mailbox.on(RESUME, self._take_resume)
        mailbox.on(STEP, self._take_step)
        mailbox.on(ABANDON, self._take_abandon)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def worker_id(self) -> str:
        """The name under which states name this worker."""
        return self._mailbox.worker_id

    def park(self, parking: Parking, messages: Messages, question: ServerRequest) -> Result:
        """Let the call wait for its client; the result that says so. The oldest of too many of a user is ended."""
        self._count += 1
        number = self._count
        timer = asyncio.get_running_loop().call_later(self._limits.parked_seconds, self._expire, number)
        self._calls[number] = ParkedCall(parking, messages, question, f"input-{number}", timer)
        mine = self._by_user.setdefault(_owner_of(parking.ctx), OrderedDict())
        mine[number] = None
        while len(mine) > self._limits.parked_per_user:
            self._expire(next(iter(mine)))
        return self._ask(number)

    async def claim(self, ctx: TenantContext, state: State, responses: bytes, digest: bytes) -> ParkedCall | Result:
        """Give a call of this worker its input and take it out; a Result that asks again when the input is not there.

        Raises:
            Refusal: -32602: it is not waiting (any more), or what came is not for it.
        """
        call = self._calls.get(state.call)
        if call is None or _owner_of(call.parking.ctx) != _owner_of(ctx) or call.parking.target != state.target:
            raise invalid_parameters(f"params.requestState: {GONE}")
        if call.parking.digest != digest or state.digest != digest:
            raise invalid_parameters("params: not those of the request that is being continued")
        try:
            given = _responses.decode(responses).get(call.key) if responses else None
        except msgspec.MsgspecError:
            raise invalid_parameters("params.inputResponses: expected an object") from None
        if given is None:
            return self._ask(state.call)
        if bytes(given)[:1] != b"{":
            raise invalid_parameters(f"params.inputResponses.{call.key}: expected an object")
        self._take_out(state.call)
        await call.question.answer(b'"result":' + bytes(given))
        return call

    async def claim_elsewhere(self, ctx: TenantContext, state: State, responses: bytes, digest: bytes) -> Messages:
        """Have the worker that holds the call go on with it; what it says from there on.

        Raises:
            Refusal: That worker is gone, and the call with it.
            StorageUnavailable: It cannot be reached now.
        """
        ref = new_id()
        steps: asyncio.Queue[Step] = asyncio.Queue()
        self._awaited[ref] = steps
        is_over = False
        try:
            body = _encoder.encode(Resume(state, responses, digest))
            letter = _letter(RESUME, ctx, ref, body)
            if not await self._mailbox.send(state.worker_id, letter) or not await _is_taken(steps):
                is_over = True
                raise _gone()
            async for message in self._read_steps(state.worker_id, letter, steps):
                is_over = isinstance(message, OUTCOMES)
                yield message
        finally:
            del self._awaited[ref]
            if not is_over:
                with contextlib.suppress(StorageUnavailable):
                    await self._mailbox.send(state.worker_id, _letter(ABANDON, ctx, ref))

    async def close(self) -> None:
        """End every parked call: the worker stops."""
        for number in list(self._calls):
            self._expire(number)
        for task in list(self._serving.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- here -------------------------------------------------------------------------------------------------------
    def _ask(self, number: int) -> Result:
        call = self._calls[number]
        parking = call.parking
        place = State(parking.target, worker_id=self._mailbox.worker_id, call=number, digest=parking.digest)
        asked = {"method": call.question.method}
        if call.question.params is not None:
            asked["params"] = msgspec.Raw(call.question.params)  # type: ignore[assignment]  # raw JSON among strings
        said = {
            "resultType": "input_required",
            "inputRequests": {call.key: asked},
            "requestState": self._states.seal(parking.ctx, place),
        }
        return Result(wire.to_json(said))

    def _take_out(self, number: int) -> ParkedCall:
        call = self._calls.pop(number)
        call.timer.cancel()
        owner = _owner_of(call.parking.ctx)
        del self._by_user[owner][number]
        if not self._by_user[owner]:
            del self._by_user[owner]
        return call

    def _expire(self, number: int) -> None:
        call = self._take_out(number)
        self._spawn(_close(call.messages))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_run(work), name="mcp-parked-call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- for a client at another worker -----------------------------------------------------------------------------
    async def _take_resume(self, letter: Letter) -> None:
        task = self._spawn(self._serve(letter))
        self._serving[letter.ref] = task
        task.add_done_callback(lambda _: self._serving.pop(letter.ref, None))

    async def _take_abandon(self, letter: Letter) -> None:
        task = self._serving.get(letter.ref)
        if task is not None:
            task.cancel()

    async def _serve(self, letter: Letter) -> None:
        """Go on with a call and send what it says to the worker with its client."""
        resume = _resumes.decode(letter.body)
        held = self._calls.get(resume.state.call)
        await self._send(letter, Step("taken"))
        if held is None or _owner_of(held.parking.ctx) != (letter.tenant_id, letter.user_id):
            await self._send(letter, *_steps_of(Failure(wire.INVALID_PARAMS, GONE)))
            return
        try:
            claimed = await self.claim(held.parking.ctx, resume.state, resume.responses, resume.digest)
        except Refusal as refusal:
            await self._send(letter, *_steps_of(Failure(refusal.code, refusal.message, refusal.data)))
            return
        if isinstance(claimed, Result):
            await self._send(letter, *_steps_of(claimed))
        else:
            await self._go_on(letter, claimed)

    async def _go_on(self, letter: Letter, call: ParkedCall) -> None:
        is_parked = False
        try:
            async for message in call.messages:
                if isinstance(message, ServerRequest):
                    is_parked = True
                    await self._send(letter, *_steps_of(self.park(call.parking, call.messages, message)))
                    return
                if isinstance(message, Notification | Result | Failure) and not await self._send(
                    letter, *_steps_of(message)
                ):
                    return
        except GatewayError as error:
            refusal = refusal_of(error)
            await self._send(letter, *_steps_of(Failure(refusal.code, refusal.message, refusal.data)))
        finally:
            if not is_parked:
                await call.messages.aclose()

    async def _send(self, letter: Letter, *steps: Step) -> bool:
        """Answer a letter; False when the worker with the client is gone."""
        return all([
            await self._mailbox.send(
                letter.sender, Letter(STEP, letter.tenant_id, letter.user_id, None, letter.ref, _encoder.encode(step))
            )
            for step in steps
        ])  # fmt: skip

    # --- of a client here, parked elsewhere -------------------------------------------------------------------------
    async def _take_step(self, letter: Letter) -> None:
        steps = self._awaited.get(letter.ref)
        if steps is not None:
            steps.put_nowait(_steps.decode(letter.body))

    async def _read_steps(
        self, worker_id: str, letter: Letter, steps: "asyncio.Queue[Step]"
    ) -> AsyncGenerator[RelayMessage, None]:
        parts: list[bytes] = []
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    step = await steps.get()
            except TimeoutError:
                if not await self._mailbox.send(worker_id, replace(letter, kind=LOOK, body=b"")):
                    raise _gone() from None
                continue
            parts.append(step.raw)
            if step.is_more:
                continue
            raw, parts = b"".join(parts), []
            if step.kind == "notification":
                yield Notification(raw)
            elif step.kind == "result":
                yield Result(raw)
                return
            elif step.kind == "failure":
                yield Failure(step.code, step.text, raw if step.has_data else None)
                return


async def _close(messages: Messages) -> None:
    await messages.aclose()


async def _run(work: Coroutine[Any, Any, None]) -> None:
    """What fails here fails for a client that is not connected: there is nobody to tell."""
    try:
        await work
    except GatewayError as error:
        log.warning("parked_call_failed", fault=type(error).__name__)


def _steps_of(message: Notification | Result | Failure) -> list[Step]:
    """A message in parts that fit into letters."""
    if isinstance(message, Failure):
        return [Step("failure", message.data or b"", False, message.code, message.message, message.data is not None)]
    kind = "result" if isinstance(message, Result) else "notification"
    starts = range(0, max(1, len(message.raw)), PART_BYTES)
    return [
        Step(kind, message.raw[start : start + PART_BYTES], start + PART_BYTES < len(message.raw)) for start in starts
    ]


async def _is_taken(steps: "asyncio.Queue[Step]") -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TAKEN_SECONDS):
            await steps.get()
            return True
    return False


def _letter(kind: str, ctx: TenantContext, ref: str, body: bytes = b"") -> Letter:
    return Letter(kind, ctx.tenant.id, ctx.principal.user_id, None, ref, body)


def _owner_of(ctx: TenantContext) -> tuple[str, str]:
    return ctx.tenant.id, ctx.principal.user_id


def _gone() -> Refusal:
    return Refusal(200, wire.UNAVAILABLE, "The worker that held this call is gone; call again if you need it")
