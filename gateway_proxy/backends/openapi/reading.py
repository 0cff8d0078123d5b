"""Has a document read by a process of its own (`reader`) and takes the plan from it. It parses no document itself."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Final

import msgspec

from gateway_proxy.backends.openapi.plan import Hints, Plan, Reading

READ_SECONDS: Final = 50.0
READERS: Final = 2
_ROOT: Final = Path(__file__).parents[3]
_reading: Final = msgspec.json.Decoder(Reading)


class DocumentFault(Exception):
    """The document cannot be used; the argument completes "its OpenAPI document …" in our words."""


class DocumentReader:
    """Reads documents, at most `READERS` at a time in this worker."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(READERS)

    async def read(self, body: bytes, hints: Hints) -> Plan:
        """The plan of a document.

        Raises:
            DocumentFault: There is none.
        """
        async with self._turn:
            output = await _run(msgspec.json.encode(hints) + b"\n" + body)
        try:
            reading = _reading.decode(output)
        except msgspec.MsgspecError:
            raise DocumentFault("takes too much time or memory to read") from None
        if reading.plan is None:
            raise DocumentFault(reading.fault or "cannot be read")
        return reading.plan


async def _run(data: bytes) -> bytes:
    """What the reader writes; empty when it died. It inherits no environment: it needs no secret of ours."""
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "gateway_proxy.backends.openapi.reader",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": str(_ROOT)},
        )
    except OSError:
        raise DocumentFault("could not be read: no process could be started for it") from None
    try:
        async with asyncio.timeout(READ_SECONDS):
            output, _ = await process.communicate(data)
        return output if process.returncode == 0 else b""
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
