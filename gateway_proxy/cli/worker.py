"""The application factory of a worker process: the gateway's own, tied to the supervisor that started the process."""

import gc
import importlib
import resource
import socket
from typing import TYPE_CHECKING, Final

from gateway_proxy.cli.collector import collector_at_rest
from gateway_proxy.cli.gate import wait_until_open
from gateway_proxy.cli.parent_death import end_with_parent

if TYPE_CHECKING:
    from gateway_proxy.app import Gateway

DESCRIPTORS: Final = 65_536
YOUNG_OBJECTS: Final = 50_000
ROUNDS: Final = 4  # of the young until the older are looked through: what a stream leaves behind has grown old


def create_app(entrance: socket.socket) -> "Gateway":
    """Called by uvicorn in each worker; settings come from the environment that the supervisor left.

    The application is imported late: that takes seconds on a busy machine, in which a worker whose supervisor was
    killed would hold the address and keep the next one from starting. Nothing is opened before the gate is, behind
    `entrance`.
    """
    end_with_parent()
    _allow_many_connections()
    with collector_at_rest():
        gateway: Gateway = importlib.import_module("gateway_proxy.app").create_app()
        _spare_the_collector()
    wait_until_open(entrance)
    return gateway


def _allow_many_connections() -> None:
    """Shells allow 1,024 open files by default, which is less than the open streams of one worker."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _spare_the_collector() -> None:
    """Take what is imported by now out of the garbage collector's sight, and let it look less often (ADR 12).

    Looking again and again through 130,000 objects that live as long as the process was a fifth of a worker's time,
    and paused it for 40 ms at a stretch. Imports leave next to no garbage (300 objects), so none is looked for first.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, ROUNDS, ROUNDS)
