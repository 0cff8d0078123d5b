"""Story: a backend that speaks only the deprecated HTTP+SSE transport is hosted like a child (compatibility.md B2)."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest

from tests.support.runner import (
    ROOT,
    Hosted,
    RunnerProcess,
    call_message,
    host,
    new_key,
    running_runner,
    status_of,
    until_ended,
)
from tests.support.scripted_http import scripted_http

_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One runner for the module."""
    with running_runner(tmp_path_factory.mktemp("runner")) as runner:
        yield runner


@pytest.fixture
async def http(runner: RunnerProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with runner.open_http() as http:
        yield http


@pytest.fixture
def backend_port() -> Iterator[int]:
    """The demo tools over HTTP+SSE, behind a header."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.support.sse_backend", str(port), "x-key", "k"], cwd=ROOT)
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port
    process.kill()
    process.wait()


def _spec(port: int, path: str = "/sse", **fields: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}{path}"
    return {"tenant": "acme", "transport": "sse", "url": url, "connect_to": ["127.0.0.1"], **fields}


async def test_tools_of_an_sse_backend_are_called_by_many_at_once(http: httpx2.AsyncClient, backend_port: int) -> None:
    """Issue 3, deliverable 2: backends over HTTP+SSE, one connection shared by all callers."""
    hosted = await host(http, _spec(backend_port, headers={"x-key": "k"}))
    assert (await hosted.call("counter")).text == "1"
    answers = await asyncio.gather(
        *(hosted.call("slow", request_id=1, token=1, seconds=0.1, steps=2) for _ in range(20)),
        hosted.call("echo", text="Grüße\n\u2028"),
    )
    assert answers[-1].text == "Grüße\n\u2028"
    for answer in answers[:-1]:
        assert [m["params"]["progress"] for m in answer.messages[:-1]] == [1, 2]
        assert answer.response["id"] == 1
    assert (await hosted.call("counter")).text == "2"
    await http.delete(f"/children/{hosted.key}")
    assert (await hosted.call("counter")).status == 404


async def test_a_lost_stream_ends_the_calls_and_the_next_put_opens_another(
    http: httpx2.AsyncClient, backend_port: int
) -> None:
    """relay.md 3: nothing waits for a stream that is gone."""
    async with scripted_http(
        _STREAM + b"event: endpoint\r\ndata: /messages?x=1\r\n\r\n", b"HTTP/1.1 202 A\r\ncontent-length: 0\r\n\r\n"
    ) as server:
        hosted = await host(http, _spec(server.port), initialize=False)
        call = asyncio.create_task(hosted.call("anything"))
        async with asyncio.timeout(10):
            while len(server.requests) < 2:
                await asyncio.sleep(0.01)
        assert server.requests[1].startswith(b"POST /messages?x=1 ")
        for writer in list(server.running.values()):
            writer.close()
        assert (await call).response["error"]["message"] == "backend process ended"
        row = await until_ended(http, hosted.key)
        assert row["failures"] == 1
    fresh = await host(http, _spec(backend_port, headers={"x-key": "k"}), key=hosted.key)
    assert fresh.instance != hosted.instance


async def test_the_stream_is_opened_where_the_server_redirects_on_its_own_origin(
    http: httpx2.AsyncClient, backend_port: int
) -> None:
    """contract.md, GATEWAY_EGRESS_ALLOW: an SDK server answers 307 for the slash at the end of its path."""
    spec = _spec(backend_port, url=f"http://127.0.0.1:{backend_port}/sse/", headers={"x-key": "k"})
    hosted = await host(http, spec)
    assert (await hosted.call("echo", text="hi")).text == "hi"
    await http.delete(f"/children/{hosted.key}")


async def test_the_endpoint_is_read_as_seen_from_where_the_stream_came(http: httpx2.AsyncClient) -> None:
    """RFC 3986 §5.1.3: the base of a reference is the URI that was last used."""
    moved = b"HTTP/1.1 308 M\r\nlocation: /b/sse\r\ncontent-length: 0\r\n\r\n"
    refusal = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    async with scripted_http(moved, _STREAM + b"event: endpoint\ndata: m\n\n", refusal) as server:
        hosted = await host(http, _spec(server.port), initialize=False)
        await hosted.post(call_message("x", request_id="q"))
        assert [request.partition(b" HTTP")[0] for request in server.requests] == [
            b"GET /sse", b"GET /b/sse", b"POST /b/m",
        ]  # fmt: skip
        await http.delete(f"/children/{hosted.key}")


async def test_a_refused_message_is_an_error_for_its_call(http: httpx2.AsyncClient) -> None:
    """A POST that fails must not leave its caller waiting."""
    endpoint = _STREAM + b"event: endpoint\ndata: /m\n\n"
    refusal = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    async with scripted_http(endpoint, refusal) as server:
        hosted = await host(http, _spec(server.port), initialize=False)
        answer = await hosted.post(call_message("x", request_id="q"))
        assert answer.response["id"] == "q"
        assert answer.response["error"]["message"] == "the backend refused the message with status 500"
        await http.delete(f"/children/{hosted.key}")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 302 F\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", "status 302"),
        (b"HTTP/1.1 307 F\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n", "status 307"),
        (b"HTTP/1.1 404 N\r\ncontent-length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi", "something else than an event"),
        (_STREAM + b"event: endpoint\ndata: http://169.254.169.254/m\n\n", "of another origin"),
        (_STREAM + b"event: endpoint\ndata: //evil.example/m\n\n", "of another origin"),
        (_STREAM + b"event: endpoint\ndata: file:///etc/passwd\n\n", "is no URL"),
        (_STREAM + b"event: message\ndata: {}\n\n", "named no SSE endpoint in time"),
        (b"not HTTP at all\r\n\r\n", "could not be reached"),
    ],
)
async def test_a_server_that_misbehaves_at_the_start_is_a_clear_502(
    http: httpx2.AsyncClient, answer: bytes, detail: str
) -> None:
    """security.md E1, incident 1: no redirect is followed, no foreign endpoint is posted to."""
    async with scripted_http(answer) as server:
        response = await http.put(f"/children/{new_key()}", json=_spec(server.port, start_timeout=0.5))
        assert response.status_code == 502
        assert response.json()["error"] == "start_failed"
        assert detail in response.json()["detail"]
        assert len(server.requests) == 1


async def test_without_checked_addresses_only_public_ones_are_reached(http: httpx2.AsyncClient) -> None:
    """security.md E1: the runner has no policy of its own but the strictest."""
    async with scripted_http(_STREAM) as server:
        spec = _spec(server.port)
        del spec["connect_to"]
        response = await http.put(f"/children/{new_key()}", json=spec)
        assert response.json()["detail"] == "the address of the server may not be reached"
        assert server.connections == 0


async def test_headers_that_could_break_their_line_are_refused(http: httpx2.AsyncClient) -> None:
    """contract.md, Errors: the field is named."""
    for headers in ({"a": "b\r\nc: d"}, {"a b": "c"}, {"host": "x"}, {"content-length": "1"}):
        response = await http.put(f"/children/{new_key()}", json=_spec(1, headers=headers))
        assert response.status_code == 400
        assert response.json()["detail"].startswith("headers: ")


async def test_an_idle_sse_backend_is_let_go(http: httpx2.AsyncClient) -> None:
    """relay.md 4: idle reaping."""
    async with scripted_http(_STREAM + b"event: endpoint\ndata: /m\n\n") as server:
        hosted: Hosted = await host(http, _spec(server.port, idle_timeout=0.2), initialize=False)
        row = await until_ended(http, hosted.key)
        assert row["failure"] is None
        assert (await status_of(http, hosted.key))["pid"] is None
