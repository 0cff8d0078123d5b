"""GET /v1/models and /v1/models/{id}, read by the official SDK (compatibility C4, D2)."""

import httpx2
import pytest
from openai import AsyncOpenAI, NotFoundError


async def test_models_are_the_gateway_and_the_assistants_of_the_tenant(openai: AsyncOpenAI) -> None:
    """Compatibility C4 and D2: id, object, created, owned_by, description."""
    models = (await openai.models.list()).data
    assert [m.id for m in models] == ["mcp-gateway", "research"]
    assert {m.object for m in models} == {"model"}
    assert all(m.created > 1_700_000_000 and m.owned_by == "gateway" for m in models)
    assert models[1].model_dump()["description"] == "Looks things up."


async def test_another_tenant_does_not_see_the_assistant(openai: AsyncOpenAI) -> None:
    """Security T4: a foreign assistant is the same as an unknown one."""
    other = openai.with_options(default_headers={"x-test-tenant": "t2"})
    assert [m.id for m in (await other.models.list()).data] == ["mcp-gateway"]
    with pytest.raises(NotFoundError):
        await other.models.retrieve("research")


async def test_one_model_is_retrieved_by_id(openai: AsyncOpenAI) -> None:
    """OpenAI API reference, "Retrieve model"."""
    assert (await openai.models.retrieve("mcp-gateway")).id == "mcp-gateway"
    assert (await openai.models.retrieve("research")).id == "research"


async def test_an_unknown_model_is_a_404_that_names_the_list(openai: AsyncOpenAI) -> None:
    """Compatibility D3."""
    with pytest.raises(NotFoundError) as caught:
        await openai.models.retrieve("nope/x")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "nope/x" in caught.value.message
    assert "/v1/models" in caught.value.message


async def test_a_wrong_method_is_a_405_in_the_shape_of_the_surface(http: httpx2.AsyncClient) -> None:
    """RFC 9110 §15.5.6: Allow names what is allowed."""
    answer = await http.post("/v1/models", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_an_unknown_path_is_a_404_in_the_shape_of_the_surface(http: httpx2.AsyncClient) -> None:
    """Contract, Errors: /v1 answers with OpenAI's error object."""
    answer = await http.get("/v1/threads")
    assert answer.status_code == 404
    assert "GET /v1/threads" in answer.json()["error"]["message"]


async def test_head_of_the_list_is_answered_without_a_body(http: httpx2.AsyncClient) -> None:
    """RFC 9110 §9.3.2."""
    answer = await http.head("/v1/models")
    assert answer.status_code == 200
    assert answer.content == b""
