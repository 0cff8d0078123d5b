"""A subject of measurement as the load generator sees it: where it listens, how it is asked, which processes it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks import wire
from benchmarks.load import Asked, Connection, connect
from benchmarks.processes import tree_of

Kind = Literal["json", "sse", "list", "stdio"]
HOST: Final = "127.0.0.1"
CALLS: Final[tuple[Kind, ...]] = ("json", "sse")
EVERYTHING: Final[tuple[Kind, ...]] = ("json", "sse", "list")


@dataclass(frozen=True, slots=True)
class Address:
    """What one connection of a kind needs: path, credentials, and the name of the tool."""

    path: str
    tool: str
    headers: tuple[tuple[str, str], ...] = ()


AddressOf = Callable[[Kind, int], Address]
"""The address for the connection of a number."""


def address_of_backend(kind: Kind, _: int) -> Address:
    """The backend's own paths, for whatever passes requests on."""
    return Address(f"/{kind}/mcp", "echo")


def address_of_single(kind: Kind, _: int) -> Address:
    """/mcp with the backend's names, for gateways with one backend."""
    return Address("/mcp", "echo")


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the table. `pid` is the root of its processes, None for the direct row."""

    name: str
    port: int
    pid: int | None
    address: AddressOf = address_of_backend
    kinds: tuple[Kind, ...] = EVERYTHING
    most_connections: int = 256

    def pids(self) -> list[int]:
        """All its processes at this moment."""
        return [] if self.pid is None else tree_of(self.pid)

    async def open(self, kind: Kind, number: int) -> tuple[Connection, Asked]:
        """Connect, open an MCP session, and say what this connection will ask over and over."""
        connection = await connect(HOST, self.port)
        address = self.address(kind, number)
        host = f"{HOST}:{self.port}"
        answer = await connection.ask(wire.post(host, address.path, wire.initialize(), address.headers))
        if answer.status != 200:
            raise RuntimeError(f"{self.name}: initialize got {answer.status} {answer.body[:300]!r}")
        session = answer.headers.get(b"mcp-session-id", b"").decode()
        headers = (*address.headers, ("mcp-session-id", session)) if session else address.headers
        await connection.ask(wire.post(host, address.path, wire.INITIALIZED, headers))
        if kind == "list":
            first = f"tool_{wire.LIST_SIZE - 1:03}".encode()
            return connection, Asked(wire.post(host, address.path, wire.list_tools(), headers), first)
        text = f"connection {number} says hello to the gateway"
        request = wire.post(host, address.path, wire.call(address.tool, text), headers)
        return connection, Asked(request, text.encode())
