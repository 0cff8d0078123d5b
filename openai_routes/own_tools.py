"""Runs one call of the gateway's own tools through the router, and turns what comes back into text for the model."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import Failure, Result
from openai_routes.introduction import plain
from openai_routes.tool_bridge import CALLER, ToolSelection
from openai_routes.tool_results import RESULT_LIMIT, ToolOutcome, failed, read_result
from openai_routes.tool_runner import OnProgress
from openai_routes.tool_search import search
from openai_routes.turn import Call

ARGUMENTS_LIMIT: Final = 4 * 1024 * 1024


class ToolCallsToEnd(Protocol):
    """What is needed of `router.call.ToolCalls`."""

    async def call_to_end(
        self,
        ctx: TenantContext,
        caller: Caller,
        *,
        name: str,
        arguments: bytes,
        timeout: float | None = None,
        on_progress: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> Result | Failure:
        """Authorize, route, call and record one tool call; `on_progress` gets raw notifications."""


class _ProgressParams(msgspec.Struct):
    progress: float | None = None
    total: float | None = None
    message: str | None = None


class _Progress(msgspec.Struct):
    method: str = ""
    params: _ProgressParams | None = None


@dataclass(frozen=True, slots=True)
class OwnTools:
    """A `tool_runner.RunOne` for one request: its caller, its functions, and how results are shown to its model."""

    calls: ToolCallsToEnd
    ctx: TenantContext
    selection: ToolSelection
    sees_images: bool = False
    result_limit: int = RESULT_LIMIT
    timeout: float | None = None

    async def __call__(self, call: Call, on_progress: OnProgress) -> ToolOutcome:
        """Run `call`. What the model did wrong is an outcome; what the relay could not do is raised.

        Raises:
            RelayError: The call could not be made.
        """
        arguments = read_arguments(call.arguments)
        if isinstance(arguments, ToolOutcome):
            return arguments
        if call.name and call.name == self.selection.search_name:
            return ToolOutcome(search(self.selection.hidden.values(), str(arguments.get("query", ""))))
        if call.name and call.name == self.selection.call_name:
            found, inner = arguments.get("name"), arguments.get("arguments", {})
            if not isinstance(found, str) or not isinstance(inner, dict):
                return failed("'name' must be the name of a tool and 'arguments' an object")
            return await self._call(found, msgspec.json.encode(inner), on_progress)
        return await self._call(call.name, call.arguments.encode() if arguments else b"{}", on_progress)

    async def _call(self, name: str, arguments: bytes, on_progress: OnProgress) -> ToolOutcome:
        catalog_name = self.selection.own.get(name)
        if catalog_name is None or name in (self.selection.search_name, self.selection.call_name):
            return failed(f"there is no tool named '{plain(name, 80)}'")

        async def notified(raw: bytes) -> None:
            text = progress_text(raw)
            if text:
                on_progress(text)

        answer = await self.calls.call_to_end(
            self.ctx,
            CALLER,
            name=catalog_name,
            arguments=arguments,
            timeout=self.timeout,
            on_progress=notified,
        )
        if isinstance(answer, Failure):
            return failed(plain(answer.message, 2000) or "the tool server reported an error")
        return read_result(answer.raw, sees_images=self.sees_images, limit=self.result_limit)


def read_arguments(text: str) -> dict[str, Any] | ToolOutcome:
    """The arguments of a call: none at all is an empty object, anything else that is no object is the model's error."""
    if not text.strip():
        return {}
    if len(text) > ARGUMENTS_LIMIT:
        return failed("the arguments are longer than 4 MiB")
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return failed("the arguments are not valid JSON; send one JSON object")
    if decoded is None:
        return {}
    if not isinstance(decoded, dict):
        return failed("the arguments must be one JSON object")
    return decoded


def progress_text(raw: bytes) -> str:
    """One line for people from `notifications/progress`; empty for other notifications."""
    try:
        notification = msgspec.json.decode(raw, type=_Progress)
    except (msgspec.DecodeError, RecursionError):
        return ""
    params = notification.params
    if notification.method != "notifications/progress" or params is None:
        return ""
    if params.message:
        return plain(params.message)
    if params.progress is None:
        return ""
    return f"{params.progress:g} of {params.total:g}" if params.total else f"{params.progress:g}"
