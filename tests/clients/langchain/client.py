"""LangChain as people use it, against the base URL and key of the arguments; what it understood, as one JSON object."""

import asyncio
import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from openai import NotFoundError
from pydantic import BaseModel


class AskUser(BaseModel):
    """Ask the user."""

    question: str


class Answer(BaseModel):
    """The answer."""

    value: int


async def _in_pieces(model: ChatOpenAI) -> str:
    return "".join([str(chunk.content) async for chunk in model.astream("stream")])


def main(base_url: str, key: str) -> dict[str, Any]:
    """Everything in turn; the scripted provider behind the gateway expects this order."""
    settings: dict[str, Any] = {"model": "helper", "base_url": f"{base_url}/v1", "api_key": key, "max_retries": 0}
    model = ChatOpenAI(**settings)
    found: dict[str, Any] = {}
    whole = model.invoke("whole")
    found["whole"], found["tokens"] = whole.content, (whole.usage_metadata or {}).get("total_tokens")
    found["stream"] = asyncio.run(_in_pieces(model))
    with_tool = model.bind_tools([AskUser])
    asked = with_tool.invoke("mixed")
    found["tool_calls"] = asked.tool_calls
    told = ToolMessage("blue", tool_call_id=asked.tool_calls[0]["id"])
    found["after_tools"] = with_tool.invoke([HumanMessage("mixed"), asked, told]).content
    found["json_schema"] = model.with_structured_output(Answer).invoke("schema").model_dump()
    forced = model.with_structured_output(Answer, method="function_calling")
    found["function_calling"] = forced.invoke("function").model_dump()
    found["responses"] = ChatOpenAI(**settings, use_responses_api=True).invoke("responses").text
    try:
        ChatOpenAI(**settings | {"model": "nope"}).invoke("unknown")
    except NotFoundError as error:
        found["error"] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
