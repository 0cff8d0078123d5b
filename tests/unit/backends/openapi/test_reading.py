"""The process that reads documents: what it gives, what it cannot take along, and that a worker stays light."""

import json
import os
import subprocess
import sys

import pytest

from gateway_proxy.backends.openapi import reading
from gateway_proxy.backends.openapi.plan import Hints
from gateway_proxy.backends.openapi.reading import DocumentFault, DocumentReader
from tests.support.openapi_service import document, operation, parameter


async def test_a_document_is_read_by_a_process_of_its_own() -> None:
    """ADR 11: reading eats time and memory, so the worker does not do it itself."""
    source = document({"/a": {"get": operation("a", parameter("X-Key", "header"))}}, servers=[{"url": "/v1"}])
    plan = await DocumentReader().read(json.dumps(source).encode(), Hints(("x-key",)))
    assert [(each.name, each.parameters) for each in plan.operations] == [("a", ())]
    assert plan.server == "/v1"


@pytest.mark.parametrize(
    ("body", "fault"),
    [(b"<html>", "is not an OpenAPI document"), (b'{"swagger":"2.0"}', "is Swagger 2.0; OpenAPI 3.0 or 3.1 is needed")],
)
async def test_a_document_of_no_use_says_why(body: bytes, fault: str) -> None:
    """F7: a clear error."""
    with pytest.raises(DocumentFault, match=f"^{fault}$"):
        await DocumentReader().read(body, Hints())


async def test_a_document_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """E2: time is bounded, and the process is gone afterwards."""
    monkeypatch.setattr(reading, "READ_SECONDS", 0.01)
    with pytest.raises(DocumentFault, match=r"^takes too much time or memory to read$"):
        await DocumentReader().read(b"openapi: 3.1.0\n" + b"a: [" * 10, Hints())


def test_the_reader_limits_its_own_time_and_memory() -> None:
    """E2: by the operating system, so that no library can forget to."""
    script = (
        "import resource; from gateway_proxy.backends.openapi import reader; reader._limit();"
        "print([resource.getrlimit(k)[0] for k in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_CORE)])"
    )
    done = subprocess.run([sys.executable, "-c", script], env={}, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [40, 1024 * 1024 * 1024, 0]


def test_a_worker_carries_none_of_the_libraries() -> None:
    """Light on import: the models cost 0.5 s and 30 MiB in every worker, whether it has such a backend or not."""
    script = (
        "import sys, gateway_proxy.backends.upstreams, gateway_proxy.backends.openapi.services;"
        "print([name for name in ('openapi_pydantic', 'pydantic', 'referencing', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=60, check=True, env={**os.environ}
    )
    assert done.stdout.strip() == b"[]"
