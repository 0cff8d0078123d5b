"""From a chat request and its target to a request that the loop can run. Shared by every surface that chats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from gateway_proxy.domain.provider import Provider
from gateway_proxy.domain.tenant import TenantContext
from openai_routes.agent_loop import Budget, LoopRequest
from openai_routes.chat_request import ChatRequest
from openai_routes.errors import FieldInvalid
from openai_routes.introduction import plain
from openai_routes.kept_turns import KeptTurn, KeptTurns
from openai_routes.own_tools import OwnTools, ToolCallsToEnd
from openai_routes.targets import Target
from openai_routes.tool_bridge import ToolBridge, ToolSelection
from openai_routes.tool_servers import ToolServers
from openai_routes.transcript import build_transcript
from openai_routes.turn import Message, ProviderApi

OURS: Final = frozenset({"model", "messages", "tools", "tool_choice", "stream", "stream_options", "n"})
CHOICES: Final = "'none', 'auto', 'required', or an object that names a function"
OLDER: Final = ("functions", "function_call")


class ProviderApis(Protocol):
    """How a provider is reached."""

    def __call__(self, provider: Provider) -> ProviderApi:
        """The API of `provider`."""


class DefaultModels(Protocol):
    """What a provider offers where nobody named a model."""

    async def find_model(self, provider: Provider) -> str:
        """The id of the first chat model of `provider`."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes loop requests."""

    servers: ToolServers
    bridge: ToolBridge
    calls: ToolCallsToEnd
    turns: KeptTurns
    provider_api: ProviderApis
    default_models: DefaultModels

    async def prepare(self, ctx: TenantContext, request: ChatRequest, target: Target, task: str | None) -> LoopRequest:
        """The loop request. A background task gets neither the prompt nor the tools of the assistant.

        Raises:
            ToolServersMissing: The assistant names a tool server that is not available.
            ChatError: Something in the request cannot be used, or the provider cannot say what it offers.
        """
        for name in OLDER:
            if name in request.fields and msgspec.json.decode(request.fields[name]) is not None:
                raise FieldInvalid(name, "to be absent; use 'tools' and 'tool_choice'")
        servers = target.servers if task is None else ()
        note = await self.servers.check(ctx, servers)
        selection = await self.bridge.select(ctx, servers, request.tools)
        transcript = await build_transcript(
            ctx,
            request,
            system_prompt=target.system_prompt if task is None else "",
            note=note,
            selection=selection,
            turns=self.turns,
            provider=target.provider.id,
        )
        own_tools = OwnTools(self.calls, ctx, selection, target.sees_images, target.result_limit)

        async def keep(messages: Sequence[Message], call_ids: Sequence[str]) -> None:
            await self.turns.keep(ctx, call_ids, KeptTurn(target.provider.id, tuple(messages)))

        return LoopRequest(
            self.provider_api(target.provider),
            await self._model_of(target, task),
            transcript,
            selection,
            own_tools,
            keep,
            _tool_choice(request.fields.get("tool_choice"), selection),
            _fields(request.fields, target.defaults),
            target.extra,
            request.stream,
            replace(target.budget, calls=request.most_calls) if task is None else Budget(rounds=0),
            target.name,
            target.provider.name,
        )

    async def _model_of(self, target: Target, task: str | None) -> str:
        if task is not None and target.task_model is not None:
            return target.task_model
        return target.model or await self.default_models.find_model(target.provider)


def _fields(given: Mapping[str, Raw], defaults: Mapping[str, Any]) -> dict[str, Raw]:
    """The client's parameters over the assistant's defaults (compatibility D5)."""
    fields = {name: raw for name, raw in given.items() if name not in OURS}
    for name, value in defaults.items():
        is_given = name in fields or (name == "max_tokens" and "max_completion_tokens" in fields)
        if not is_given:
            fields[name] = Raw(msgspec.json.encode(value))
    return fields


def _tool_choice(raw: Raw | None, selection: ToolSelection) -> bytes | None:
    """The client's choice, with the names of functions as the provider knows them; None when there is none.

    Raises:
        FieldInvalid: It is no choice, or names a function that is not there.
    """
    choice = None if raw is None else msgspec.json.decode(raw)
    if choice is None:
        return None
    match choice:
        case "none" | "auto" | "required":
            found = choice
        case {"type": "function", "function": {"name": str()}}:
            found = _renamed(choice, selection)
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(tools)} as allowed}:
            renamed = [_renamed(tool, selection) if _is_function(tool) else tool for tool in tools]
            found = {**choice, "allowed_tools": {**allowed, "tools": renamed}}
        case {"type": "custom", "custom": {"name": str()}}:
            found = choice
        case _:
            raise FieldInvalid("tool_choice", CHOICES)
    return msgspec.json.encode(found) if selection.tools else None


def _is_function(tool: Any) -> bool:
    match tool:
        case {"type": "function", "function": {"name": str()}}:
            return True
    return False


def _renamed(choice: dict[str, Any], selection: ToolSelection) -> dict[str, Any]:
    name = selection.sent_name(choice["function"]["name"])
    if selection.tools and name not in selection.client and name not in selection.own:
        raise FieldInvalid("tool_choice", f"a function that is declared; '{plain(name, 80)}' is not")
    return {**choice, "function": {**choice["function"], "name": name}}
