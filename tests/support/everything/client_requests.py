"""What the server asks of its client on the legacy leg, on the stream of the request that is being answered."""

import json
from typing import Any

import mcp_types as types
from mcp.shared.message import ServerMessageMetadata

from tests.support.everything.parts import Context, Json, content, form, text


async def ask_model(ctx: Context, arguments: Json) -> Json:
    """Sampling: the client's model answers the prompt."""
    params = types.CreateMessageRequestParams.model_validate(
        {"messages": [{"role": "user", "content": text(arguments["prompt"])}], "maxTokens": 100}
    )
    result = await ctx.session.send_request(
        types.CreateMessageRequest(params=params),
        types.CreateMessageResult,
        metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
    )
    answer = result.content.text if isinstance(result.content, types.TextContent) else "No response"
    return content(text(f"LLM response: {answer}"))


async def _elicit(ctx: Context, parameters: Json) -> tuple[str, str]:
    params = types.ElicitRequestFormParams.model_validate(parameters)
    result = await ctx.session.send_request(
        types.ElicitRequest(params=params),
        types.ElicitResult,
        metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
    )
    return result.action, json.dumps(result.content or {})


async def ask_user(ctx: Context, arguments: Json) -> Json:
    """Elicitation of two strings."""
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    action, answer = await _elicit(ctx, form(arguments["message"], fields))
    return content(text(f"User response: action={action}, content={answer}"))


async def ask_user_with_defaults(ctx: Context, arguments: Json) -> Json:
    """Elicitation with a default for each primitive type (SEP-1034)."""
    fields = {
        "name": {"type": "string", "description": "User name", "default": "John Doe"},
        "age": {"type": "integer", "description": "User age", "default": 30},
        "score": {"type": "number", "description": "User score", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "description": "Verification status", "default": True},
    }
    parameters = form("Please provide user information", fields)
    del parameters["requestedSchema"]["required"]
    action, answer = await _elicit(ctx, parameters)
    return content(text(f"Elicitation completed: action={action}, content={answer}"))


def _titled(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"const": value, "title": title} for value, title in pairs]


async def ask_user_with_enums(ctx: Context, arguments: Json) -> Json:
    """Elicitation with all five kinds of enumeration (SEP-1330)."""
    plain = ["option1", "option2", "option3"]
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {
            "type": "string",
            "oneOf": _titled(("value1", "First Option"), ("value2", "Second Option"), ("value3", "Third Option")),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {
            "type": "array",
            "items": {
                "anyOf": _titled(("value1", "First Choice"), ("value2", "Second Choice"), ("value3", "Third Choice"))
            },
        },
    }
    parameters = form("Please choose", fields)
    del parameters["requestedSchema"]["required"]
    action, answer = await _elicit(ctx, parameters)
    return content(text(f"Elicitation completed: action={action}, content={answer}"))
