"""What a client of 2026-07-28 may be asked, and how older backends' ways of asking reach it."""

import json
from typing import Any

import pytest

from gateway_proxy.router.messages import Failure, Result
from tests.support.fake_router import FakeRequests, FakeToolCalls
from tests.unit.mcp_endpoint.conftest import META, ModernClient

VISIT = {"mode": "url", "url": "https://x.example/", "message": "m", "elicitationId": "e1"}
NEEDS_A_PAGE = Failure(-32042, "URL elicitation required", json.dumps({"elicitations": [VISIT]}).encode())


def declaring(**capabilities: Any) -> dict[str, Any]:
    """The `_meta` of a client with these capabilities."""
    return {"_meta": {**META, "io.modelcontextprotocol/clientCapabilities": capabilities}}


def asking(method: str, **params: Any) -> Result:
    """A backend of 2026-07-28 that wants to know something."""
    asked = {"k": {"method": method, "params": {"message": "m", **params}}}
    return Result(json.dumps({"resultType": "input_required", "inputRequests": asked}).encode(), modern=True)


@pytest.mark.parametrize(
    ("question", "capabilities", "required"),
    [
        (asking("elicitation/create"), {}, {"elicitation": {"form": {}}}),
        (asking("elicitation/create"), {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
        (asking("elicitation/create", mode="url"), {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (asking("sampling/createMessage"), {"elicitation": {}, "sampling": None}, {"sampling": {}}),
        (asking("elicitation/create", mode="url"), {"elicitation": {"url": None}}, {"elicitation": {"url": {}}}),
        (asking("sampling/createMessage", tools=[{"name": "t"}]), {"sampling": {}}, {"sampling": {"tools": {}}}),
        (asking("roots/list"), {"sampling": {}}, {"roots": {}}),
        (NEEDS_A_PAGE, {"elicitation": {}}, {"elicitation": {"url": {}}}),
    ],
)
async def test_a_client_is_asked_nothing_that_it_did_not_declare(
    modern: ModernClient, calls: FakeToolCalls, question: Result | Failure, capabilities: Any, required: Any
) -> None:
    """MCP 2026-07-28, Per-request protocol fields: -32021 with what is missing, under 400."""
    calls.scripts["asks"] = [question]
    reply = await modern.call("tools/call", {"name": "asks", **declaring(**capabilities)})
    assert (reply.status, reply.json["error"]["code"]) == (400, -32021)
    assert reply.json["error"]["data"] == {"requiredCapabilities": required}


@pytest.mark.parametrize(
    ("question", "capabilities"),
    [
        (asking("elicitation/create"), {"elicitation": {}}),
        (asking("elicitation/create", mode="form"), {"elicitation": {"form": {}}}),
        (asking("elicitation/create", mode="url"), {"elicitation": {"url": {}}}),
        (asking("sampling/createMessage"), {"sampling": {"tools": {}}}),
        (asking("vendor/ask"), {}),
    ],
)
async def test_what_was_declared_is_asked_as_it_came(
    modern: ModernClient, calls: FakeToolCalls, question: Result, capabilities: Any
) -> None:
    """MCP 2026-07-28, InputRequiredResult."""
    calls.scripts["asks"] = [question]
    reply = await modern.call("tools/call", {"name": "asks", **declaring(**capabilities)})
    assert (reply.status, reply.json["result"]) == (200, json.loads(question.raw))


async def test_a_page_that_an_older_backend_wants_visited_is_asked_for(
    modern: ModernClient, calls: FakeToolCalls
) -> None:
    """MCP 2026-07-28, Error Codes: -32042 must not be sent any more; Elicitation: the request is made again."""
    calls.scripts["asks"] = [NEEDS_A_PAGE]
    call = {"name": "asks", **declaring(elicitation={"url": {}})}
    result = (await modern.call("tools/call", call)).json["result"]
    assert result["resultType"] == "input_required"
    [(key, question)] = result["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    assert question["params"] == {"mode": "url", "message": "m", "url": "https://x.example/"}

    again = await modern.call("tools/call", {**call, "inputResponses": {key: {"action": "accept"}}})
    assert again.json["result"]["resultType"] == "input_required"
    declined = await modern.call("tools/call", {**call, "inputResponses": {key: {"action": "decline"}}})
    assert declined.json["error"]["code"] == -32000
    assert "does not want to" in declined.json["error"]["message"]


@pytest.mark.parametrize("data", [None, b"7", b'{"elicitations":[{}]}'])
async def test_an_error_of_the_older_era_is_never_sent(
    modern: ModernClient, calls: FakeToolCalls, requests: FakeRequests, data: bytes | None
) -> None:
    """MCP 2026-07-28, Error Codes; also where it names no page, and for requests that cannot ask."""
    calls.scripts["asks"] = [Failure(-32042, "URL elicitation required", data)]
    requests.scripts["completion/complete"] = [NEEDS_A_PAGE]
    capable = declaring(elicitation={"url": {}})
    for reply in (
        await modern.call("tools/call", {"name": "asks", **capable}),
        await modern.call("completion/complete", capable),
    ):
        assert reply.json["error"]["code"] == -32603
