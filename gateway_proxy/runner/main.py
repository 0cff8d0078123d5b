"""Runs one runner: sockets, children, HTTP server and signals put together. Blocking; called by the CLI.

Deaths and what follows: SIGTERM or SIGINT → children get SIGTERM, after 5 s SIGKILL, all are reaped, status 0.
SIGKILL → each child's keeper sees its control socket end and does the same (see `keeper`). The parent's death, with
`parent_death=True` → the kernel sends us SIGTERM. A killed keeper → we are a child subreaper, adopt what it kept and
kill it (see `census`).
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import uvicorn
import uvloop

from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.runner.asgi import RunnerApp
from gateway_proxy.runner.caches import Caches
from gateway_proxy.runner.children import MAX_CHILDREN, Children
from gateway_proxy.runner.homes import Homes
from gateway_proxy.runner.listener import ListenInvalid, RunnerTls, close_listener, open_listener
from gateway_proxy.telemetry.logs import configure_logs, get_log

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_TEND_SECONDS: Final = 2.0
_TIDY_SECONDS: Final = 3600.0
_CACHES: Final = "caches"
_GRACE_SECONDS: Final = 2
_OPEN_FILES: Final = 65536

_log = get_log(__name__)


def run_runner(
    *,
    listen: str,
    key: str,
    allow_commands: Sequence[str] | None,
    tls: RunnerTls | None,
    log_level: str,
    parent_death: bool = False,
    max_children: int = MAX_CHILDREN,
    data_dir: Path | None = None,
) -> int:
    """Serve until SIGTERM. Returns the exit status: 0, or 2 when `listen`, `key` or `tls` cannot be used.

    What children download is kept in `data_dir`, if there is one and it can be used. `parent_death` ties us to the
    process that started us (the supervisor of `serve`).
    """
    configure_logs(log_level)
    if len(key) < 16 or not key.isascii() or not key.isprintable():
        sys.stderr.write("the runner key must be at least 16 printable ASCII characters\n")
        return 2
    _tie(parent_death=parent_death)
    _raise_file_limit()
    try:
        listener = open_listener(listen, tls)
    except ListenInvalid as error:
        sys.stderr.write(f"cannot listen on {listen}: {error}\n")
        return 2
    homes = Homes()
    caches = _open_caches(data_dir)
    try:
        children = Children(
            clock=SystemClock(),
            homes=homes,
            caches=caches,
            path=_search_path(),
            allow_commands=allow_commands,
            max_children=max_children,
        )
        try:
            config = _server_config(RunnerApp(children, key=key), tls)
        except OSError as error:  # ssl.SSLError is one
            sys.stderr.write(f"cannot use the TLS files: {error.strerror or error}\n")
            return 2
        uvloop.run(_serve(_Server(config), listener, children, caches))
    finally:
        close_listener(listener, listen)
        homes.close()
    return 0


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: ours stop the children first, and exit with 0 instead of the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _open_caches(data_dir: Path | None) -> Caches | None:
    if data_dir is None:
        return None
    try:
        return Caches(data_dir / _CACHES, clock=SystemClock())
    except OSError as error:
        _log.warning("runner.caches_unusable", folder=str(data_dir / _CACHES), reason=error.strerror)
        return None


async def _serve(server: uvicorn.Server, listener: socket.socket, children: Children, caches: Caches | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tending = [asyncio.create_task(_tend(children))]
    if caches is not None:
        tending.append(asyncio.create_task(_tidy(caches)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    _log.info("runner.started", pid=os.getpid())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in tending:
        task.cancel()
    await children.close()
    server.should_exit = True
    await serving
    stopping.cancel()
    _log.info("runner.stopped", pid=os.getpid())


async def _tend(children: Children) -> None:
    while True:
        await asyncio.sleep(_TEND_SECONDS)
        try:
            await children.tend()
        except Exception:  # noqa: BLE001 - a boundary: one bad round of housekeeping must not end all later ones
            _log.exception("runner.tend_failed")


async def _tidy(caches: Caches) -> None:
    while True:
        try:
            await asyncio.to_thread(caches.tidy)
        except Exception:  # noqa: BLE001 - a boundary, as above
            _log.exception("runner.tidy_failed")
        await asyncio.sleep(_TIDY_SECONDS)


def _server_config(app: RunnerApp, tls: RunnerTls | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.private_key if tls else None,
        ssl_ca_certs=str(tls.client_ca) if tls else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls else ssl.CERT_NONE,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _tie(*, parent_death: bool) -> None:
    """Adopt what killed keepers leave behind, and let the kernel tell us when our parent dies (Linux only)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if parent_death:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _raise_file_limit() -> None:
    """Four descriptors per child and one per caller need more than the usual 1024; children get their own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _search_path() -> str:
    """PATH for the children: ours, and at its end the directory of the Python that runs us."""
    return os.pathsep.join(dict.fromkeys([*os.get_exec_path(), str(Path(sys.executable).parent)]))
