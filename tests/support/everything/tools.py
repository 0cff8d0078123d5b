"""The tools: one table of name, what it is for, the schema of its arguments, and what it does."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPError

from tests.support.everything import client_requests, input_required
from tests.support.everything.parts import WAV, Context, Handler, Json, content, embedded, image, text

STEP_SECONDS = 0.05
RECONNECT_SECONDS = 0.2
STAY_AWAY_SECONDS = 3.0
"""Over stdio there is no stream to break: the tool takes longer than the gateway holds one (`tests.conformance`)."""

SCHEMA_2020_12: Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _object(**properties: Json) -> Json:
    """The schema of an object that needs all of `properties`."""
    schema: Json = {"type": "object", "properties": properties}
    return schema | {"required": list(properties)} if properties else schema


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of the server."""

    description: str
    call: Handler
    schema: Json = field(default_factory=_object)

    def definition(self, name: str) -> Json:
        """Its entry in tools/list."""
        return {"name": name, "description": self.description, "inputSchema": self.schema}


async def _simple_text(ctx: Context, arguments: Json) -> Json:
    return content(text("This is a simple text response for testing."))


async def _greet(ctx: Context, arguments: Json) -> Json:
    return content(text(f"Hello, {arguments['name']}!"))


async def _image(ctx: Context, arguments: Json) -> Json:
    return content(image())


async def _audio(ctx: Context, arguments: Json) -> Json:
    return content({"type": "audio", "data": WAV, "mimeType": "audio/wav"})


async def _embedded(ctx: Context, arguments: Json) -> Json:
    return content(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


async def _mixed(ctx: Context, arguments: Json) -> Json:
    resource = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return content(text("Multiple content types test:"), image(), resource)


async def _log(ctx: Context, message: str) -> None:
    await ctx.session.send_log_message("info", message, related_request_id=ctx.request_id)


async def _logging(ctx: Context, arguments: Json) -> Json:
    await _log(ctx, "Tool execution started")
    await asyncio.sleep(STEP_SECONDS)
    await _log(ctx, "Tool processing data")
    await asyncio.sleep(STEP_SECONDS)
    await _log(ctx, "Tool execution completed")
    return content(text("Tool with logging executed successfully"))


async def _progress(ctx: Context, arguments: Json) -> Json:
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
        await asyncio.sleep(STEP_SECONDS)
    return content(text("Tool with progress executed successfully"))


async def _error(ctx: Context, arguments: Json) -> Json:
    return content(text("This tool intentionally returns an error for testing")) | {"isError": True}


async def _reconnection(ctx: Context, arguments: Json) -> Json:
    await _log(ctx, "Before disconnect")
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
        await asyncio.sleep(RECONNECT_SECONDS)
    else:
        await asyncio.sleep(STAY_AWAY_SECONDS)
    await _log(ctx, "After reconnect")
    return content(text("Reconnection test completed"))


async def _schema_2020_12(ctx: Context, arguments: Json) -> Json:
    return content(text(f"Received {sorted(arguments)}"))


async def _x_mcp_header(ctx: Context, arguments: Json) -> Json:
    return content(text(f"region={arguments.get('region')}"))


async def _missing_capability(ctx: Context, arguments: Json) -> Json:
    """Sampling is needed and is asked for before anything else (SEP-2575)."""
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs the sampling capability",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return content(text("The client can sample"))


@dataclass(frozen=True, slots=True)
class Triggers:
    """Tools that make something change, so that those who listen hear of it on either leg."""

    bus: InMemorySubscriptionBus

    async def tools(self, ctx: Context, arguments: Json) -> Json:
        """The list of tools has changed."""
        await self.bus.publish(ToolsListChanged())
        await ctx.session.send_tool_list_changed()
        return content(text("Announced"))

    async def prompts(self, ctx: Context, arguments: Json) -> Json:
        """The list of prompts has changed."""
        await self.bus.publish(PromptsListChanged())
        await ctx.session.send_prompt_list_changed()
        return content(text("Announced"))

    async def resource(self, ctx: Context, arguments: Json) -> Json:
        """A resource has changed."""
        await self.bus.publish(ResourceUpdated(arguments["uri"]))
        await ctx.session.send_resource_updated(arguments["uri"])
        return content(text("Announced"))


def make_tools(bus: InMemorySubscriptionBus) -> dict[str, Tool]:
    """All tools by name."""
    string: dict[str, Any] = {"type": "string"}
    triggers = Triggers(bus)
    asks = "test_input_required_result_"
    return {
        "test_simple_text": Tool("Returns text", _simple_text),
        "greet": Tool("Greets", _greet, _object(name=string)),
        "test_image_content": Tool("Returns an image", _image),
        "test_audio_content": Tool("Returns audio", _audio),
        "test_embedded_resource": Tool("Returns an embedded resource", _embedded),
        "test_multiple_content_types": Tool("Returns text, an image and a resource", _mixed),
        "test_tool_with_logging": Tool("Logs while it runs", _logging),
        "test_logging_tool": Tool("Logs while it runs", _logging),
        "test_tool_with_progress": Tool("Reports progress", _progress),
        "test_error_handling": Tool("Fails", _error),
        "test_reconnection": Tool("Closes its stream before it answers (SEP-1699)", _reconnection),
        "test_sampling": Tool("Asks the client's model", client_requests.ask_model, _object(prompt=string)),
        "test_elicitation": Tool("Asks the user", client_requests.ask_user, _object(message=string)),
        "test_elicitation_sep1034_defaults": Tool("Asks with defaults", client_requests.ask_user_with_defaults),
        "test_elicitation_sep1330_enums": Tool("Asks with choices", client_requests.ask_user_with_enums),
        "json_schema_2020_12_tool": Tool("Has a schema of 2020-12", _schema_2020_12, SCHEMA_2020_12),
        "test_x_mcp_header": Tool(
            "Takes an argument that is repeated in a header (SEP-2243)",
            _x_mcp_header,
            _object(region=string | {"x-mcp-header": "Region"}),
        ),
        "test_missing_capability": Tool("Needs a client that can sample", _missing_capability),
        "test_streaming_elicitation": Tool("Asks before it answers", input_required.elicitation),
        "test_trigger_tool_change": Tool("Announces new tools", triggers.tools),
        "test_trigger_prompt_change": Tool("Announces new prompts", triggers.prompts),
        "test_trigger_resource_update": Tool("Announces an update", triggers.resource, _object(uri=string)),
        f"{asks}elicitation": Tool("Asks the user for a name", input_required.elicitation),
        f"{asks}sampling": Tool("Asks the client's model", input_required.sampling),
        f"{asks}list_roots": Tool("Asks for the roots", input_required.list_roots),
        f"{asks}request_state": Tool("Asks, and keeps state at the client", input_required.request_state),
        f"{asks}multiple_inputs": Tool("Asks three things at once", input_required.multiple_inputs),
        f"{asks}multi_round": Tool("Asks twice", input_required.multi_round),
        f"{asks}tampered_state": Tool("Refuses changed state", input_required.tampered_state),
        f"{asks}capabilities": Tool("Asks what the client can answer", input_required.capabilities),
    }
