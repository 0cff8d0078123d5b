"""The prompts."""

from tests.support.everything import input_required
from tests.support.everything.parts import Context, Handler, Json, embedded, image, text


def _messages(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": block} for block in blocks]}


async def _simple(ctx: Context, arguments: Json) -> Json:
    return _messages(text("This is a simple prompt for testing."))


async def _with_arguments(ctx: Context, arguments: Json) -> Json:
    return _messages(text(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'"))


async def _with_resource(ctx: Context, arguments: Json) -> Json:
    resource = embedded(arguments["resourceUri"], "text/plain", "Embedded resource content for testing.")
    return _messages(resource, text("Please process the embedded resource above."))


async def _with_image(ctx: Context, arguments: Json) -> Json:
    return _messages(image(), text("Please analyze the image above."))


PROMPTS: dict[str, tuple[Handler, tuple[str, ...]]] = {
    "test_simple_prompt": (_simple, ()),
    "test_prompt_with_arguments": (_with_arguments, ("arg1", "arg2")),
    "test_prompt_with_embedded_resource": (_with_resource, ("resourceUri",)),
    "test_prompt_with_image": (_with_image, ()),
    "test_input_required_result_prompt": (input_required.prompt, ()),
}
"""Name → what it does, and the arguments that it needs."""


def definitions() -> list[Json]:
    """The entries of prompts/list."""
    return [
        {
            "name": name,
            "description": f"The prompt {name}",
            "arguments": [{"name": argument, "required": True} for argument in arguments],
        }
        for name, (_, arguments) in PROMPTS.items()
    ]
