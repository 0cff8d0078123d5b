"""The gate before the first workers: closed until it is opened, then open for ever."""

import threading

import pytest
from uvicorn.config import STARTUP_FAILURE

from gateway_proxy.cli.gate import Gate, wait_until_open


def test_a_gate_lets_in_who_waited_and_who_comes_later() -> None:
    """ADR 12, start: a replacement of a worker finds the gate open."""
    gate = Gate()
    waiting = [threading.Thread(target=wait_until_open, args=(gate.entrance.dup(),), daemon=True) for _ in range(2)]
    for each in waiting:
        each.start()
    waiting[0].join(0.1)
    assert all(each.is_alive() for each in waiting)

    gate.open()

    for each in waiting:
        each.join(10)
    assert not any(each.is_alive() for each in waiting)
    wait_until_open(gate.entrance.dup())
    gate.close()


def test_who_waits_at_the_gate_of_a_supervisor_that_died_ends() -> None:
    """Security F1: no worker outlives its supervisor, nor serves what was never prepared."""
    gate = Gate()
    entrance = gate.entrance.dup()
    gate.close()

    with pytest.raises(SystemExit) as ended:
        wait_until_open(entrance)

    assert ended.value.code == STARTUP_FAILURE
