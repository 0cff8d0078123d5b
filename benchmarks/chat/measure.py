"""Rounds of streamed chats over subjects, interleaved like the calls: CPU per chunk, and time to the first word."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks import wire
from benchmarks.chat.load import ChatConnection, connect_chat, question
from benchmarks.load import connect
from benchmarks.processes import cpu_seconds, tree_of

HOST: Final = "127.0.0.1"
PROVIDER: Final = "the provider itself"
PAUSE_MS: Final = 5.0
TOOL: Final = "json__echo"


@dataclass(frozen=True, slots=True)
class ChatSubject:
    """One row. `pid` is the root of its processes, None for the provider; `streams` as many as it can serve in time."""

    name: str
    port: int
    pid: int | None
    key: str = ""
    streams: int = 32
    runs_tools: bool = False


@dataclass(frozen=True, slots=True)
class ChatSample:
    """One subject in one round: CPU seconds per chunk, seconds to the first word, and to the first behind a tool."""

    cpu_per_chunk: float | None
    first: float
    after_tool: float | None


ChatSamples = dict[str, list[ChatSample]]
"""By subject, one per round."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is asked in one round."""

    words: int
    streams: int
    firsts: int
    tools: int


FULL: Final = Amount(words=600, streams=32, firsts=150, tools=80)
SHORT: Final = Amount(words=120, streams=32, firsts=40, tools=20)


async def measure_chats(
    subjects: Sequence[ChatSubject], backend_port: int, amount: Amount, *, rounds: int
) -> ChatSamples:
    """All of it; in every round each subject once, in turning order."""
    samples: ChatSamples = {}
    for subject in subjects:
        await _first_words(subject, 20, "warm")
    for number in range(rounds):
        at = number % len(subjects)
        for subject in (*subjects[at:], *subjects[:at]):
            sample = ChatSample(
                None if subject.pid is None else await _cpu_per_chunk(subject, amount),
                await _first_words(subject, amount.firsts, "x"),
                await _after_tool(subject, backend_port, amount.tools),
            )
            samples.setdefault(subject.name, []).append(sample)
            await asyncio.sleep(0.05)
    return samples


async def _cpu_per_chunk(subject: ChatSubject, amount: Amount) -> float:
    assert subject.pid is not None
    streams = min(amount.streams, subject.streams)
    request = question(f"{HOST}:{subject.port}", "x", words=amount.words, pause=PAUSE_MS, key=subject.key)
    connections = [await connect_chat(HOST, subject.port) for _ in range(streams)]
    try:
        pids = tree_of(subject.pid)
        before = cpu_seconds(pids)
        heard = await asyncio.gather(*(each.ask(request) for each in connections))
        cpu = cpu_seconds(pids) - before
    finally:
        for each in connections:
            each.close()
    words = sum(each.words for each in heard)
    if words != streams * amount.words:
        raise RuntimeError(f"{subject.name}: {words} words came of {streams * amount.words}")
    return cpu / words


async def _first_words(subject: ChatSubject, times: int, text: str) -> float:
    """The median over so many chats, one after the other on one connection."""
    connection = await connect_chat(HOST, subject.port)
    request = question(f"{HOST}:{subject.port}", text, words=1, key=subject.key)
    try:
        return median([(await connection.ask(request)).first for _ in range(times)])
    finally:
        connection.close()


async def _after_tool(subject: ChatSubject, backend_port: int, times: int) -> float | None:
    """Of the gateway: one chat with a tool round. Of the provider: what a client does that runs the tool itself."""
    if not subject.runs_tools and subject.pid is not None:
        return None
    connection = await connect_chat(HOST, subject.port)
    host = f"{HOST}:{subject.port}"
    try:
        if subject.runs_tools:
            request = question(host, "tool", words=1, key=subject.key)
            return median([(await connection.ask(request)).first for _ in range(times)])
        return await _by_itself(connection, host, backend_port, times)
    finally:
        connection.close()


async def _by_itself(connection: ChatConnection, host: str, backend_port: int, times: int) -> float:
    backend = await connect(HOST, backend_port)
    backend_host = f"{HOST}:{backend_port}"
    opened = await backend.ask(wire.post(backend_host, "/json/mcp", wire.initialize()))
    session = (("mcp-session-id", opened.headers[b"mcp-session-id"].decode()),)
    call = wire.post(backend_host, "/json/mcp", wire.call("echo", "hi"), session)
    first, second = question(host, "tool", words=1, tool=TOOL), question(host, "x", words=1)
    seen = []
    for _ in range(times):
        started = time.perf_counter()
        await connection.ask(first)
        await backend.ask(call)
        between = time.perf_counter() - started
        seen.append(between + (await connection.ask(second)).first)
    backend.close()
    return median(seen)
