"""Other paths of /v1 go to the provider as they are (compatibility A11)."""

from typing import Any

import httpx2
import pytest
from openai import InternalServerError, NotFoundError

from gateway_proxy.domain.provider import Provider
from openai_routes.providers.redaction import Redactor
from tests.support.llm.scripted import Raw
from tests.support.llm.serving import serve
from tests.support.llm.stage import stage
from tests.support.llm.surface import FixedCalls, FixedModels, FixedTools, surface

ODD = b'{"input": "caf\\u00e9",\n "model":"text-embedding-3-small" , "input":"again", "n":1.0}'


async def test_bodies_pass_byte_for_byte_both_ways() -> None:
    """Issue 4, routes: passed byte-true, query and status included, caller's credentials not."""
    answer = Raw(body=b'{ "odd" :1 }', status=201, headers={"content-type": "application/json", "x-secret": "1"})
    async with stage([answer]) as on:
        got = await on.http.post(
            "/v1/audio/speech?x=1&y=%20",
            content=ODD,
            headers={
                "content-type": "application/json",
                "authorization": "Bearer gw_pat_x",
                "openai-beta": "v2",
                "x-openwebui-user-email": "ann@example.com",
                "x-forwarded-for": "1.2.3.4",
            },
        )
        assert (got.status_code, got.content) == (201, b'{ "odd" :1 }')
        assert on.upstream.bodies == [ODD]
        assert on.upstream.paths == ["POST /v1/audio/speech?x=1&y=%20"]
        sent = on.upstream.headers[0]
        assert (sent["authorization"], sent["openai-beta"]) == ("Bearer sk-upstream", "v2")
        assert not {"x-openwebui-user-email", "x-forwarded-for"} & set(sent)
        assert "x-secret" not in got.headers
        assert got.headers["x-content-type-options"] == "nosniff"


async def test_embeddings_of_the_sdk_work_as_they_are() -> None:
    """openai-clients.md §2: base64 encoding by default."""
    body = b'{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAEA="}],'
    body += b'"usage":{"prompt_tokens":1,"total_tokens":1}}'
    async with stage([Raw(body=body, headers={"content-type": "application/json"})]) as on:
        found = await on.openai.embeddings.create(model="text-embedding-3-small", input="x")
        assert found.data[0].embedding == [1.0, 2.0]


async def test_an_assistant_named_as_the_model_becomes_the_model_of_its_provider() -> None:
    """The client knows the assistants' names only."""
    async with stage([]) as on:
        got = await on.http.post("/v1/completions", json={"model": "helper", "prompt": "x"})
        assert got.json() == {"model": "gpt-4o", "prompt": "x"}


async def test_a_stream_comes_back_as_a_stream() -> None:
    """Compatibility A11: SSE comes back."""
    async with stage([Raw(events=['{"a":1}', "[DONE]"])]) as on:
        got = await on.http.post("/v1/completions", json={"model": "x", "prompt": "x", "stream": True})
        assert got.headers["content-type"].startswith("text/event-stream")
        assert got.text == 'data: {"a":1}\n\ndata: [DONE]\n\n'


async def test_errors_of_the_provider_come_back_as_they_are_but_its_401_does_not() -> None:
    """A 401 of the provider is about the gateway's key."""
    async with stage([Raw(body=b'{"error":{"message":"no"}}', status=404), Raw(body=b"{}", status=401)]) as on:
        with pytest.raises(NotFoundError, match="no"):
            await on.openai.files.retrieve("file-1")
        with pytest.raises(InternalServerError, match="refused the gateway's credentials"):
            await on.openai.files.retrieve("file-1")


async def test_without_a_provider_it_is_a_404_that_says_so() -> None:
    """Tenant t2 has none."""
    async with stage([]) as on:
        got = await on.http.post("/v1/embeddings", json={"model": "x"}, headers={"x-test-tenant": "t2"})
        assert got.status_code == 404
        assert got.json()["error"]["code"] == "provider_not_configured"
        got = await on.http.post("/v1/embeddings", json={}, headers={"x-gateway-provider": "none-such"})
        assert "'none-such'" in got.json()["error"]["message"]


async def test_with_several_providers_and_no_default_it_says_how_to_choose() -> None:
    """Contract, errors: a message that says what to do next, and no provider is "not configured" that is."""
    several = [Provider(name, "t1", name, "openai", "operator", 1, base_url="http://h/v1") for name in ("one", "two")]
    models = FixedModels({"t1": []}, {"t1": several})
    async with (
        surface(models, FixedTools({}), FixedCalls({})) as app,
        serve(app) as url,
        httpx2.AsyncClient(base_url=url, verify=False) as http,
    ):
        got = await http.post("/v1/embeddings", json={"model": "x"})
    assert (got.status_code, got.json()["error"]["code"]) == (404, "provider_not_configured")
    assert "name one in X-Gateway-Provider" in got.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/%2e%2e/admin", "/v1/x/%2E%2E/%2E%2E/y", "/v1/%2e/x"])
async def test_a_path_that_climbs_is_refused(path: str) -> None:
    """Security, incident 28: the base path of the provider is not left."""
    async with stage([]) as on:
        got = await on.http.request("GET", on.url + path)
        assert got.status_code == 404
        assert on.upstream.paths == [] or all(".." not in seen for seen in on.upstream.paths)


HEADERS: Any = {"default_headers": {"X-Team": "Bearer team-secret/1", "X-Short": "blue"}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{ "error":{"message":"no such key: sk-upstream"} }', b'{ "error":{"message":"no such key: [redacted]"} }'),
        (b'{"x":"team-secret\\/1, Bearer team-secret/1, blue"}', b'{"x":"[redacted], [redacted], blue"}'),
        (b"<p>sk-upstream</p>" * 40_000, b"<p>[redacted]</p>" * 40_000),
        (b'{"error": "caf\xe9"}', b'{"error": "caf\xe9"}'),
        (b"", b""),
    ],
)
async def test_errors_do_not_repeat_the_providers_key_nor_its_headers(said: bytes, expected: bytes) -> None:
    """Security K3: as in every other error of a provider; the rest of the body stays what it is."""
    answer = Raw(body=said, status=422, headers={"content-type": "application/json"})
    async with stage([answer], provider=HEADERS) as on:
        got = await on.http.post("/v1/images/generations", json={"prompt": "x"})
        assert (got.status_code, got.content) == (422, expected)
        assert got.headers["content-type"] == "application/json"


async def test_an_answer_that_is_no_error_stays_byte_for_byte() -> None:
    """Issue 4, routes: whatever it holds; its length is told."""
    said = b'{"text": "sk-upstream, team-secret/1"}'
    async with stage([Raw(body=said, headers={"content-type": "application/json"})], provider=HEADERS) as on:
        got = await on.http.post("/v1/audio/transcriptions", json={})
        assert (got.content, got.headers["content-length"]) == (said, str(len(said)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_secrets_are_found_wherever_a_body_is_cut(size: int) -> None:
    """Pieces come as the network cuts them; a secret that holds another goes as a whole."""
    secrets = ("sk-upstream", "Bearer sk-upstream", 'with"quote/é', "short")
    body = 'a sk-upstream Bearer sk-upstreamsk-upstream sk-upstrea short with\\"quote\\/\\u00e9|with\\"quote/é sk-up'
    data = body.replace("\\/\\u00e9", "/\\u00e9").encode()
    redactor = Redactor(secrets)
    pieces = [redactor.feed(data[at : at + size]) for at in range(0, len(data), size)]
    found = b"".join([*pieces, redactor.finish()]).decode()
    assert found == "a [redacted] [redacted][redacted] sk-upstrea short [redacted]|[redacted] sk-up"
