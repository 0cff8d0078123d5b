"""LlamaIndex as people use it, against base URL and key of the arguments; what it understood, as one JSON object."""

import json
import sys
from pathlib import Path
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai.utils import from_openai_message_dicts
from llama_index.llms.openai_like import OpenAILike


def ask_user(question: str) -> str:
    """Ask the user."""
    return question


def main(base_url: str, key: str) -> dict[str, Any]:
    """Everything in turn; the scripted provider behind the gateway expects this order."""

    def model(**more: Any) -> OpenAILike:
        settings = {"model": "helper", "api_base": f"{base_url}/v1", "api_key": key, "max_retries": 0}
        return OpenAILike(**settings, is_chat_model=True, is_function_calling_model=True, **more)

    def in_pieces(llm: OpenAILike) -> str:
        asked = [ChatMessage(role="user", content="stream")]
        return "".join(chunk.delta or "" for chunk in llm.stream_chat(asked))

    llm = model()
    found: dict[str, Any] = {"whole": llm.chat([ChatMessage(role="user", content="whole")]).message.content}
    found["stream"] = in_pieces(llm)
    tool = FunctionTool.from_defaults(ask_user)
    answer = llm.chat_with_tools([tool], user_msg="mixed")
    found["tool_calls"] = [call.tool_kwargs for call in llm.get_tool_calls_from_response(answer)]
    *_, last = llm.stream_chat_with_tools([tool], user_msg="mixed stream")
    found["stream_tool_calls"] = [call.tool_kwargs for call in llm.get_tool_calls_from_response(last)]
    for progress in ("reasoning", "openwebui"):
        found[progress] = in_pieces(model(default_headers={"x-gateway-progress": progress}))
    found["recorded"] = {path.stem: read_recorded(model, path) for path in recorded_chats()}
    return found


def recorded_chats() -> list[Path]:
    """The chats that Open WebUI was recorded with."""
    return sorted(Path(__file__).parents[1].glob("open_webui/recorded/*chat*.json"))


def read_recorded(model: Any, path: Path) -> list[Any]:
    """Ask as Open WebUI did, with its headers, messages and tools; the text and the calls that came."""
    sent = json.loads(path.read_text("utf-8"))
    llm = model(default_headers={name: value for name, value in sent["headers"].items() if name.startswith("x-")})
    asked = from_openai_message_dicts(sent["body"]["messages"])
    text, last = "", None
    for last in llm.stream_chat(asked, tools=sent["body"]["tools"]):
        text += last.delta or ""
    calls = llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)
    return [text, [call.tool_name for call in calls]]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
