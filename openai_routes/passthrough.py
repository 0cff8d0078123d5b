"""Every other path of /v1 goes to one of the tenant's providers as it is, and the answer comes back as it is.

Body, query and headers pass, less what belongs to the connection or identifies the caller; the provider gets its own
key. The one change on the way there is the name of an assistant in `model`, which becomes the name that the provider
knows; on the way back errors lose the provider's key and configured header values.
"""

import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Raw

from gateway_proxy.domain.provider import Provider
from gateway_proxy.egress.exchange import Reply
from openai_routes.assistants import ModelDirectory, TenantModels
from openai_routes.endpoint import Inbound
from openai_routes.errors import ProviderMisbehaved, ProviderMissing, ProviderRefusedCredentials, RouteUnknown
from openai_routes.providers.redaction import Redactor
from openai_routes.providers.transport import ProviderLine
from openai_routes.stream import ByteStream

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
PROVIDER_HEADER: Final = b"x-gateway-provider"
KEPT_BACK: Final = re.compile(
    rb"(?:authorization|cookie|x-api-key|api-key|host|content-length|transfer-encoding|connection|keep-alive|upgrade|te"
    rb"|trailer|expect|origin|referer|forwarded|via|accept-encoding|user-agent|x-real-ip|anthropic-version"
    rb"|(?:proxy|x-forwarded|sec|cf|x-gateway|x-openwebui|access-control)-.*)"
)
PLAIN: Final = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
NAME: Final = re.compile(rb"[a-z0-9-]{1,64}")
RETURNED: Final = (
    "content-type",
    "content-length",
    "content-disposition",
    "retry-after",
    "openai-processing-ms",
    "openai-version",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
)
FENCE: Final = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox", "x-accel-buffering": "no"}


class ProviderLines(Protocol):
    """How a provider is reached."""

    def __call__(self, provider: Provider) -> ProviderLine:
        """A line to `provider`."""


class _Model(msgspec.Struct):
    model: str | None = None


@dataclass(frozen=True, slots=True)
class PassThrough:
    """The handler of every path that no other handler has."""

    directory: ModelDirectory
    line_to: ProviderLines

    async def handle(self, inbound: Inbound) -> ByteStream:
        """Pass one request on (compatibility A11).

        Raises:
            RouteUnknown: The path cannot be a path of a provider.
            ProviderMissing: The tenant has no provider for it, or several and none is named.
            ChatError: The provider cannot be reached.
        """
        path = inbound.path.removeprefix("/v1")
        if inbound.method not in METHODS or any(part in (".", "..") for part in path.split("/")):
            raise RouteUnknown(inbound.method, inbound.path)
        models = await self.directory.find_models(inbound.ctx.tenant.id)
        model = _model_of(inbound)
        assistant = models.assistants.get(model) if model else None
        body = inbound.body
        if assistant is not None and assistant.provider in models.providers:
            provider = models.providers[assistant.provider]
            body = _with_model(body, assistant.model)
        else:
            provider = choose_provider(models, inbound)
        line = self.line_to(provider)
        target = quote(path, safe="/:@!$&'()*+,;=~-._") + (f"?{inbound.query.decode('ascii')}" if inbound.query else "")
        stack = AsyncExitStack()
        try:
            reply = await stack.enter_async_context(
                line.request(
                    inbound.method,
                    target,
                    body,
                    headers=tuple(_passed(inbound)),
                    may_retry=inbound.method in ("GET", "HEAD"),
                    passes_errors=True,
                )
            )
            if reply.status in (401, 403, 407):
                raise ProviderRefusedCredentials(provider.name, reply.status)
            if 300 <= reply.status < 400:
                raise ProviderMisbehaved(provider.name, f"it redirects (status {reply.status})")
        except BaseException:
            await stack.aclose()
            raise
        returned = {name: value for name in RETURNED if (value := reply.header(name)) is not None}
        chunks = _chunks(stack, line, reply)
        if reply.status >= 400:
            chunks = _without_secrets(chunks, provider)
            if inbound.method != "HEAD":
                returned.pop("content-length", None)
        return ByteStream(reply.status, chunks, {**returned, **FENCE})


def choose_provider(models: TenantModels, inbound: Inbound) -> Provider:
    """The provider that the header names, else the tenant's default, of the kind that the path belongs to.

    Raises:
        ProviderMissing: None fits.
    """
    named = inbound.header(PROVIDER_HEADER)
    if named is not None:
        provider = models.providers.get(named.strip())
        if provider is None:
            raise ProviderMissing(named.strip()[:64])
        return provider
    kind = "anthropic" if inbound.path.startswith("/v1/messages") else "openai"
    fitting = TenantModels({}, {name: found for name, found in models.providers.items() if found.kind == kind})
    provider = fitting.default_provider()
    if provider is None:
        several = len(fitting.providers) > 1
        raise ProviderMissing(request=f"{inbound.method} {inbound.path[:200]}", are_several=several)
    return provider


async def _chunks(stack: AsyncExitStack, line: ProviderLine, reply: Reply) -> AsyncGenerator[bytes, None]:
    async with stack:
        while (chunk := await line.read_chunk(reply)) is not None:
            yield chunk


async def _without_secrets(chunks: AsyncGenerator[bytes, None], provider: Provider) -> AsyncGenerator[bytes, None]:
    """An error's body: some providers repeat there what they were sent."""
    redactor = Redactor(provider.secrets)
    async with aclosing(chunks):
        async for chunk in chunks:
            if certain := redactor.feed(chunk):
                yield certain
    if rest := redactor.finish():
        yield rest


def _passed(inbound: Inbound) -> Iterator[tuple[str, str]]:
    for name, value in inbound.headers:
        if NAME.fullmatch(name) and not KEPT_BACK.fullmatch(name) and PLAIN.fullmatch(value):
            yield name.decode("ascii"), value.decode("ascii")


def _model_of(inbound: Inbound) -> str | None:
    if not (inbound.header(b"content-type") or "").startswith("application/json"):
        return None
    try:
        return msgspec.json.decode(inbound.body, type=_Model).model
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None  # the provider says better than we what it wants


def _with_model(body: bytes, model: str) -> bytes:
    fields = msgspec.json.decode(body, type=dict[str, Raw])
    fields["model"] = Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)
