"""Where a request goes by its method and parameters, and how it reads there. Tool calls have a shorter way (`call`)."""

from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Raw

from gateway_proxy.backends.envelope import Fields, quote, read_fields, write_fields
from gateway_proxy.backends.splice import UpstreamRequest, read_request
from gateway_proxy.domain.errors import MethodUnknown
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.router.catalog import Catalog
from gateway_proxy.router.route import Route

GET_PROMPT: Final = "prompts/get"
READ: Final = "resources/read"
SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
COMPLETE: Final = "completion/complete"
BY_URI: Final = frozenset({READ, SUBSCRIBE, UNSUBSCRIBE})


class ParametersUnusable(Exception):
    """A parameter by which to route is missing or of the wrong type. Its text names it; stays inside this room."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A request ready for its backend. `target` is what it is about, fit to be recorded; empty for unknown methods."""

    route: Route
    request: UpstreamRequest
    target: str


async def find_aim(catalog: Catalog, ctx: TenantContext, method: str, params: bytes) -> Aim:
    """Route a request and put the backend's own name into it.

    Raises:
        ParametersUnusable: See there.
        PromptUnknown, ResourceUnknown: What it names is nowhere in this tenant.
        MethodUnknown: The gateway does not know the method, and the tenant has not exactly one backend that could.
        BackendUnavailable, StorageUnavailable: As of `Catalog`.
    """
    try:
        request = read_request(method, params)
    except ValueError:
        raise ParametersUnusable("params and params._meta: expected objects") from None
    if method == GET_PROMPT:
        if bytes(request.fields.get("arguments", b"")) == b"null":
            del request.fields["arguments"]  # the same to who reads both, and not every server does
        return await _aim_at_prompt(catalog, ctx, request, request.fields, "params.name")
    if method in BY_URI:
        uri = _read_text(request.fields, "uri", "params.uri")
        return Aim(await catalog.find_resource(ctx, uri), request, _without_query(uri))
    if method == COMPLETE:
        return await _aim_completion(catalog, ctx, request)
    backend = await catalog.find_only_backend(ctx)
    if backend is None:
        raise MethodUnknown(method)
    return Aim(Route(backend, method, method), request, "")


async def _aim_at_prompt(
    catalog: Catalog, ctx: TenantContext, request: UpstreamRequest, named: Fields, where: str
) -> Aim:
    """Put the backend's name for the prompt into `named`, which is (part of) the parameters."""
    route = await catalog.find_prompt(ctx, _read_text(named, "name", where))
    named["name"] = Raw(quote(route.upstream_name))
    return Aim(route, request, route.name)


async def _aim_completion(catalog: Catalog, ctx: TenantContext, request: UpstreamRequest) -> Aim:
    """`ref/prompt` names a prompt as listed, `ref/resource` a URI or a template (2025-11-25, Completion)."""
    try:
        ref = read_fields(request.fields["ref"])
    except (KeyError, ValueError):
        raise ParametersUnusable("params.ref: expected an object") from None
    kind = _read_text(ref, "type", "params.ref.type")
    if kind == "ref/prompt":
        aim = await _aim_at_prompt(catalog, ctx, request, ref, "params.ref.name")
        request.fields["ref"] = Raw(write_fields(ref))
        return aim
    if kind == "ref/resource":
        uri = _read_text(ref, "uri", "params.ref.uri")
        return Aim(await catalog.find_resource(ctx, uri), request, _without_query(uri))
    raise ParametersUnusable("params.ref.type: expected ref/prompt or ref/resource")


def _read_text(fields: Fields, name: str, where: str) -> str:
    try:
        return msgspec.json.decode(fields[name], type=str)
    except KeyError:
        raise ParametersUnusable(f"{where}: missing") from None
    except msgspec.MsgspecError:
        raise ParametersUnusable(f"{where}: expected a string") from None


def _without_query(uri: str) -> str:
    """What may be recorded of a URI: secrets travel in queries and fragments, and in user information."""
    bare = uri.partition("?")[0].partition("#")[0]
    scheme, slashes, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"[:256]
