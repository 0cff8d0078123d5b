"""Answers that ask before they answer, on the modern leg (SEP-2322): `input_required`, then the retry of the client.

The handlers see `requestState` as they made it: the SDK's boundary seals it on the way out and opens it on the way in.
"""

import json
from typing import Any

import mcp_types as types

from tests.support.everything.parts import Context, Json, content, form, text

ASK_NAME: Json = {
    "method": "elicitation/create",
    "params": form("What is your name?", {"name": {"type": "string"}}) | {"mode": "form"},
}
ASK_CAPITAL: Json = {
    "method": "sampling/createMessage",
    "params": {
        "messages": [{"role": "user", "content": text("What is the capital of France?")}],
        "maxTokens": 100,
    },
}
ASK_GREETING: Json = {
    "method": "sampling/createMessage",
    "params": {"messages": [{"role": "user", "content": text("Generate a greeting")}], "maxTokens": 50},
}
ASK_ROOTS: Json = {"method": "roots/list", "params": {}}


def _elicitation(message: str, name: str, kind: str = "string") -> Json:
    return {
        "method": "elicitation/create",
        "params": form(message, {name: {"type": kind}}) | {"mode": "form"},
    }


def _ask(state: str | None = None, /, **requests: Json) -> Json:
    result: Json = {"resultType": "input_required", "inputRequests": requests}
    return result if state is None else result | {"requestState": state}


def _answers(ctx: Context) -> Json:
    answers = (ctx.params or {}).get("inputResponses")
    return answers if isinstance(answers, dict) else {}


def _state(ctx: Context) -> str | None:
    state = (ctx.params or {}).get("requestState")
    return state if isinstance(state, str) else None


def _field(answer: Any, name: str) -> Any:
    """What the user put into a field of an accepted form, else None."""
    if not isinstance(answer, dict) or answer.get("action") != "accept":
        return None
    return (answer.get("content") or {}).get(name)


async def elicitation(ctx: Context, arguments: Json) -> Json:
    """Ask for a name, and ask again while there is none."""
    name = _field(_answers(ctx).get("user_name"), "name")
    return _ask(user_name=ASK_NAME) if name is None else content(text(f"Hello, {name}!"))


async def sampling(ctx: Context, arguments: Json) -> Json:
    """Ask the client's model."""
    answer = _answers(ctx).get("capital_question")
    if answer is None:
        return _ask(capital_question=ASK_CAPITAL)
    return content(text(f"The model said: {answer['content']['text']}"))


async def list_roots(ctx: Context, arguments: Json) -> Json:
    """Ask for the client's roots."""
    answer = _answers(ctx).get("client_roots")
    if answer is None:
        return _ask(client_roots=ASK_ROOTS)
    return content(text("Roots: " + ", ".join(root["uri"] for root in answer["roots"])))


async def request_state(ctx: Context, arguments: Json) -> Json:
    """Complete only with the state of the first round and an answer."""
    if _state(ctx) != "awaiting-confirmation" or _answers(ctx).get("confirm") is None:
        return _ask("awaiting-confirmation", confirm=_elicitation("Please confirm", "ok", "boolean"))
    return content(text("state-ok: confirmed"))


async def multiple_inputs(ctx: Context, arguments: Json) -> Json:
    """Ask the user, the model and the roots at once."""
    answers = _answers(ctx)
    if _state(ctx) is None or not {"user_name", "greeting", "client_roots"} <= answers.keys():
        return _ask("three-questions", user_name=ASK_NAME, greeting=ASK_GREETING, client_roots=ASK_ROOTS)
    return content(text(f"{answers['greeting']['content']['text']} to {_field(answers['user_name'], 'name')}"))


async def multi_round(ctx: Context, arguments: Json) -> Json:
    """Two questions, one after the other; the state carries the first answer."""
    state = json.loads(_state(ctx) or "{}")
    name = state.get("name") or _field(_answers(ctx).get("step1"), "name")
    if name is None or not state:
        return _ask(json.dumps({"round": 1}), step1=_elicitation("Step 1: What is your name?", "name"))
    color = _field(_answers(ctx).get("step2"), "color")
    if color is None:
        question = _elicitation("Step 2: What is your favorite color?", "color")
        return _ask(json.dumps({"round": 2, "name": name}), step2=question)
    return content(text(f"{name} likes {color}"))


async def tampered_state(ctx: Context, arguments: Json) -> Json:
    """State that a client may not change: the boundary refuses a changed one before we see it."""
    if _state(ctx) is None:
        return _ask("untouched", confirm=_elicitation("Please confirm", "ok", "boolean"))
    return content(text("state-ok"))


async def capabilities(ctx: Context, arguments: Json) -> Json:
    """Ask only what the client said that it can answer."""
    declared = ctx.session.client_capabilities or types.ClientCapabilities()
    questions: dict[str, Json] = {}
    if declared.elicitation is not None:
        questions["user_name"] = ASK_NAME
    if declared.sampling is not None:
        questions["greeting"] = ASK_GREETING
    if declared.roots is not None:
        questions["client_roots"] = ASK_ROOTS
    if not questions or questions.keys() <= _answers(ctx).keys():
        return content(text("Nothing left to ask"))
    return _ask(**questions)


async def prompt(ctx: Context, arguments: Json) -> Json:
    """A prompt that needs to know its context first."""
    context = _field(_answers(ctx).get("user_context"), "context")
    if context is None:
        return _ask(user_context=_elicitation("What context should the prompt use?", "context"))
    return {"messages": [{"role": "user", "content": text(f"Use this context: {context}")}]}
