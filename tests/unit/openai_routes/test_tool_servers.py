"""What becomes of a chat when tool servers are not available (compatibility D3)."""

from typing import Any

import pytest
from openai import InternalServerError

from gateway_proxy.router.messages import Result
from gateway_proxy.router.unlisted import Unlisted
from openai_routes.tool_servers import NAMED, missing_note
from tests.support.llm.scripted import Said
from tests.support.llm.stage import stage
from tests.support.llm.surface import OnProgress, text_result

ASK: Any = [{"role": "user", "content": "Add."}]
TASK: Any = [{"role": "user", "content": "### Task:\nGenerate a title."}]
DEAD = Unlisted("dead", "it could not be started", 7.6)
SLOW = Unlisted("slow", None, 5.0)


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result("5")


ADD = {"calc__add": add}


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_assistant_whose_server_is_not_available_fails_before_the_provider_is_asked(
    path: str, stream: bool
) -> None:
    """Compatibility D3: MCP start failure 502; contract, Errors."""
    async with stage([Said("Made up.")], ADD, mcp_servers=("calc", "dead")) as on:
        on.tools.unlisted = [DEAD]
        said = {"messages": ASK} if path == "chat/completions" else {"input": "Add."}
        answer = await on.http.post(f"/v1/{path}", json={"model": "helper", "stream": stream, **said})
        assert (answer.status_code, answer.headers["content-type"]) == (502, "application/json")
        assert answer.json()["error"] == {
            "message": "The assistant's tool server 'dead' is not available: it could not be started.",
            "type": "server_error",
            "param": None,
            "code": "tool_server_unavailable",
        }
        assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("8", "false")
        assert on.upstream.requests == []


async def test_an_assistant_whose_server_still_starts_says_so_and_is_asked_again() -> None:
    """The SDKs try again by themselves when they are told to."""
    async with stage([Said("Made up.")], ADD, mcp_servers=("slow",)) as on:
        on.tools.unlisted = [SLOW]
        with pytest.raises(InternalServerError, match="'slow' is not available: it is still starting") as caught:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        headers = caught.value.response.headers
        assert (headers["retry-after"], headers["x-should-retry"]) == ("5", "true")
        on.tools.unlisted = [SLOW, DEAD]
        answer = await on.http.post("/v1/chat/completions", json={"model": "mcp-gateway", "messages": ASK})
        assert answer.status_code == 200


async def test_every_server_that_is_missing_is_named_up_to_a_bound() -> None:
    """Whoever reads it is to see what there is to mend; an assistant may name hundreds of servers."""
    missing = [Unlisted(f"s{number}", "it answered\nwith status 500", 1.0) for number in range(9)]
    async with stage([], ADD, mcp_servers=tuple(server.name for server in missing)) as on:
        on.tools.unlisted = missing
        with pytest.raises(InternalServerError, match=r"'s4' .* 4 more of its tool servers") as caught:
            await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert "'s5'" not in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("model", ["helper", "mcp-gateway"])
async def test_over_all_servers_the_chat_goes_on_and_the_model_is_told_what_is_missing(model: str) -> None:
    """It can say then that something is not available; without, models make results up."""
    async with stage([Said("Sorry.")] * 2, ADD) as on:
        await on.openai.chat.completions.create(model=model, messages=ASK)
        on.tools.unlisted = [DEAD, SLOW]
        await on.openai.chat.completions.create(model=model, messages=ASK)
        without, told = on.upstream.requests
        assert without["messages"] == ASK
        assert told["messages"] == [{"role": "system", "content": missing_note(["dead", "slow"])}, *ASK]
        assert "dead, slow" in told["messages"][0]["content"]
        assert len(told["tools"]) == 1


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_the_line_goes_into_the_system_message_that_there_is(role: str) -> None:
    """Some models take only one system message, and only as the first."""
    note = missing_note(["dead"])
    async with stage([Said("Sorry.")] * 3, ADD, system_prompt="Be kind.") as on:
        on.tools.unlisted = [DEAD]
        own: list[Any] = [None, "Be mean.", [{"type": "text", "text": "Be mean."}]]
        for content in own:
            given: Any = [*([] if content is None else [{"role": role, "content": content}]), *ASK]
            await on.openai.chat.completions.create(model="helper", messages=given)
        prompts = [sent["messages"][0] for sent in on.upstream.requests]
        assert [len(sent["messages"]) for sent in on.upstream.requests] == [2, 2, 2]
        assert prompts == [
            {"role": "system", "content": f"Be kind.\n\n{note}"},
            {"role": role, "content": f"Be mean.\n\n{note}"},
            {"role": role, "content": [{"type": "text", "text": "Be mean."}, {"type": "text", "text": note}]},
        ]


@pytest.mark.parametrize("servers", [None, ("dead",), ()])
async def test_background_tasks_do_without_servers_and_hear_nothing_of_them(servers: tuple[str, ...] | None) -> None:
    """openai-clients.md §0, 2: a title must not fail, nor be about servers."""
    async with stage([Said("Title")], ADD, mcp_servers=servers) as on:
        on.tools.unlisted = [DEAD]
        await on.openai.chat.completions.create(model="helper", messages=TASK)
        assert on.upstream.requests[0]["messages"] == TASK


async def test_servers_that_the_assistant_does_not_name_are_not_missed() -> None:
    """Neither an error nor a line."""
    async with stage([Said("5")] * 2, ADD, mcp_servers=("calc",)) as on:
        on.tools.unlisted = [DEAD]
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert on.upstream.requests[0]["messages"] == ASK
    async with stage([Said("5")], ADD, mcp_servers=()) as on:
        on.tools.unlisted = [DEAD]
        await on.openai.chat.completions.create(model="helper", messages=ASK)
        assert on.upstream.requests[0]["messages"] == ASK


def test_the_line_is_bounded() -> None:
    """A tenant may have hundreds of servers."""
    note = missing_note([f"s{number}" for number in range(NAMED + 3)])
    assert f"s{NAMED - 1} and 3 more." in note
    assert f"s{NAMED}," not in note
