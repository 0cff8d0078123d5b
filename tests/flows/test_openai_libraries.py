"""The libraries that people build on, each in an environment of its own, against the surface (issue 4, done when)."""

import asyncio
import json
from typing import Any

from gateway_proxy.router.messages import Result
from tests.support.client_environment import CLIENTS, client_python
from tests.support.llm.recorded import names, recorded
from tests.support.llm.scripted import Said
from tests.support.llm.stage import Stage, stage
from tests.support.llm.surface import OnProgress, text_result

OWN = ("call_own1a2b3c4", "calc__add", '{"a":2,"b":3}')
SECONDS = 120.0
CHATS = sorted(name for name in names() if "chat" in name and recorded(name).method == "POST")


def first_tool(name: str) -> str:
    """The first tool that a recorded chat offers."""
    found: str = recorded(name).body["tools"][0]["function"]["name"]
    return found


def theirs(name: str) -> tuple[str, str, str]:
    """A call of the client's own tool."""
    return ("call_cli1a2b3c4", name, '{"question":"Which?"}')


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


async def run_client(name: str, on: Stage) -> dict[str, Any]:
    """Run `tests/clients/<name>/client.py` to its end; what it printed."""
    python = await asyncio.to_thread(client_python, name)
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(CLIENTS / name / "client.py"),
        on.url,
        "gw_pat_x",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


async def test_langchain_gets_answers_tools_and_structured_output() -> None:
    """openai-clients.md §2: role and choices, forced tool_choice, both endpoints; a mixed batch is lossless."""
    script = [
        Said(calls=[OWN]),
        Said("whole answer"),
        Said(calls=[OWN]),
        Said("streamed answer"),
        Said(calls=[OWN, theirs("AskUser")]),
        Said("blue it is"),
        Said('{"value": 5}'),
        Said(calls=[("call_out1a2b3c4", "Answer", '{"value": 6}')]),
        Said(calls=[OWN]),
        Said("a response"),
    ]
    async with stage(script, {"calc__add": add}) as on:
        found = await run_client("langchain", on)
        assert (found["whole"], found["tokens"]) == ("whole answer", 30)
        assert found["stream"] == "streamed answer"
        assert [call["args"] for call in found["tool_calls"]] == [{"question": "Which?"}]
        assert found["after_tools"] == "blue it is"
        assert [m["content"] for m in on.upstream.requests[5]["messages"]] == ["mixed", None, "5", "blue"]
        assert (found["json_schema"], found["function_calling"]) == ({"value": 5}, {"value": 6})
        assert found["responses"] == "a response"
        assert "/v1/models" in found["error"]


async def test_llama_index_reads_every_stream_without_an_exception() -> None:
    """openai-clients.md §0, 5: frames without choices end its streams; both ways of showing progress do not."""
    mixed = Said(calls=[OWN, theirs("ask_user")])
    script = [
        Said(calls=[OWN]),
        Said("whole answer"),
        Said(calls=[OWN]),
        Said("streamed answer"),
        mixed,
        mixed,
        Said(calls=[OWN]),
        Said("as thought"),
        Said(calls=[OWN]),
        Said("as status"),
    ]
    for name in CHATS:
        script += [Said(calls=[OWN]), Said("Both. ", calls=[OWN, theirs(first_tool(name))])]
    async with stage(script, {"calc__add": add}) as on:
        found = await run_client("llama_index", on)
        assert (found["whole"], found["stream"]) == ("whole answer", "streamed answer")
        assert found["tool_calls"] == found["stream_tool_calls"] == [{"question": "Which?"}]
        assert (found["reasoning"], found["openwebui"]) == ("as thought", "as status")
        assert found["recorded"] == {name: ["Both. ", [first_tool(name)]] for name in CHATS}
