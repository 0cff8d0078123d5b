"""OpenAPI services as backends: a real HTTP service, its document, and tool calls through a running relay."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from gateway_proxy.backends.breaker import FAILURES
from gateway_proxy.domain.errors import (
    BackendMisbehaved,
    BackendRefusedCredentials,
    BackendTimeout,
    BackendUnavailable,
    RelayError,
    ResultTooLarge,
    ToolUnknown,
)
from gateway_proxy.egress.guard import EgressGuard
from gateway_proxy.egress.pinned_http import open_pinned
from gateway_proxy.router.messages import Failure, Result
from gateway_proxy.router.status import BackendStatus
from tests.flows.test_relay_calls import call
from tests.flows.test_relay_lists import settle
from tests.support.certificates import make_authority
from tests.support.gateway import free_port
from tests.support.mcp_backends import serve
from tests.support.openapi_service import (
    OpenApiService,
    answers,
    document,
    json_body,
    openapi_backend,
    operation,
    parameter,
)
from tests.support.relay_rooms import LEGACY, Relay, make_context, open_relay

CREDENTIALS = {"Authorization": "Bearer the-tenants-own", "Cookie": "sid=1"}
PET = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def shop(**answers_by_path: Callable[[Request], Response]) -> OpenApiService:
    """A service with an operation of each kind."""
    query = parameter("limit", "query", {"type": "integer"})
    paths = {
        "/pets": {
            "get": operation("listPets", query, parameter("theme", "cookie")),
            "post": operation("addPet", requestBody=json_body(PET)) | {"responses": answers(PET)},
        },
        "/pets/{id}": {
            "parameters": [parameter("id", "path")],
            **{name: operation(f"{name}Pet") for name in ("get", "put", "patch", "delete", "head", "options", "trace")},
        },
    }
    return OpenApiService(document(paths), {f"/{path}": answer for path, answer in answers_by_path.items()})


async def result_of(relay: Relay, name: str, arguments: Any = None) -> Any:
    """The result of one call."""
    (message,) = await call(relay, f"shop__{name}", {"arguments": arguments or {}})
    assert isinstance(message, Result)
    return json.loads(message.raw)


async def problem_of(relay: Relay, name: str = "listPets", arguments: Any = None) -> RelayError:
    """Why a call failed."""
    with pytest.raises(RelayError) as caught:
        await call(relay, f"shop__{name}", {"arguments": arguments or {}})
    return caught.value


async def status_of(relay: Relay) -> BackendStatus:
    """The state of the one backend, after what is under way has ended."""
    await relay.catalog.status(make_context())
    await settle(relay)
    (status,) = await relay.catalog.status(make_context())
    return status


async def _listed(relay: Relay) -> None:
    """Wait for the first list: a slow machine reads a document longer than a first listing waits."""
    async with asyncio.timeout(30):
        while not await relay.names():
            await asyncio.sleep(0.05)


async def test_the_operations_of_a_service_are_listed_and_called() -> None:
    """Issue 3, OpenAPI services as backends; compatibility A2-A7."""
    service = shop()
    async with serve(service) as url, open_relay([openapi_backend(url, headers=CREDENTIALS)]) as relay:
        await _listed(relay)
        page = await relay.catalog.list_tools(make_context(), LEGACY)
        tools = {tool["name"]: tool for tool in json.loads(page.raw)}
        assert len(tools) == 9
        assert tools["shop__addPet"]["inputSchema"]["required"] == ["name"]
        assert tools["shop__addPet"]["outputSchema"] == PET
        assert tools["shop__getPet"]["annotations"]["readOnlyHint"] is True

        result = await result_of(relay, "listPets", {"limit": 2, "theme": "dark"})
        assert result["structuredContent"] == {"method": "GET", "target": "/pets?limit=2", "body": ""}
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        assert relay.recorder.outcomes == [("mcp", "ok")]
    (seen,) = service.calls
    assert (seen.headers["authorization"], seen.headers["cookie"]) == ("Bearer the-tenants-own", "sid=1; theme=dark")
    assert service.seen[0].headers["authorization"] == "Bearer the-tenants-own"
    named = {"host", "content-length", "accept-encoding", "user-agent", "authorization", "cookie", "accept"}
    assert seen.headers.keys() == named


async def test_every_method_reaches_the_service() -> None:
    """Compatibility A4: all methods. A HEAD has no body to wait for, and the connection is in order afterwards."""
    service = shop()
    methods = ["head", "get", "put", "patch", "delete", "options", "trace", "head"]
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        for method in methods:
            result = await result_of(relay, f"{method}Pet", {"id": "7 & 8/9"})
            assert result["isError"] is False
        assert result["content"][0]["text"].startswith("HTTP 200, without content.\ncontent-type: application/json")
    target = "/pets/7%20%26%208%2F9"
    assert [(seen.method, seen.target) for seen in service.calls] == [(method.upper(), target) for method in methods]


async def test_a_body_arrives_as_it_was_given_and_the_promise_is_kept() -> None:
    """Compatibility A7: arguments as JSON."""

    def added(_: Request) -> Response:
        return JSONResponse({"name": "Rex"}, status_code=201)

    service = shop(pets=added)
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        result = await result_of(relay, "addPet", {"name": "Rex", "age": 2.50})
        assert result["structuredContent"] == {"name": "Rex"}
    (seen,) = service.calls
    assert (seen.headers["content-type"], seen.json) == ("application/json", {"name": "Rex", "age": 2.5})


async def test_a_caller_cannot_climb_out_of_a_path() -> None:
    """Security row 28 (CVE-2026-32871): an authenticated request to any path of the service, by one argument."""
    service = shop()
    async with serve(service) as url, open_relay([openapi_backend(url, headers=CREDENTIALS)]) as relay:
        for value in ("..", "../admin", "..%2fadmin", "%2e%2e/admin", "..\\admin", "x/../../admin", "", "a\r\nX: 1"):
            result = await result_of(relay, "getPet", {"id": value})
            assert result["isError"] is True
            assert result["content"][0]["text"].startswith("id: it may not ")
        assert set(relay.recorder.outcomes) == {("mcp", "tool_error")}
    assert service.calls == []


async def test_arguments_that_do_not_fit_are_told_to_the_model() -> None:
    """2025-11-25, Error Handling: a result that the model can act upon; only what is no object is a protocol error."""
    service = shop()
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        for name, arguments, told in (
            ("getPet", {}, "A required argument is missing: id."),
            ("getPet", {"id": "1", "nmae": 1}, "Unknown argument: nmae. This tool takes: id."),
            ("addPet", {"age": 1}, "A required argument is missing: name."),
        ):
            result = await result_of(relay, name, arguments)
            assert (result["isError"], result["content"][0]["text"]) == (True, told)
        (message,) = await call(relay, "shop__listPets", {"arguments": [1]})
        assert isinstance(message, Failure)
        assert message.code == -32602
    assert service.calls == []


async def test_an_error_of_the_service_is_a_result_with_its_own_words() -> None:
    """A service that says no is not a broken backend: the breaker stays closed. Whose credentials it was, is said."""
    says_no, refuses_us = (400, 404, 409, 422, 429, 500, 502, 503), (401, 403, 401, 403, 401, 403)
    statuses = iter((*says_no, *refuses_us))

    def refuse(_: Request) -> Response:
        return JSONResponse({"detail": "no more pets"}, status_code=next(statuses))

    async with serve(shop(pets=refuse)) as url, open_relay([openapi_backend(url)]) as relay:
        for status in says_no:
            assert await result_of(relay, "listPets") == {
                "content": [{"type": "text", "text": f'HTTP {status}\n{{"detail":"no more pets"}}'}],
                "isError": True,
            }
        for _ in refuses_us:
            assert isinstance(await problem_of(relay), BackendRefusedCredentials)


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    """E1, issue 3 deliverable 5: 302 to a private address; neither by a call nor by the document."""
    inside = OpenApiService(document({}))
    async with serve(inside) as private:

        def elsewhere(_: Request) -> Response:
            return RedirectResponse(f"{private}/secret", status_code=302)

        async with serve(shop(pets=elsewhere)) as url, open_relay([openapi_backend(url)]) as relay:
            problem = await problem_of(relay)
            assert isinstance(problem, BackendMisbehaved)
            assert problem.fault == "it answered with a redirect, and redirects are not followed"
        moved = OpenApiService(b"", headers={"location": f"{private}/openapi.json"}, document_status=302)
        async with serve(moved) as url, open_relay([openapi_backend(url)]) as relay:
            assert await relay.names() == []
            status = await status_of(relay)
            assert status.problem == "its OpenAPI document is a redirect, and redirects are not followed"
    assert inside.seen == []


async def test_references_to_other_documents_are_not_fetched() -> None:
    """E3: no remote $ref; the operation is missing and the status says why."""
    other = OpenApiService({"components": {}})
    async with serve(other) as elsewhere:
        remote = json_body({"$ref": f"{elsewhere}/openapi.json#/components/schemas/A"})
        paths = {"/a": {"post": operation("a", requestBody=remote)}, "/b": {"get": operation("b")}}
        async with serve(OpenApiService(document(paths))) as url, open_relay([openapi_backend(url)]) as relay:
            await _listed(relay)
            assert await relay.names() == ["shop__b"]
            status = await status_of(relay)
            assert (status.state, status.tools) == ("ready", 1)
            assert status.notes == ("POST /a left out: a $ref to another document, which is not fetched",)
            with pytest.raises(ToolUnknown):
                await call(relay, "shop__a")
    assert other.seen == []


async def test_ten_thousand_operations_are_bounded() -> None:
    """Issue 3 deliverable 5; E3: ≤ 500 operations."""
    paths = {f"/p{n}": {"get": operation(f"op{n}")} for n in range(10_000)}
    async with serve(OpenApiService(document(paths))) as url, open_relay([openapi_backend(url)]) as relay:
        await relay.names()
        status = await status_of(relay)
        assert (status.state, status.tools) == ("ready", 500)
        assert status.notes == ("only the first 500 of its 10000 operations are offered",)


async def test_a_document_over_the_limit_is_not_read() -> None:
    """E2: 5 MiB."""
    service = OpenApiService(b"{" + b" " * (5 * 1024 * 1024))
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        await relay.names()
        assert (await status_of(relay)).problem == "its OpenAPI document is over 5 MiB"


async def test_an_unreachable_document_is_seen_in_the_status_and_tried_again() -> None:
    """Compatibility A4: unreachable = visible in status, retried."""
    port = free_port()
    async with open_relay([openapi_backend(f"http://127.0.0.1:{port}")]) as relay:
        assert await relay.names() == []
        status = await status_of(relay)
        assert (status.state, status.problem, status.tools) == ("failing", "nothing listens there", 0)
        assert isinstance(await problem_of(relay), BackendUnavailable)

        async with serve(shop(), port=port):
            relay.clock.advance(120)
            status = await status_of(relay)
            assert (status.state, status.problem, status.tools) == ("ready", None, 9)
            assert (await result_of(relay, "listPets"))["isError"] is False


async def test_calls_go_on_with_the_last_good_document() -> None:
    """relay.md 7: a backend whose list cannot be renewed keeps its last good one, and says so."""
    service = shop()
    good = service.document
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        await relay.names()
        for status, body, problem in (
            (404, b"", "its OpenAPI document was answered with status 404"),
            (401, b"", "it refused the credentials of its definition"),
            (200, b"<html>hello</html>", "its OpenAPI document is not an OpenAPI document"),
            (200, b'{"swagger":"2.0"}', "its OpenAPI document is Swagger 2.0; OpenAPI 3.0 or 3.1 is needed"),
        ):
            service.document, service.document_status = body, status
            for _ in range(2):  # more than the breaker takes in all: it is for calls
                relay.clock.advance(120)
                told = await status_of(relay)
                assert (told.state, told.problem, told.tools) == ("failing", problem, 9)
                assert (await result_of(relay, "listPets"))["isError"] is False
        service.document, service.document_status = good, 200
        relay.clock.advance(1000)
        assert (await status_of(relay)).state == "ready"


async def test_a_document_is_read_again_only_when_it_changed() -> None:
    """Reading costs a process: an ETag or equal bytes save it; a new document brings its operations."""
    service = shop()
    service.headers["etag"] = '"v1"'
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        await relay.names()
        first = relay.upstreams._openapi_services()._documents._held["id-shop"].site
        for _ in range(2):
            relay.clock.advance(120)
            assert (await status_of(relay)).state == "ready"
            assert relay.upstreams._openapi_services()._documents._held["id-shop"].site is first
            service.headers.pop("etag", None)
        assert service.seen[1].headers["if-none-match"] == '"v1"'
        assert service.documents_served == 3
        service.document = document({"/new": {"get": operation("fresh")}})
        relay.clock.advance(120)
        assert (await status_of(relay)).tools == 1
        assert await relay.names() == ["shop__fresh"]


async def test_a_yaml_document_under_a_base_path_is_called_there() -> None:
    """JSON and YAML; E3: the server URL is the document's path on the document's origin."""
    body = b"""
openapi: 3.0.3
info: {title: t, version: 1.0}
servers: [{url: "{base}/v1", variables: {base: {default: /api}}}]
paths:
  /a/{id}:
    get:
      operationId: a
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {200: {description: fine}}
"""
    service = OpenApiService(body)
    async with serve(service) as url, open_relay([openapi_backend(url)]) as relay:
        await result_of(relay, "a", {"id": 7})
        assert (await status_of(relay)).notes == ()
    assert service.calls[0].target == "/api/v1/a/7"


async def test_a_document_cannot_send_calls_to_another_origin() -> None:
    """E3: the server URL is fixed by who wrote the definition, and with it where the credentials go."""
    paths = {"/a": {"get": operation("a")}, "/b": {"get": operation("b", servers=[{"url": "http://127.0.0.1:1/x"}])}}
    other = OpenApiService(document({}))
    async with serve(other) as elsewhere:
        service = OpenApiService(document(paths, servers=[{"url": f"{elsewhere}/v1"}]))
        async with serve(service) as url, open_relay([openapi_backend(url, headers=CREDENTIALS)]) as relay:
            await result_of(relay, "a")
            assert "names a server of another origin" in (await status_of(relay)).notes[0]
    assert [seen.target for seen in service.calls] == ["/v1/a"]
    assert other.seen == []


async def test_a_base_url_sends_calls_and_credentials_there_and_only_there() -> None:
    """The operator's definition says otherwise: the document comes from one host, the service is another."""
    api = OpenApiService(document({}))
    service = OpenApiService(document({"/a": {"get": operation("a")}}, servers=[{"url": "/ignored"}]))
    async with serve(api) as there, serve(service) as url:
        backend = openapi_backend(url, headers=CREDENTIALS, base_url=f"{there}/v2/")
        async with open_relay([backend]) as relay:
            await result_of(relay, "a")
            assert (await status_of(relay)).notes == ()
    assert [(seen.target, seen.headers["authorization"]) for seen in api.seen] == [("/v2/a", "Bearer the-tenants-own")]
    assert [seen.target for seen in service.seen] == ["/openapi.json"]
    assert not {"authorization", "cookie"} & service.seen[0].headers.keys()


@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:9"])
async def test_a_tenants_definition_reaches_no_private_address(base_url: str | None) -> None:
    """E1: what a tenant administrator wrote passes the guard like any stranger's URL."""
    service = shop()
    async with (
        serve(service) as url,
        open_relay([openapi_backend(url, origin="tenant", base_url=base_url)]) as relay,
    ):
        assert await relay.names() == []
        problem = (await status_of(relay)).problem
        assert problem is not None
        assert problem.startswith("its address may not be reached")
    assert service.seen == []


async def test_a_slow_service_is_given_up_and_then_left_alone() -> None:
    """F7: bounded time; after failures in a row the breaker opens, for calls alone."""
    service = shop()

    async def never(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/pets":
            await service(scope, receive, send)
            return
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serve(never) as url, open_relay([openapi_backend(url)]) as relay:
        for _ in range(FAILURES):
            with pytest.raises(BackendTimeout):
                await relay.calls.call_to_end(
                    make_context(), LEGACY, name="shop__listPets", arguments=b"{}", timeout=0.05
                )
        problem = await problem_of(relay)
        assert isinstance(problem, BackendUnavailable)
        assert problem.reason == "it failed repeatedly and is left alone for a while"
        relay.clock.advance(61)
        status = await status_of(relay)
        assert (status.state, status.tools > 0) == ("failing", True)
        assert "its calls fail" in (status.problem or "")
        assert (await result_of(relay, "getPet", {"id": "1"}))["isError"] is False
        assert (await status_of(relay)).state == "ready"


async def test_an_endless_answer_is_cut_off() -> None:
    """D2: 10 MiB; the breaker stays closed, since the service is there."""

    def endless(_: Request) -> Response:
        def pieces() -> Iterator[bytes]:
            while True:
                yield b"x" * 65536

        return StreamingResponse(pieces(), media_type="text/plain")

    async with serve(shop(pets=endless)) as url, open_relay([openapi_backend(url)]) as relay:
        assert isinstance(await problem_of(relay), ResultTooLarge)
        assert (await result_of(relay, "getPet", {"id": "1"}))["isError"] is False


async def test_a_compressed_answer_is_refused() -> None:
    """E2: nothing is decompressed, so nothing can be blown up."""

    def compressed(_: Request) -> Response:
        return Response(b"\x1f\x8b", headers={"content-encoding": "gzip"})

    async with serve(shop(pets=compressed)) as url, open_relay([openapi_backend(url)]) as relay:
        problem = await problem_of(relay)
        assert isinstance(problem, BackendMisbehaved)
        assert "compressed" in problem.fault


async def test_a_call_that_is_given_up_ends_at_the_service() -> None:
    """Cancellation in both directions: closing the request is how HTTP says it."""
    started, gone = asyncio.Event(), asyncio.Event()
    service = shop()

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/pets":
            await service(scope, receive, send)
            return
        started.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with serve(waits) as url, open_relay([openapi_backend(url)]) as relay:
        task = asyncio.create_task(call(relay, "shop__listPets"))
        await asyncio.wait_for(started.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(gone.wait(), 10)
        assert relay.recorder.outcomes == [("mcp", "cancelled")]


async def test_an_edited_definition_is_used_at_once() -> None:
    """Another revision is another service: other credentials, another document, nothing of the old one."""
    service = shop()
    async with serve(service) as url, open_relay([openapi_backend(url, headers={"X-Key": "old"})]) as relay:
        await result_of(relay, "listPets")
        relay.backends[:] = [openapi_backend(url, headers={"X-Key": "new"}, revision=2)]
        relay.clock.advance(3)
        await result_of(relay, "listPets")
    assert [seen.headers["x-key"] for seen in service.calls] == ["old", "new"]
    assert re.findall("openapi.json", " ".join(seen.target for seen in service.seen)) == ["openapi.json"] * 2


async def test_what_is_sent_over_tls_is_what_was_written(tmp_path: Path) -> None:
    """ADR 5: https goes through another library, which must neither tidy the path nor mind a method."""
    authority = make_authority()
    service = shop()
    tls = authority.server_context("shop.test", tmp_path)
    async with serve(service, tls=tls) as url:
        port = url.rpartition(":")[2]
        guard = EgressGuard(resolver=Loopback(), open_http=partial(open_pinned, extra_roots=[authority.pem]))
        async with open_relay([openapi_backend(f"https://shop.test:{port}")], guard=guard) as relay:
            for method in ("get", "put", "patch", "delete", "head", "options", "trace"):
                result = await result_of(relay, f"{method}Pet", {"id": "a/b c;d'|é%"})
                assert result["isError"] is False, result
    assert [seen.method for seen in service.calls] == ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]
    assert {seen.target for seen in service.calls} == {"/pets/a%2Fb%20c%3Bd%27%7C%C3%A9%25"}


class Loopback:
    """Every name is this machine."""

    async def addresses_of(self, host: str, port: int) -> list[str]:
        """One address."""
        return ["127.0.0.1"]
