"""A whole chat on real sockets: the surface, a scripted provider behind it, tools of the test, the official SDK."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.audit import AuditEvent
from gateway_proxy.domain.clock import Clock, SystemClock
from gateway_proxy.domain.provider import Provider, ProviderKind
from gateway_proxy.telemetry.audit import AuditTrail
from openai_routes.kept_turns import KeptTurns
from tests.support.llm.scripted import Script, ScriptedAnthropic, ScriptedOpenAI
from tests.support.llm.serving import serve
from tests.support.llm.surface import FixedCalls, FixedModels, FixedTools, Tool, surface


@dataclass
class Stage:
    """What a test of the loop looks at."""

    url: str
    upstream: ScriptedOpenAI | ScriptedAnthropic
    calls: FixedCalls
    tools: FixedTools
    openai: AsyncOpenAI
    http: httpx2.AsyncClient
    audit: AuditTrail
    written: list[AuditEvent]

    async def chunks(self, **body: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed chat, which must end with `[DONE]`; the model is `helper` unless said."""
        answer = await self.http.post("/v1/chat/completions", json={"model": "helper", "stream": True, **body})
        assert answer.status_code == 200, answer.text
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line and line[0] != ":"]
        assert events[-1] == "[DONE]"
        return [msgspec.json.decode(event) for event in events[:-1]]

    async def recorded(self) -> list[AuditEvent]:
        """The audit events so far."""
        await self.audit.flush()
        return self.written


def definition(name: str, description: str = "", **schema: Any) -> dict[str, Any]:
    """A tool definition."""
    return {"name": name, "description": description, "inputSchema": {"type": "object", **schema}}


@asynccontextmanager
async def stage(
    script: Sequence[Script],
    tools: Mapping[str, Tool] | None = None,
    *,
    kind: ProviderKind = "openai",
    definitions: Sequence[Mapping[str, object]] | None = None,
    turns: KeptTurns | None = None,
    clock: Clock | None = None,
    provider: Mapping[str, Any] | None = None,
    provider_name: str = "local",
    **assistant: Any,
) -> AsyncGenerator[Stage, None]:
    """Set it up: tenant t1 with the assistant `helper` over all its tools; keywords are fields of the assistant."""
    upstream = ScriptedOpenAI(list(script)) if kind == "openai" else ScriptedAnthropic(list(script))
    tools = tools or {}
    listed = definitions if definitions is not None else [definition(name, f"Does {name}.") for name in tools]
    fixed_tools, calls = FixedTools({"t1": listed}), FixedCalls(tools)
    written: list[AuditEvent] = []

    async def write(events: Sequence[AuditEvent]) -> None:
        written.extend(events)

    clock = clock or SystemClock()
    audit = AuditTrail(write, clock)
    async with serve(upstream.app()) as upstream_url:
        made = Provider(
            "p1",
            "t1",
            provider_name,
            kind,
            "operator",
            1,
            **{"base_url": f"{upstream_url}/v1", "api_key": "sk-upstream", **(provider or {})},
        )
        fields = {"mcp_servers": None, **assistant}
        helper = Assistant("a1", "t1", "helper", provider_name, "gpt-4o", 1, **fields)
        models = FixedModels({"t1": [helper], "t2": []}, {"t1": [made]})
        async with (
            surface(models, fixed_tools, calls, turns=turns, audit=audit, clock=clock) as app,
            serve(app) as url,
            httpx2.AsyncClient(base_url=url, timeout=30, verify=False) as http,  # nothing here speaks TLS
            AsyncOpenAI(
                base_url=f"{url}/v1",
                api_key="gw_pat_x",
                max_retries=0,
                http_client=DefaultAsyncHttpxClient(verify=False),
            ) as openai,
        ):
            yield Stage(url, upstream, calls, fixed_tools, openai, http, audit, written)
