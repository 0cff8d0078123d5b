"""The client's own tools beside ours: kept, returned, honoured, and mixed batches without loss (issue 4, the loop)."""

from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError

from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.router.messages import Result
from gateway_proxy.storage.redis.client import open_redis
from openai_routes.kept_turns import KEPT_SECONDS, KeptTurn, KeptTurns, MemoryTurns, RedisTurns
from openai_routes.turn import Message
from tests.support.clock import FakeClock
from tests.support.llm.scripted import Said
from tests.support.llm.stage import Stage, stage
from tests.support.llm.surface import OnProgress, make_context, text_result

ASK: Any = [{"role": "user", "content": "Go"}]
OWN = ("call_own1a2b3c4", "calc__add", '{"a":2,"b":3}')
THEIRS = ("call_cli1a2b3c4", "ask_user", '{"question":"Which?"}')


def function(name: str) -> Any:
    """A tool of the client."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


OPEN_WEBUI = [function(name) for name in ["ask_user", *(f"builtin_{n}" for n in range(35))]]


async def add(given: dict[str, Any], _: OnProgress) -> Result:
    """A tool that adds."""
    return text_result(str(given["a"] + given["b"]))


ADD = {"calc__add": add}


async def test_tools_of_the_client_stand_beside_ours_and_its_calls_are_returned() -> None:
    """openai-clients.md §0, 1: Open WebUI sends 36 tools with every chat."""
    async with stage([Said(calls=[THEIRS])], ADD) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
        assert [t["function"]["name"] for t in on.upstream.requests[0]["tools"]] == [
            *(t["function"]["name"] for t in OPEN_WEBUI),
            "calc__add",
        ]
        (call,) = answer.choices[0].message.tool_calls or []
        assert (call.id, call.model_dump()["function"]) == (THEIRS[0], {"name": "ask_user", "arguments": THEIRS[2]})
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.content is None


@pytest.mark.parametrize("order", [(OWN, THEIRS), (THEIRS, OWN)])
async def test_deltas_for_the_client_are_numbered_from_zero_without_gaps(order: Any) -> None:
    """openai-clients.md §0, 3: a first fragment with index 1 ends the official helper with an IndexError."""
    async with stage([Said(calls=order)], ADD) as on:
        async with on.openai.chat.completions.stream(model="helper", messages=ASK, tools=OPEN_WEBUI) as stream:
            final = await stream.get_final_completion()
        (call,) = final.choices[0].message.tool_calls or []
        assert (call.id, call.function.name, call.function.arguments) == THEIRS
        assert on.calls.made == [("calc__add", {"a": 2, "b": 3})]


async def _second_turn(on: Stage, openai: AsyncOpenAI, call_id: str = THEIRS[0]) -> list[dict[str, Any]]:
    call = {"id": call_id, "type": "function", "function": {"name": "ask_user", "arguments": THEIRS[2]}}
    history: Any = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "That one."},
    ]
    await openai.chat.completions.create(model="helper", messages=history, tools=OPEN_WEBUI)
    sent: list[dict[str, Any]] = on.upstream.requests[-1]["messages"]
    return sent


async def test_a_mixed_batch_is_lossless() -> None:
    """Issue 4: our results are kept for the turn and put in again when the client answers, earlier rounds too."""
    first = Said("Adding. ", calls=[("call_zero1a2b3", "calc__add", '{"a":1,"b":1}')])
    async with stage([first, Said("Now both. ", calls=[OWN, THEIRS]), Said("Done")], ADD) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
        sent = await _second_turn(on, on.openai)
        assert [m["role"] for m in sent] == ["user", "assistant", "tool", "assistant", "tool", "tool"]
        assert [m["content"] for m in sent] == ["Go", "Adding. ", "2", "Now both. ", "5", "That one."]
        assert [c["id"] for c in sent[3]["tool_calls"]] == [OWN[0], THEIRS[0]]
        assert len(on.calls.made) == 2


async def test_results_before_a_call_of_the_client_alone_are_kept_too() -> None:
    """A round of ours, then a round with the client's call only: the client knows nothing of the first."""
    async with stage([Said(calls=[OWN]), Said(calls=[THEIRS]), Said("Done")], ADD) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
        sent = await _second_turn(on, on.openai)
        assert [m["content"] for m in sent] == ["Go", None, "5", None, "That one."]


async def test_another_user_or_tenant_gets_nothing_of_a_kept_turn() -> None:
    """Issue 4, done when; security T1, S1: bound to tenant and user, an id alone opens nothing."""
    async with stage([Said(calls=[OWN, THEIRS]), Said("No"), Said("Done")], ADD) as on:
        await on.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
        sent = await _second_turn(on, on.openai.with_options(default_headers={"x-test-user": "u2"}))
        assert [m["role"] for m in sent] == ["user", "assistant", "tool"]
        sent = await _second_turn(on, on.openai)
        assert len(sent) == 4


async def test_ids_that_providers_count_never_meet_another_chat() -> None:
    """`call_0` comes back in every chat; what the client gets is unique."""
    counted = ("call_0", "ask_user", "{}")
    async with stage([Said(calls=[("call_1", *OWN[1:]), counted]), Said(calls=[counted])], ADD) as on:
        ids = []
        for _ in range(2):
            answer = await on.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
            ids.append((answer.choices[0].message.tool_calls or [])[0].id)
        assert len({"call_0", *ids}) == 3


async def test_a_forced_tool_of_the_client_is_forced_once() -> None:
    """openai-clients.md §2, LangChain: tool_choice naming a client function is honoured on round 1."""
    forced: Any = {"type": "function", "function": {"name": "ask_user"}}
    async with stage([Said(calls=[OWN]), Said(calls=[THEIRS])], ADD) as on:
        await on.openai.chat.completions.create(
            model="helper", messages=ASK, tools=OPEN_WEBUI, tool_choice=forced, parallel_tool_calls=False
        )
        assert [r.get("tool_choice") for r in on.upstream.requests] == [forced, None]
        assert [r["parallel_tool_calls"] for r in on.upstream.requests] == [False, False]


async def test_names_that_providers_refuse_are_mapped_both_ways() -> None:
    """openai-clients.md §0, 9: `time.now` reaches us as a function name; OpenAI's pattern has no dot."""
    tools = [function("time.now"), function("time_now")]
    call = {"id": "call_old1a2b3c", "type": "function", "function": {"name": "time.now", "arguments": ""}}
    history: Any = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_old1a2b3c", "content": "noon"},
        *ASK,
    ]
    forced: Any = {"type": "function", "function": {"name": "time.now"}}
    async with stage([Said(calls=[])], ADD) as on:
        on.upstream.script[:] = [Said("x")]
        await on.openai.chat.completions.create(model="helper", messages=history, tools=tools, tool_choice=forced)
        sent = on.upstream.requests[0]
        names = [tool["function"]["name"] for tool in sent["tools"]]
        renamed = names[0]
        assert names[1] == "time_now"
        assert renamed.startswith("time_now_")
        assert sent["tool_choice"]["function"]["name"] == renamed
        assert sent["messages"][1]["tool_calls"][0]["function"] == {"name": renamed, "arguments": "{}"}
        on.upstream.script[:] = [Said(calls=[("call_new1a2b3c", renamed, "{}")])]
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK, tools=tools)
        assert (answer.choices[0].message.tool_calls or [])[0].model_dump()["function"] == {
            "name": "time.now",
            "arguments": "{}",
        }


async def test_a_tool_of_the_client_with_the_name_of_ours_keeps_it() -> None:
    """Issue 4, names: clashes with client tools resolved."""
    async with stage([Said(calls=[OWN])], ADD) as on:
        answer = await on.openai.chat.completions.create(model="helper", messages=ASK, tools=[function("calc__add")])
        assert (answer.choices[0].message.tool_calls or [])[0].model_dump()["function"]["name"] == "calc__add"
        assert on.calls.made == []
        ours = on.upstream.requests[0]["tools"][1]["function"]["name"]
        assert ours.startswith("calc__add_")
        on.upstream.script[:] = [Said(calls=[("call_a1b2c3d4", ours, '{"a":1,"b":1}')]), Said("2")]
        await on.openai.chat.completions.create(model="helper", messages=ASK, tools=[function("calc__add")])
        assert on.calls.made == [("calc__add", {"a": 1, "b": 1})]


@pytest.mark.parametrize("tools", [[{"type": "function"}], ["x"], [{"type": "function", "function": {"name": 5}}]])
async def test_a_tool_that_cannot_be_read_is_named(tools: Any) -> None:
    """Contract, Errors."""
    async with stage([], ADD) as on:
        with pytest.raises(BadRequestError, match=r"tools\[0\]"):
            await on.openai.chat.completions.create(model="helper", messages=ASK, tools=tools)


@pytest.fixture(params=["memory", "redis"])
async def turns(request: pytest.FixtureRequest) -> Any:
    """Both stores."""
    if request.param == "memory":
        yield MemoryTurns(SystemClock())
        return
    redis = open_redis(request.getfixturevalue("redis_url"))
    yield RedisTurns(redis, SystemClock())
    await redis.aclose()


async def test_turns_are_found_by_each_id_and_only_by_their_owner(turns: KeptTurns) -> None:
    """One suite on both stores; security T3: keys start with the tenant."""
    turn = KeptTurn("p1", (Message(b"{}"), Message(b'{"a":1}', b"[]")))
    await turns.keep(make_context(), ["a", "b"], turn)
    assert await turns.find(make_context(), ["a", "b", "c"]) == {"a": turn, "b": turn}
    assert await turns.find(make_context(user_id="u2"), ["a"]) == {}
    assert await turns.find(make_context(tenant_id="t2"), ["a"]) == {}


async def test_turns_in_memory_end_after_an_hour_and_stay_within_bounds() -> None:
    """Short-lived: the store of one process cannot grow for ever."""
    clock = FakeClock()
    turns = MemoryTurns(clock)
    await turns.keep(make_context(), ["a"], KeptTurn("p1", (Message(b"{}"),)))
    clock.advance(KEPT_SECONDS)
    assert await turns.find(make_context(), ["a"]) == {}


async def test_without_redis_turns_are_kept_in_the_process() -> None:
    """Security O5: degraded but safe."""
    redis = open_redis("redis://127.0.0.1:9")
    turns = RedisTurns(redis, SystemClock())
    turn = KeptTurn("p1", (Message(b"{}"),))
    await turns.keep(make_context(), ["a"], turn)
    assert await turns.find(make_context(), ["a"]) == {"a": turn}
    await redis.aclose()


async def test_a_turn_kept_by_one_worker_is_found_by_another(redis_url: str) -> None:
    """Issue 4, done when: a mixed batch whose second POST reaches another worker is lossless."""
    one, two = open_redis(redis_url), open_redis(redis_url)
    async with (
        stage([Said(calls=[OWN, THEIRS])], ADD, turns=RedisTurns(one, SystemClock())) as here,
        stage([Said("Done")], ADD, turns=RedisTurns(two, SystemClock())) as there,
    ):
        await here.openai.chat.completions.create(model="helper", messages=ASK, tools=OPEN_WEBUI)
        sent = await _second_turn(there, there.openai)
        assert [m["content"] for m in sent] == ["Go", None, "5", "That one."]
        assert there.calls.made == []
    await one.aclose()
    await two.aclose()
