"""Heads that wait for their bodies, on a transport that records."""

import asyncio
from typing import Any

from gateway_proxy.cli.one_write import JOINED_BYTES, OneWrite
from gateway_proxy.cli.unread import Unread

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorder(asyncio.Transport):
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.packets.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.packets.extend(bytes(each) for each in list_of_data)

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: Any, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1)}.get(name, default)


def wrapped() -> tuple[Recorder, asyncio.Transport]:
    recorder, loop = Recorder(), asyncio.get_running_loop()
    return recorder, OneWrite(recorder, loop, Unread(recorder, loop, 30.0))


async def test_a_head_and_its_body_leave_as_one_packet() -> None:
    """ADR 0012: a second write is a tenth of a call."""
    recorder, transport = wrapped()
    transport.write(HEAD)
    transport.write(b"fine")
    await asyncio.sleep(0)
    assert recorder.packets == [HEAD + b"fine"]


async def test_a_head_whose_body_is_late_leaves_at_the_next_turn_of_the_loop() -> None:
    """A client that waits for a stream sees its head at once."""
    recorder, transport = wrapped()
    transport.write(HEAD)
    assert recorder.packets == []
    await asyncio.sleep(0)
    assert recorder.packets == [HEAD]
    transport.write(b"data: late\n\n")
    assert recorder.packets == [HEAD, b"data: late\n\n"]


async def test_closing_writes_the_head_that_waits() -> None:
    """RFC 9112 §9.6: an answer that was begun is sent before the connection ends."""
    recorder, transport = wrapped()
    transport.write(HEAD)
    transport.close()
    await asyncio.sleep(0)
    assert recorder.packets == [HEAD]
    assert transport.is_closing()


async def test_an_interim_answer_does_not_wait() -> None:
    """RFC 9110 §10.1.1: a client holds its body back until 100 Continue comes."""
    recorder, transport = wrapped()
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert recorder.packets == [b"HTTP/1.1 100 Continue\r\n\r\n"]


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    """ADR 0012: joining is for small answers."""
    recorder, transport = wrapped()
    body = b"x" * (JOINED_BYTES + 1)
    transport.write(HEAD)
    transport.write(body)
    await asyncio.sleep(0)
    assert recorder.packets == [HEAD, body]


async def test_what_is_not_wrapped_is_the_transports_own() -> None:
    """Servers ask transports for addresses and pause them."""
    _, transport = wrapped()
    assert transport.get_extra_info("peername") == ("127.0.0.1", 1)


async def test_what_is_written_in_pieces_or_cut_off_keeps_its_order() -> None:
    """A head never follows its body, and nothing follows an abort."""
    recorder, transport = wrapped()
    transport.write(HEAD)
    transport.writelines((b"a", b"b"))
    assert recorder.packets == [HEAD, b"a", b"b"]
    transport.write(HEAD)
    transport.abort()
    await asyncio.sleep(0)
    assert recorder.packets == [HEAD, b"a", b"b"]
    assert recorder.is_closed


def test_a_protocol_finds_every_method_of_a_transport() -> None:
    """Nothing is left to the base class, whose methods raise."""
    missing = [name for name in dir(asyncio.Transport) if not name.startswith("_") and name not in vars(OneWrite)]
    assert missing == []
