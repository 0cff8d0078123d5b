"""The wire to a stdio child: its process (through the keeper), its pipes, its last stderr lines. Bytes only.

What a message means is the conversation's business. Nothing here waits for a reader: lines are handed over as they
come, and a child that writes faster than is reasonable is not read for a moment, so that others get their turn.
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from gateway_proxy.runner.errors import StartFailed, WireClosed
from gateway_proxy.runner.framing import Charset, LineSplitter, Oversized
from gateway_proxy.runner.launch import LaunchSpec

STOP_GRACE: Final = 5.0
STDERR_LINES: Final = 100
STDERR_LINE_BYTES: Final = 2048
_STDIN_BYTES: Final = 16 * 1024 * 1024
_OPEN_FILES: Final = 4096
_FILE_BYTES: Final = 4 * 1024**3
_BURST_BYTES: Final = 8 * 1024 * 1024
_LINE_BYTES: Final = 8 * 1024  # what the shortest line costs, in bytes that would cost as much
_BURST_SECONDS: Final = 0.1
_PIPES_LINGER: Final = 0.5
_KEEPER: Final = str(Path(__file__).with_name("keeper.py"))
_UNSTARTABLE: Final = {
    errno.ENOENT: "the command was not found",
    errno.EACCES: "the command is not executable",
    errno.ENOEXEC: "the command is not a program",
    errno.E2BIG: "the arguments are too long",
    errno.ENOMEM: "not enough memory to start",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a child gets of this runner: the search path for commands, a private home directory, and the variables that
    name where it may keep what it downloads.
    """

    path: str
    home: str
    caches: Mapping[str, str]


class StdioWire:
    """One running child. `on_line` gets each stdout line, `on_end` is called once, after the last line."""

    def __init__(
        self,
        spec: LaunchSpec,
        surroundings: Surroundings,
        *,
        on_line: Callable[[bytes | Oversized], None],
        on_end: Callable[[], None],
    ) -> None:
        self._order = _order(spec, surroundings)
        self._charset = Charset(spec.encoding, spec.encoding_error_handler)
        self._on_line = on_line
        self._on_end = on_end
        self._transport: asyncio.SubprocessTransport | None = None
        self._control: socket.socket | None = None
        self._ended = asyncio.Event()
        self._told = b""
        self._unsent: list[bytes] = []
        self.log: deque[str] = deque(maxlen=STDERR_LINES)
        self.pid: int | None = None
        self.keeper_pid: int | None = None
        self.exit_status: int | None = None

    async def start(self) -> None:
        """Start the keeper, have it start the command.

        Raises:
            StartFailed: The command cannot be run.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._control = ours
        loop = asyncio.get_running_loop()
        with theirs:
            try:
                self._transport, _ = await loop.subprocess_exec(
                    lambda: _Pipes(self),
                    sys.executable, "-I", "-S", _KEEPER, str(theirs.fileno()),
                    env={}, pass_fds=(theirs.fileno(),), start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                raise StartFailed("the runner cannot start any process now") from error
        self.keeper_pid = self._transport.get_pid()
        try:
            await loop.sock_sendall(ours, self._order)
            answer = await _read_answer(loop, ours)
        except OSError:
            answer = b""
        except asyncio.CancelledError:
            ours.close()  # the keeper stops what it started
            raise
        said, _, self._told = answer.partition(b"\n")
        if not said.startswith(b"S"):
            ours.close()
            await self._ended.wait()
            raise StartFailed(_UNSTARTABLE.get(int(said[1:] or b"0"), "the command could not be started"))
        self.pid = int(said[1:])

    def send(self, message: bytes) -> None:
        """Write one message and its newline.

        Raises:
            WireClosed: The child ended, or does not read and too much waits for it already.
            UnicodeEncodeError: The message cannot be said in the child's encoding.
        """
        pipe = self._stdin()
        if pipe is None or pipe.is_closing() or pipe.get_write_buffer_size() > _STDIN_BYTES:
            raise WireClosed
        self._unsent += (self._charset.encode(message), b"\n")
        if len(self._unsent) == 2:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One write for all messages of one turn of the event loop: the system call is what costs."""
        pipe, data = self._stdin(), b"".join(self._unsent)
        self._unsent.clear()
        if data and pipe is not None and not pipe.is_closing():
            pipe.write(data)

    async def stop(self, *, patience: float = 0.0) -> None:
        """End stdin, wait `patience` seconds, then SIGTERM, and after 5 s SIGKILL. Returns when all is reaped."""
        self._flush()
        pipe = self._stdin()
        if pipe is not None and not pipe.is_closing():
            pipe.close()
        if patience and not self._ended.is_set():
            try:
                async with asyncio.timeout(patience):
                    await self._ended.wait()
            except TimeoutError:
                pass
        if self._control is not None and not self._ended.is_set():
            with contextlib.suppress(OSError):  # the keeper is ending already
                self._control.send(b"T")
        await self._ended.wait()

    @property
    def has_ended(self) -> bool:
        """True when the child and all that it started are gone and reaped."""
        return self._ended.is_set()

    def _stdin(self) -> asyncio.WriteTransport | None:
        # uvloop's transports are transports by behaviour, not by class
        pipe = self._transport.get_pipe_transport(0) if self._transport is not None else None
        return cast(asyncio.WriteTransport | None, pipe)

    def take_line(self, line: bytes | Oversized) -> None:
        """A line of stdout, in the child's encoding."""
        if isinstance(line, bytes):
            try:
                line = self._charset.decode(line)
            except UnicodeDecodeError:
                self.note(line)
                return
        self._on_line(line)

    def note(self, line: bytes | Oversized) -> None:
        """Remember a line of stderr, or one of stdout that is no message, shortened."""
        text = line.head if isinstance(line, Oversized) else line
        self.log.append(text[:STDERR_LINE_BYTES].decode("utf-8", "replace").rstrip())

    def take_end(self) -> None:
        """The keeper has ended and both pipes are read out."""
        if self._control is not None:
            self.exit_status = _last_status(self._told, self._control)
            self._control.close()
        if self._transport is not None:
            self._transport.close()
        self._ended.set()
        self._on_end()


class _Pipes(asyncio.SubprocessProtocol):
    """Cuts what the child writes into lines and holds its output up when it floods."""

    def __init__(self, wire: StdioWire) -> None:
        self._wire = wire
        self._stdout = LineSplitter()
        self._stderr = LineSplitter(STDERR_LINE_BYTES)
        self._burst = {1: 0, 2: 0}
        self._window = 0.0
        self._has_exited = False
        self._transport: asyncio.SubprocessTransport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        take, splitter = (self._wire.take_line, self._stdout) if fd == 1 else (self._wire.note, self._stderr)
        lines = 0
        for lines, line in enumerate(splitter.feed(data), start=1):  # noqa: B007 - how many there were is wanted
            take(line)
        self._spread(fd, len(data) + lines * _LINE_BYTES)

    def _spread(self, fd: int, size: int) -> None:
        """Hold a pipe to 8 MiB or 1,024 short lines in 100 ms: who brought more rests for as long as that is worth.

        Nothing rests once the process is gone: what is left is a pipe's buffer at most, and its last lines matter.
        """
        if self._has_exited:
            return
        now = self._loop.time()
        if now - self._window > _BURST_SECONDS:
            self._window = now
            self._burst = {1: 0, 2: 0}
        self._burst[fd] += size
        pipe = self._transport.get_pipe_transport(fd) if self._transport is not None else None
        if self._burst[fd] > _BURST_BYTES and pipe is not None and not pipe.is_closing():
            readable = cast(asyncio.ReadTransport, pipe)
            readable.pause_reading()
            rest = _BURST_SECONDS * self._burst[fd] / _BURST_BYTES
            self._burst[fd] = 0
            self._loop.call_later(rest, _resume, readable)

    def process_exited(self) -> None:
        """The keeper is gone. Normally the pipes are too; if it was killed, do not wait for what still holds them."""
        self._has_exited = True
        if self._transport is not None:
            for fd in self._burst:
                pipe = self._transport.get_pipe_transport(fd)
                if pipe is not None:
                    _resume(cast(asyncio.ReadTransport, pipe))
            self._loop.call_later(_PIPES_LINGER, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.take_end()


def _resume(pipe: asyncio.ReadTransport) -> None:
    if not pipe.is_closing():
        pipe.resume_reading()


def _order(spec: LaunchSpec, surroundings: Surroundings) -> bytes:
    """The keeper's order. The environment is made from nothing: PATH, HOME, LANG, caches and what was declared.

    npm reads its variables in any case.
    """
    assert spec.command is not None
    declared = {name.lower() for name in spec.env}
    caches = {name: path for name, path in surroundings.caches.items() if name.lower() not in declared}
    env = {"PATH": surroundings.path, "HOME": surroundings.home, "LANG": "C.UTF-8", **caches, **spec.env}
    fields: Iterable[str] = (
        str(1 + len(spec.args)), spec.command, *spec.args,
        str(len(env)), *(f"{name}={value}" for name, value in env.items()),
        spec.cwd or "", str(spec.memory_bytes or 0), str(_OPEN_FILES), str(_FILE_BYTES), str(STOP_GRACE),
    )  # fmt: skip
    body = "\0".join(fields).encode("utf-8", "surrogateescape")
    return b"%d\n%s" % (len(body), body)


async def _read_answer(loop: asyncio.AbstractEventLoop, control: socket.socket) -> bytes:
    """The keeper's first line, and whatever came with it."""
    data = b""
    while b"\n" not in data:
        more = await loop.sock_recv(control, 64)
        if not more:
            break
        data += more
    return data


def _last_status(told: bytes, control: socket.socket) -> int | None:
    """The exit status that the keeper reported: negative for a signal, None when the keeper did not get to it."""
    try:
        data = told + control.recv(256)
    except OSError:
        data = told
    reported = data.rpartition(b"E")[2].strip()
    return os.waitstatus_to_exitcode(int(reported)) if data and reported.isdigit() else None
