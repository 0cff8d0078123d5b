"""Stands between Open WebUI and the gateway, passes everything on, and keeps what was sent, scrubbed, as files.

Scrubbed are only ids, tokens and addresses; all else is as Open WebUI wrote it. `tests` replays the files.
"""

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

RECORDED: Final = Path(__file__).with_name("recorded")
KEPT_HEADERS: Final = re.compile(r"accept|content-type|origin|user-agent|mcp-.*|x-.*|access-control-.*")
DROPPED_ANSWER: Final = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})
SCRUBBED: Final = (
    (re.compile(r"gw_pat_[A-Za-z0-9_-]{43}"), "gw_pat_scrubbed"),
    (
        re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
        "00000000-0000-4000-8000-000000000000",
    ),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), r"127.0.0.1:8080"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "0" * 32),
)


@dataclass
class Sent:
    """One request of Open WebUI. `body` is decoded JSON, None when there was none."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    def save(self, name: str) -> None:
        """Write it to a file of that name, scrubbed."""
        text = json.dumps(self.__dict__, indent=1, ensure_ascii=False)
        for pattern, instead in SCRUBBED:
            text = pattern.sub(instead, text)
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / f"{name}.json").write_text(text + "\n", "utf-8")

    def says(self, word: str) -> bool:
        """Whether the last question from the user has that word, and is no background task's."""
        asked = [str(m["content"]) for m in (self.body or {}).get("messages", ()) if m["role"] == "user"]
        return bool(asked) and word in asked[-1] and "### Task" not in asked[-1]


@dataclass
class Recorder:
    """The app in between, and everything that went through it, in order."""

    gateway: str
    sent: list[Sent] = field(default_factory=list)

    def app(self) -> Starlette:
        """Every path and method."""
        methods = ["GET", "POST", "OPTIONS", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self._pass, methods=methods)])

    async def _pass(self, request: Request) -> Response:
        data = await request.body()
        kept = {name: value for name, value in request.headers.items() if KEPT_HEADERS.fullmatch(name)}
        self.sent.append(Sent(request.method, request.url.path, kept, json.loads(data) if data else None))
        headers = [(n, v) for n, v in request.headers.items() if n not in ("host", "content-length", "connection")]
        http = httpx2.AsyncClient(timeout=None, verify=False)
        asked = http.build_request(request.method, self.gateway + request.url.path, headers=headers, content=data)
        answer = await http.send(asked, stream=True)

        async def chunks() -> AsyncGenerator[bytes, None]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()
                await http.aclose()

        returned = {name: value for name, value in answer.headers.items() if name not in DROPPED_ANSWER}
        return StreamingResponse(chunks(), answer.status_code, returned)

    def tasks(self, name: str) -> list[Sent]:
        """The background tasks of a kind, as the connection's header names them."""
        return [sent for sent in self.sent if sent.headers.get("x-openwebui-task") == name]

    def chats(self, word: str) -> list[Sent]:
        """The chats whose last question has that word, in order."""
        return [sent for sent in self.sent if sent.method == "POST" and sent.says(word)]
