"""The process that reads one document and ends: `python -m gateway_proxy.backends.openapi.reader`.

On stdin comes a line with `Hints` as JSON, then the document; on stdout goes a `Reading` as JSON. A document of a
stranger may be built to eat time and memory (YAML of 5 MiB takes seconds by nature), so it is read here, under limits
of the operating system, and the worker that serves everybody neither waits nor swells. The libraries for it are
imported here alone. Nothing that needs the network, the environment or a secret may be put here.
"""

import contextlib
import os
import resource
import sys
from typing import Final

import msgspec

from gateway_proxy.backends.openapi.operations import read_plan
from gateway_proxy.backends.openapi.parsing import DocumentUnusable, parse_document
from gateway_proxy.backends.openapi.plan import MAX_DOCUMENT, Hints, Reading

CPU_SECONDS: Final = 40
MEMORY_BYTES: Final = 1024 * 1024 * 1024
NICENESS: Final = 10
MAX_HINTS: Final = 256 * 1024


def read_document(body: bytes, hints: Hints) -> Reading:
    """Read one document; whatever is wrong with it is in the outcome."""
    try:
        return Reading(plan=read_plan(parse_document(body), hints))
    except DocumentUnusable as error:
        return Reading(fault=str(error))
    except RecursionError:
        return Reading(fault="nests too deeply")
    except MemoryError:
        return Reading(fault="takes too much memory to read")


def main() -> int:
    """Read stdin, write stdout."""
    _limit()
    data = sys.stdin.buffer.read(MAX_HINTS + MAX_DOCUMENT + 1)
    head, _, body = data.partition(b"\n")
    reading = read_document(body, msgspec.json.decode(head, type=Hints))
    sys.stdout.buffer.write(msgspec.json.encode(reading))
    return 0


def _limit() -> None:
    """Less of everything than a worker has; where the system knows a limit not, the reader's parent still ends it."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)


if __name__ == "__main__":
    sys.exit(main())
