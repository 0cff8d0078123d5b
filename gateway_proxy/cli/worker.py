"""The application factory of a worker process: the gateway's own, tied to the supervisor that started the process."""

import gc
import importlib
import resource
from typing import TYPE_CHECKING, Final

from gateway_proxy.cli.parent_death import end_with_parent

if TYPE_CHECKING:
    from gateway_proxy.app import Gateway

DESCRIPTORS: Final = 65_536
YOUNG_OBJECTS: Final = 50_000
ROUNDS: Final = 4  # of the young until the older are looked through: what a stream leaves behind has grown old


def create_app() -> "Gateway":
    """Called by uvicorn in each worker; settings come from the environment that the supervisor left.

    The application is imported last: that takes seconds on a busy machine, in which a worker whose supervisor was
    killed would hold the address and keep the next one from starting.
    """
    end_with_parent()
    _allow_many_connections()
    gateway: Gateway = importlib.import_module("gateway_proxy.app").create_app()
    _spare_the_collector()
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
    and paused it for 40 ms at a stretch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, ROUNDS, ROUNDS)
