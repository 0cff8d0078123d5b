"""The parent process of `serve`: workers by uvicorn's supervisor, the runner beside them, and the order of their end.

Workers stop first, so that calls in flight can finish on a living runner; then the runner. A second process is used
even for one worker: a worker that crashes is replaced, and the backends' processes outlive it.
"""

import errno
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from gateway_proxy.cli.gate import Gate
from gateway_proxy.cli.heartbeat import SILENCE_SECONDS, Heartbeat
from gateway_proxy.cli.http_protocol import BoundedHttpProtocol
from gateway_proxy.cli.runner_process import RunnerProcess
from gateway_proxy.cli.worker import create_app
from gateway_proxy.cli.worker_process import WorkerProcess
from gateway_proxy.domain.clock import Clock
from gateway_proxy.settings import Settings
from gateway_proxy.telemetry.logs import get_log

if TYPE_CHECKING:
    from gateway_proxy.telemetry.metrics_folder import MetricsFolder

log = get_log(__name__)

DRAIN_SECONDS: Final = 25
CONNECTIONS: Final = 8192  # of one worker; beyond it 503
_CLOSE_SECONDS: Final = 4.0  # after draining, for closing database and Redis
_BIND_SECONDS: Final = 5.0  # for a predecessor that is just letting go of the port
_FAILED_STARTS: Final = 3
_START_SECONDS: Final = 30.0  # for a worker that shall take the place of one that serves
_TAKEN: Final = "the address is in use; stop what listens there, or choose another port"


def server_config(settings: Settings, gate: Gate) -> Config:
    """How each worker serves. Limits of bodies and streams are ours (edge); here are those of connections."""
    return Config(
        partial(create_app, gate.entrance),
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
    )


def start_workers(config: Config, listener: socket.socket) -> list[Process]:
    """As many as are wanted."""
    return [_start_worker(config, listener) for _ in range(config.workers)]


def _start_worker(config: Config, listener: socket.socket) -> Process:
    process = WorkerProcess(config, [listener])
    process.start()
    process.child_conn.close()  # the worker has its own: only then is its death the end of the connection
    return process


def kill_workers(workers: Sequence[Process]) -> None:
    """End workers that do not serve yet."""
    for worker in workers:
        worker.kill()
        worker.process.join()


def bind(settings: Settings, clock: Clock) -> socket.socket:
    """The listening address, taken before anything else is touched. The workers listen on it once they are ready.

    Raises:
        click.ClickException: It cannot be had.
    """
    deadline = clock.monotonic() + _BIND_SECONDS
    while True:
        try:
            return _bound(settings)  # not even for a moment may it listen: who connects then would be cut off
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


@dataclass
class Replacing:
    """A replacement of all workers under way: who is to go, and who is on the way in (since when)."""

    leaving: list[Heartbeat] = field(default_factory=list)
    newcomer: Heartbeat | None = None
    since: float = 0.0


class Supervisor(Multiprocess):
    """uvicorn's supervisor of workers, with a runner, an exit status, and bounds: nothing here waits for one worker.

    Signals are looked at twice a second whatever the workers do, a worker that hangs or does not end is killed, and a
    replacement (SIGHUP) goes on beside all that.
    """

    def __init__(
        self,
        config: Config,
        listener: socket.socket,
        workers: Sequence[Process],
        runner: RunnerProcess | None,
        metrics: "MetricsFolder | None",
        clock: Clock,
    ) -> None:
        """`workers` are those of `start_workers`; `metrics` is the folder in which several of them count together."""
        super().__init__(config, [listener])
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._is_in_terminal = sys.stdin is not None and sys.stdin.isatty()
        self._hearts = [Heartbeat(process, clock) for process in workers]
        self._replacing = Replacing()
        self._retired: list[tuple[Process, float]] = []
        self._failed_starts = 0
        self._has_failed = False

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
            self.sockets[0].close()
        if self._has_failed:
            raise click.ClickException("the workers do not start; their messages stand above")

    def init_processes(self) -> None:
        """They were started before us, beside what they have to wait for."""
        self.processes = [heart.process for heart in self._hearts]

    def keep_subprocess_alive(self) -> None:
        """Twice a second: replace what died or hangs, go on with what was begun."""
        if self.should_exit.is_set():
            return
        if self._runner is not None:
            self._runner.keep_alive()
        for place, heart in enumerate(self._hearts):
            if not heart.is_beating():
                self._replace(place, heart)
        self._replace_next()
        self._end_retired()
        self.processes = [heart.process for heart in self._hearts]
        if self._metrics is not None:
            self._metrics.gather({process.pid for process in self._running() if process.pid is not None})

    def _start(self) -> Heartbeat:
        return Heartbeat(_start_worker(self.config, self.sockets[0]), self._clock)

    def _running(self) -> list[Process]:
        newcomer = self._replacing.newcomer
        others = [process for process, _ in self._retired] + ([] if newcomer is None else [newcomer.process])
        return [heart.process for heart in self._hearts] + others

    def _replace(self, place: int, heart: Heartbeat) -> None:
        """Put a new worker into the place of one that is dead or will be now.

        Workers that die before they serve would do so for ever: with none that serves, that ends the start.
        """
        process = heart.process
        if process.process.is_alive():
            log.error("worker_hangs", pid=process.pid, silent_for=SILENCE_SECONDS)
        process.kill()
        process.join()
        self._failed_starts = 0 if any(each.is_serving for each in self._hearts) else self._failed_starts + 1
        if self._failed_starts and (process.exitcode == STARTUP_FAILURE or self._failed_starts >= _FAILED_STARTS):
            log.error("workers_do_not_start", attempts=self._failed_starts)
            self._has_failed = True
            self.should_exit.set()
            return
        log.warning("worker_died", pid=process.pid, status=process.exitcode)
        self._hearts[place] = self._start()

    def _replace_next(self) -> None:
        """Go on with replacing every worker: the newcomer serves before the old one is told to go."""
        replacing = self._replacing
        if replacing.newcomer is None:
            replacing.leaving = [heart for heart in replacing.leaving if heart in self._hearts]  # the others died
            if replacing.leaving:
                replacing.newcomer, replacing.since = self._start(), self._clock.monotonic()
            return
        newcomer, is_late = replacing.newcomer, self._clock.monotonic() - replacing.since > _START_SECONDS
        if not newcomer.is_beating() or (is_late and not newcomer.is_serving):
            log.error("replacement_failed", pid=newcomer.process.pid)
            newcomer.process.kill()
            newcomer.process.join()
            self._replacing = Replacing()
        elif newcomer.is_serving:
            replacing.newcomer = None
            old = next((heart for heart in replacing.leaving if heart in self._hearts), None)
            if old is None:  # it died meanwhile and has a successor already
                self._retire(newcomer.process)
            else:
                self._hearts[self._hearts.index(old)] = newcomer
                self._retire(old.process)

    def _retire(self, process: Process) -> None:
        process.terminate()
        self._retired.append((process, self._clock.monotonic() + DRAIN_SECONDS + _CLOSE_SECONDS))

    def _end_retired(self) -> None:
        """Bury who has gone, and kill who should have gone."""
        for process, deadline in self._retired:
            if process.process.is_alive() and self._clock.monotonic() > deadline:
                log.error("worker_killed", pid=process.pid)
                process.process.kill()
            if not process.process.is_alive():
                process.process.join()
        self._retired = [pair for pair in self._retired if pair[0].process.is_alive()]

    def terminate_all(self) -> None:
        """Tell all workers to end, also those that are only just starting.

        The address is let go of first: a proxy whose connection is refused asks the next gateway, but one that is
        taken in here and that no worker will ever look at waits until we have drained, and fails.
        """
        self.sockets[0].close()
        for process in self._running():
            process.terminate()

    def join_all(self) -> None:
        """Wait for the workers to drain, and no longer than they may take."""
        deadline = self._clock.monotonic() + DRAIN_SECONDS + _CLOSE_SECONDS
        for process in self._running():
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
            self._replacing.leaving = list(self._hearts)

    def handle_ttin(self) -> None:
        """Nothing: the number of workers is a setting, and more than one needs Redis."""

    def handle_ttou(self) -> None:
        """Nothing, as above."""
