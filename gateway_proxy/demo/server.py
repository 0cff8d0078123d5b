"""The demo tools: arithmetic, time, echo, a slow one with progress, and a counter that shows who shares a process."""

from datetime import UTC, datetime
from itertools import count
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

INSTRUCTIONS = (
    "Demo tools that come with the gateway: arithmetic, the time of day in any time zone, an echo, a slow tool that "
    "reports progress, and a counter that lives as long as this server process."
)
_PURE = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class Product(BaseModel):
    """What `multiply` answers."""

    product: float = Field(description="The two factors multiplied")
    factors: list[float] = Field(description="The factors, as given")


class Moment(BaseModel):
    """What `now` answers."""

    zone: str = Field(description="The IANA time zone that was asked for")
    time: str = Field(description="Date and time there, ISO 8601 with its offset from UTC")
    weekday: str = Field(description="Day of the week there, in English")


class Waited(BaseModel):
    """What `slow` answers."""

    seconds: float = Field(description="How long it took")
    steps: int = Field(description="How many steps it reported")


def add(
    a: Annotated[float, Field(description="First addend")], b: Annotated[float, Field(description="Second")]
) -> str:
    """Add two numbers."""
    return f"{a + b:.15g}"


def multiply(
    a: Annotated[float, Field(description="First factor")], b: Annotated[float, Field(description="Second factor")]
) -> Product:
    """Multiply two numbers; the answer is structured."""
    return Product(product=a * b, factors=[a, b])


def now(
    zone: Annotated[str, Field(description="IANA time zone, such as Europe/Vienna", max_length=64)] = "UTC",
) -> Moment:
    """Tell the present date and time in a time zone."""
    try:
        there = datetime.now(UTC).astimezone(ZoneInfo(zone))  # noqa: TID251 - stands alone: there is no Clock here
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolError("zone: expected an IANA time zone name, such as Europe/Vienna") from error
    return Moment(zone=zone, time=there.isoformat(timespec="seconds"), weekday=f"{there:%A}")


def echo(text: Annotated[str, Field(description="What to say", max_length=1_000_000)]) -> str:
    """Return the text exactly as it was sent."""
    return text


async def slow(
    ctx: Context,
    seconds: Annotated[float, Field(description="How long to work", ge=0, le=120)] = 5,
    steps: Annotated[int, Field(description="How often to report progress", ge=1, le=1000)] = 5,
) -> Waited:
    """Work for a while and report progress after every step; it can be cancelled at any time."""
    for step in range(1, steps + 1):
        await anyio.sleep(seconds / steps)
        await ctx.report_progress(step, steps, f"step {step} of {steps}")
    return Waited(seconds=seconds, steps=steps)


def build_server() -> MCPServer:
    """The server with its tools. Each has a counter of its own, so tests can build several."""
    server = MCPServer(
        "demo",
        title="Gateway demo tools",
        version="1.0.0",
        instructions=INSTRUCTIONS,
        log_level="WARNING",
    )
    steps = count(1)

    def counter() -> int:
        """Count up by one; the count starts at 1 with every new process of this server."""
        return next(steps)

    server.add_tool(add, title="Add", annotations=_PURE, structured_output=False)
    server.add_tool(multiply, title="Multiply", annotations=_PURE)
    server.add_tool(
        now, title="What time is it?", annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False)
    )
    server.add_tool(echo, title="Echo", annotations=_PURE, structured_output=False)
    server.add_tool(slow, title="Slow work", annotations=_PURE)
    server.add_tool(
        counter,
        title="Counter",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )
    return server
