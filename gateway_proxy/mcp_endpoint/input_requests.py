"""Results that are none yet, on their way to a client of 2026-07-28 (Multi Round-Trip Requests, SEP-2322).

A backend's state is sealed, a client is asked nothing that it did not declare, and what 2025-11-25 said with an error
(a page that the user has to visit first) is asked like everything else.
"""

from typing import Any, Final

import msgspec

from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.mcp_endpoint import wire
from gateway_proxy.mcp_endpoint.request_states import RequestStates, State
from gateway_proxy.router.caller import Caller
from gateway_proxy.router.messages import Failure, Result

URL_ELICITATION_REQUIRED: Final = -32042
"""Of 2025-11-25 only; whoever speaks 2026-07-28 must not send it."""

CAPABILITY_MISSING: Final = -32021
MAX_PAGES: Final = 16
KEY: Final = "page-%d"


class _Asked(msgspec.Struct):
    method: str
    params: msgspec.Raw = msgspec.Raw(b"")


class _Page(msgspec.Struct):
    url: str
    message: str = ""


class _Pages(msgspec.Struct):
    elicitations: list[_Page]


class _Answer(msgspec.Struct):
    action: str = ""


class _Retry(msgspec.Struct):
    inputResponses: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)  # noqa: N815 - the name on the wire


_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_asked: Final = msgspec.json.Decoder(dict[str, _Asked])
_pages: Final = msgspec.json.Decoder(_Pages)
_answers: Final = msgspec.json.Decoder(_Answer)
_retries: Final = msgspec.json.Decoder(_Retry)


def settle(
    final: Result | Failure, states: RequestStates, ctx: TenantContext, target: str, *, caller: Caller, params: bytes
) -> Result | Failure:
    """What the client is told of an outcome. `target` and `params` are those of its request."""
    if isinstance(final, Failure):
        return _ask_for_pages(final, caller, params) if final.code == URL_ELICITATION_REQUIRED else final
    if not final.modern or b'"input_required"' not in final.raw:
        return final
    fields = _fields.decode(final.raw)
    if bytes(fields.get("resultType", b"")) != b'"input_required"':
        return final
    missing = _missing(bytes(fields.get("inputRequests", b"{}")), caller)
    if missing:
        return _lacking(missing)
    if "requestState" not in fields:
        return final
    state = State(target, backend_id=final.backend_id, inner=bytes(fields["requestState"]))
    fields["requestState"] = msgspec.Raw(wire.to_json(states.seal(ctx, state)))
    return Result(wire.to_json(fields), modern=True, backend_id=final.backend_id)


def _ask_for_pages(failure: Failure, caller: Caller, params: bytes) -> Result | Failure:
    """Ask for visits to the pages that an error of 2025-11-25 names; the request is then simply made again.

    Nobody tells us when a page was visited: a backend that still wants it says so again.
    """
    try:
        pages = _pages.decode(failure.data or b"{}").elicitations[:MAX_PAGES]
        given = _retries.decode(params).inputResponses
        refused = any(_answers.decode(given[key]).action != "accept" for key in given if key.startswith("page-"))
    except msgspec.MsgspecError:
        return Failure(wire.INTERNAL_ERROR, failure.message)
    if refused:
        return Failure(wire.UNAVAILABLE, "The server needs the user to visit a page, and the user does not want to")
    if "url" not in caller.declared_in_all().ways:
        return _lacking({"elicitation": {"url": {}}})
    asked = {
        KEY % number: {
            "method": "elicitation/create",
            "params": {"mode": "url", "message": page.message, "url": page.url},
        }
        for number, page in enumerate(pages, 1)
    }
    return Result(wire.to_json({"resultType": "input_required", "inputRequests": asked}), modern=True)


def _lacking(missing: dict[str, Any]) -> Failure:
    data = wire.to_json({"requiredCapabilities": missing})
    return Failure(CAPABILITY_MISSING, f"The server needs a client that supports {', '.join(missing)}", data)


def _missing(asked: bytes, caller: Caller) -> dict[str, Any]:
    """The capabilities that the client has not declared and would have to have."""
    try:
        questions = _asked.decode(asked).values()
    except msgspec.MsgspecError:
        return {}  # not as the specification has it; the client will say so
    declared = caller.declared_in_all()
    missing: dict[str, Any] = {}
    for question in questions:
        for name, ways in declared.missing_for(question.method, bytes(question.params)).items():
            missing.setdefault(name, {}).update(ways)
    return missing
