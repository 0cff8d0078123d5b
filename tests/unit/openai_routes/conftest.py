"""The surface on a real socket, with stand-ins beyond its seams."""

from collections.abc import AsyncGenerator

import httpx2
import pytest
from openai import AsyncOpenAI

from gateway_proxy.domain.assistant import Assistant
from tests.support.llm.serving import serve
from tests.support.llm.surface import FixedModels, FixedTools, surface

TOOLS = {
    "t1": [
        {"name": "calc__add", "description": "Adds two numbers.", "inputSchema": {"type": "object"}},
        {"name": "clock__now", "description": "Tells\u202e the\ntime.", "inputSchema": {"type": "object"}},
        {"name": "plain__bare", "inputSchema": {"type": "object"}},
    ],
    "t2": [{"name": "other__secret", "description": "Of another tenant.", "inputSchema": {"type": "object"}}],
}


@pytest.fixture
async def base_url() -> AsyncGenerator[str, None]:
    """The surface without any provider; tenant t1 has one assistant."""
    research = Assistant("a1", "t1", "research", "local", "gpt-4o", 1, description="Looks things up.")
    models = FixedModels(assistants={"t1": [research]})
    async with surface(models, FixedTools(TOOLS, page_size=2)) as app, serve(app) as url:
        yield url


@pytest.fixture
async def http(base_url: str) -> AsyncGenerator[httpx2.AsyncClient, None]:
    """A plain HTTP client on the surface."""
    async with httpx2.AsyncClient(base_url=base_url, verify=False) as client:
        yield client


@pytest.fixture
async def openai(base_url: str) -> AsyncGenerator[AsyncOpenAI, None]:
    """The official SDK on the surface."""
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key="gw_pat_x", max_retries=0) as client:
        yield client
