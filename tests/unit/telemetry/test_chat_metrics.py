"""Chats and their tokens as metrics: by tenant and assistant, never by more names than are bounded."""

import pytest

from gateway_proxy.telemetry import metrics as module
from gateway_proxy.telemetry.metrics import Metrics


def value(page: bytes, sample: str) -> float:
    """The value of one sample, 0 when it is not there."""
    found = [line for line in page.decode().splitlines() if line.startswith(sample + " ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def test_more_assistants_than_the_limit_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's administrator names assistants; their number must not grow the page for ever."""
    monkeypatch.setattr(module, "ASSISTANTS_LIMIT", 3)
    metrics, other = Metrics(), 'gateway_chats_total{assistant="(other)",outcome="ok",tenant="(other)"}'
    before = value(metrics.page(), other)

    for number in range(5):
        metrics.chat_ended("many", f"a{number}", "ok", prompt=1, cached=0, completion=1)
    metrics.chat_ended("many", "a0", "ok", prompt=1, cached=0, completion=1)

    page = metrics.page()
    assert value(page, other) - before == 2
    assert value(page, 'gateway_chats_total{assistant="a0",outcome="ok",tenant="many"}') == 2
    assert b'assistant="a3"' not in page


@pytest.mark.parametrize("count", [-5, 0, 10**30])
def test_a_provider_that_counts_nonsense_breaks_nothing(count: int) -> None:
    """Usage is what a provider says; a counter takes no negative number."""
    metrics, sample = Metrics(), 'gateway_chat_tokens_total{assistant="odd",kind="prompt",tenant="odd"}'
    before = value(metrics.page(), sample)
    metrics.chat_ended("odd", "odd", "ok", prompt=count, cached=0, completion=0)
    assert value(metrics.page(), sample) - before == min(max(count, 0), 10**9)
