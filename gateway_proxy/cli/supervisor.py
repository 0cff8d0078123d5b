"""The parent process of `serve`: workers by uvicorn's supervisor, the runner beside them, and the order of their end.

Workers stop first, so that calls in flight can finish on a living runner; then the runner. A second process is used
even for one worker: a worker that crashes is replaced, and the backends' processes outlive it.
"""

import contextlib
import errno
import socket
import sys
import time
from typing import Final

import click
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from gateway_proxy.cli.http_protocol import BoundedHttpProtocol
from gateway_proxy.cli.runner_process import RunnerProcess
from gateway_proxy.domain.clock import Clock
from gateway_proxy.settings import Settings
from gateway_proxy.telemetry.logs import get_log
from gateway_proxy.telemetry.metrics_folder import MetricsFolder

log = get_log(__name__)

DRAIN_SECONDS: Final = 25
CONNECTIONS: Final = 8192  # of one worker; beyond it 503
_CLOSE_SECONDS: Final = 4.0  # after draining, for closing database and Redis
_BIND_SECONDS: Final = 5.0  # for a predecessor that is just letting go of the port
_FAILED_STARTS: Final = 3
_TAKEN: Final = "the address is in use; stop what listens there, or choose another port"


def server_config(settings: Settings) -> Config:
    """How each worker serves. Limits of bodies and streams are ours (edge); here are those of connections."""
    return Config(
        "gateway_proxy.cli.worker:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        backlog=2048,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=120,  # longer than the proxy in front keeps its own, so that it never meets a closed one
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_worker_healthcheck=30,
    )


def bind(settings: Settings, clock: Clock) -> socket.socket:
    """The listening address, taken before anything else is touched. The workers listen on it once they are ready.

    Raises:
        click.ClickException: It cannot be had.
    """
    deadline = clock.monotonic() + _BIND_SECONDS
    while True:
        try:
            # Bound sockets may share an address until one listens, so a first one listens to find out, and is closed.
            with _bound(settings) as probe:
                probe.listen()
            return _bound(settings)
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            if not is_taken or clock.monotonic() > deadline:
                reason = _TAKEN if is_taken else error.strerror or "the address cannot be used"
                raise click.ClickException(f"cannot listen on {settings.host} port {settings.port}: {reason}") from None
        time.sleep(0.1)


def _bound(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(True)
    return listener


class Supervisor(Multiprocess):
    """uvicorn's supervisor of workers, with a runner, a bound on stopping, and an exit status."""

    def __init__(
        self,
        config: Config,
        listener: socket.socket,
        runner: RunnerProcess | None,
        metrics: MetricsFolder | None,
        clock: Clock,
    ) -> None:
        """`metrics` is the folder in which several workers count together."""
        super().__init__(config, [listener])
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._is_in_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._ready: set[int | None] = set()
        self._failed_starts = 0

    def serve(self) -> None:
        """Run until a signal, and leave nothing running.

        Raises:
            click.ClickException: The workers do not start.
        """
        try:
            self.run()
        finally:
            if self._runner is not None:
                self._runner.stop()
            if self._metrics is not None:
                self._metrics.remove()
            with contextlib.suppress(OSError):
                self.sockets[0].close()
        has_failed = any(process.exitcode == STARTUP_FAILURE for process in self.processes)
        if has_failed or self._failed_starts >= _FAILED_STARTS:
            raise click.ClickException("the workers do not start; their messages stand above")

    def keep_subprocess_alive(self) -> None:
        """Twice a second: replace what died."""
        if not self.should_exit.is_set() and self._runner is not None:
            self._runner.keep_alive()
        before = list(self.processes)
        for process in before:
            process.child_conn.close()  # the worker has its own: only then its death ends a ping, which has 30 seconds
        self._ready |= {each.pid for each in before if each.pid not in self._ready and each.is_ready(timeout=1)}
        super().keep_subprocess_alive()
        self._count_failed_starts(before)
        if self._metrics is not None:
            self._metrics.gather({process.pid for process in self.processes if process.pid is not None})

    def _count_failed_starts(self, before: list[Process]) -> None:
        """Workers that die before they serve would do so for ever: with none that serves, that ends the start."""
        died = [old for old, new in zip(before, self.processes, strict=True) if old is not new]
        self._failed_starts += sum(process.pid not in self._ready for process in died)
        self._ready -= {process.pid for process in died}
        if self._ready:
            self._failed_starts = 0
        elif self._failed_starts >= _FAILED_STARTS:
            log.error("workers_do_not_start", attempts=self._failed_starts)
            self.should_exit.set()

    def join_all(self) -> None:
        """Wait for the workers to drain, and no longer than they may take."""
        deadline = self._clock.monotonic() + DRAIN_SECONDS + _CLOSE_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - self._clock.monotonic()))
            if process.process.is_alive():
                log.error("worker_killed", pid=process.pid)
                process.process.kill()
                process.process.join()

    def handle_hup(self) -> None:
        """Replace the workers one by one; in a terminal that was closed, stop instead."""
        if self._is_in_terminal:
            self.should_exit.set()
        else:
            super().handle_hup()

    def handle_ttin(self) -> None:
        """Nothing: the number of workers is a setting, and more than one needs Redis."""

    def handle_ttou(self) -> None:
        """Nothing, as above."""
