"""The application factory of a worker process: the gateway's own, tied to the supervisor that started the process."""

import gc
import resource
from typing import Final

from gateway_proxy import app
from gateway_proxy.cli.parent_death import end_with_parent

DESCRIPTORS: Final = 65_536
YOUNG_OBJECTS: Final = 50_000


def create_app() -> app.Gateway:
    """Called by uvicorn in each worker; settings come from the environment that the supervisor left."""
    end_with_parent()
    _allow_many_connections()
    gateway = app.create_app()
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
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
