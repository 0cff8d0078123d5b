"""A real HTTP service with an OpenAPI document, on Starlette; it remembers what reached it, byte for byte."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway_proxy.domain.backend import Backend, Transport
from tests.support.relay_rooms import http_backend

Tree = dict[str, Any]
Answer = Callable[[Request], Response]


@dataclass(frozen=True)
class Seen:
    """One request: `target` is the path and query as they were on the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class OpenApiService:
    """An ASGI app. `answers` are by path of the service; any other path echoes what it was asked."""

    document: Tree | bytes
    answers: dict[str, Answer] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    document_path: str = "/openapi.json"
    document_status: int = 200
    documents_served: int = 0
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]
        self._app = Starlette(routes=[Route("/{path:path}", self._handle, methods=methods)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @property
    def calls(self) -> list[Seen]:
        """The requests for anything but the document."""
        return [seen for seen in self.seen if seen.target != self.document_path]

    async def _handle(self, request: Request) -> Response:
        target = request.scope["raw_path"].decode()
        if request.scope["query_string"]:
            target += "?" + request.scope["query_string"].decode()
        seen = Seen(request.method, target, dict(request.headers), await request.body())
        self.seen.append(seen)
        if target == self.document_path:
            return self._document(request)
        answer = self.answers.get(request.scope["path"])
        if answer is not None:
            return answer(request)
        return JSONResponse(
            {"method": seen.method, "target": seen.target, "body": seen.body.decode("utf-8", "replace")}
        )

    def _document(self, request: Request) -> Response:
        self.documents_served += 1
        etag = self.headers.get("etag")
        if etag is not None and request.headers.get("if-none-match") == etag:
            return Response(status_code=304)
        body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
        media_type = "application/json" if body[:1] == b"{" else "application/yaml"
        return Response(body, self.document_status, self.headers, media_type)


def document(paths: Tree, *, version: str = "3.1.0", **more: Any) -> Tree:
    """An OpenAPI document."""
    return {"openapi": version, "info": {"title": "Shop", "version": "1"}, "paths": paths, **more}


def operation(name: str, *parameters: Tree, **more: Any) -> Tree:
    """An operation that answers JSON."""
    return {"operationId": name, "parameters": list(parameters), "responses": {"200": {"description": "ok"}}, **more}


def parameter(name: str, place: str, schema: Tree | None = None, **more: Any) -> Tree:
    """A parameter; those of the path are required."""
    return {"name": name, "in": place, "schema": schema or {"type": "string"}, "required": place == "path", **more}


def json_body(schema: Tree, **more: Any) -> Tree:
    """A request body of JSON."""
    return {"required": True, "content": {"application/json": {"schema": schema}}, **more}


def answers(schema: Tree, media_type: str = "application/json") -> Tree:
    """The responses of an operation that answers with one schema."""
    return {"200": {"description": "ok", "content": {media_type: {"schema": schema}}}}


def openapi_backend(url: str, name: str = "shop", **more: Any) -> Backend:
    """The service at `url` as an operator's backend."""
    fields = {"transport": Transport.OPENAPI, "url": f"{url}/openapi.json", **more}
    return replace(http_backend(url, name), **fields)
