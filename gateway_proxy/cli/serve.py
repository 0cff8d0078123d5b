"""`gateway-proxy serve`: prepare the database, start the runner, supervise the workers.

This process becomes the supervisor and stays: what only preparing needs may not be imported here (ADR 12).
"""

import asyncio
import importlib
import os
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway_proxy.cli.environment import Surroundings, read_surroundings
from gateway_proxy.cli.gate import Gate
from gateway_proxy.cli.preparing import Preparing, prepare_here
from gateway_proxy.cli.runner_process import RunnerProcess
from gateway_proxy.cli.supervisor import Supervisor, bind, kill_workers, server_config, start_workers
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.domain.errors import NotFound
from gateway_proxy.settings import Settings, extend_process_environment
from gateway_proxy.telemetry.logs import configure_logs, get_log

if TYPE_CHECKING:
    from gateway_proxy.telemetry.metrics_folder import MetricsFolder

log = get_log(__name__)

WORKERS_PYTHON: Final = {"PYTHONNODEBUGRANGES": "1"}
"""Workers keep no columns of source lines, which only tracebacks show, and we print none: half a MiB each."""
LOG_LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.option("--transport", type=click.Choice(["http", "sse", "streamable-http", "stdio"]), default="http",
              show_default=True, help="stdio: tenant `default` on standard input and output, without tokens. "
              "The others all serve every HTTP surface.")  # fmt: skip
@click.option("--host", metavar="ADDRESS", help="Address to listen on (GATEWAY_HOST).")
@click.option("--port", metavar="PORT", help="Port to listen on (GATEWAY_PORT).")
@click.option("--workers", metavar="NUMBER", help="Worker processes (GATEWAY_WORKERS); more than one needs Redis.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Configuration file to apply first.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS, case_sensitive=False), help="GATEWAY_LOG_LEVEL.")
@click.option("--name", metavar="NAME", help="What the gateway calls itself to MCP clients.")
@click.option("--bootstrap", "first_look", is_flag=True, help="On an empty database, add something to look at.")
def serve(
    transport: str,
    host: str | None,
    port: str | None,
    workers: str | None,
    config: Path | None,
    log_level: str | None,
    name: str | None,
    first_look: bool,
) -> None:
    """Serve the gateway over HTTP.

    Brings the database to this version's schema, applies the configuration file, starts a runner for stdio and SSE
    servers (unless GATEWAY_RUNNER_URL names one), and serves. SIGTERM lets calls in flight finish, for up to 25 s.

    \b
    Examples:
      gateway-proxy serve --config gateway.yaml
      GATEWAY_REDIS_URL=redis://127.0.0.1/0 gateway-proxy serve --workers 4
      gateway-proxy serve --bootstrap
    """
    given = {
        "GATEWAY_HOST": host,
        "GATEWAY_PORT": port,
        "GATEWAY_WORKERS": workers,
        "GATEWAY_LOG_LEVEL": log_level,
        "GATEWAY_NAME": name,
    }
    surroundings = read_surroundings({key: value for key, value in given.items() if value is not None})
    settings = surroundings.settings
    configure_logs(settings.log_level)
    _log_start(surroundings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    extend_process_environment(surroundings.changes)
    serve_by = _serve_stdio if transport == "stdio" else _serve_http
    serve_by(surroundings, config, first_look=first_look)


def _serve_http(surroundings: Surroundings, file: Path | None, *, first_look: bool) -> None:
    """Everything starts at once: preparing, the runner, the workers. They serve when the first two are done."""
    settings, clock = surroundings.settings, SystemClock()
    listener = bind(settings, clock)
    preparing = Preparing(surroundings, file, first_look=first_look)
    extend_process_environment(WORKERS_PYTHON)
    gate = Gate()
    config = server_config(settings, gate)
    with ExitStack() as if_it_fails:
        runner = _start_runner(surroundings, clock, instance=settings.port)
        if runner is not None:
            if_it_fails.callback(runner.stop)
        metrics = _share_metrics(settings)
        if metrics is not None:
            if_it_fails.callback(metrics.remove)
        workers = start_workers(config, listener)
        if_it_fails.callback(kill_workers, workers)
        try:
            preparing.wait()
            if runner is not None:
                runner.wait()
        finally:  # its secrets are stored, and are said now or never
            if preparing.welcome is not None:
                click.echo(preparing.welcome)
        if_it_fails.pop_all()
    with closing(gate):
        supervisor = Supervisor(config, listener, workers, runner, metrics, clock)
        gate.open()
        supervisor.serve()


def _serve_stdio(surroundings: Surroundings, file: Path | None, *, first_look: bool) -> None:
    """One client on standard input and output, served by this very process, with a runner of its own."""
    prepare_here(surroundings, file, first_look=first_look, tell=partial(click.echo, err=True))
    runner = _start_runner(surroundings, SystemClock(), instance=os.getpid())
    application = importlib.import_module("gateway_proxy.app.stdio")  # the supervisor of HTTP stays free of the app
    try:
        if runner is not None:
            runner.wait()
        asyncio.run(application.serve_stdio(Settings.from_environment()))
    except NotFound:
        raise click.ClickException("there is no tenant `default`; apply a configuration that has one") from None
    finally:
        if runner is not None:
            runner.stop()


def _log_start(surroundings: Surroundings) -> None:
    settings = surroundings.settings
    log.info("gateway_starting", gateway=settings.name, public_url=settings.public_url, workers=settings.workers)
    for notice in surroundings.notices:
        log.warning("older_environment_name", notice=notice)


def _share_metrics(settings: Settings) -> "MetricsFolder | None":
    """Several workers count together in a folder, which has to be known before the first of them starts."""
    if settings.workers == 1:
        return None
    module = importlib.import_module("gateway_proxy.telemetry.metrics_folder")  # one worker needs none of it
    folder: MetricsFolder = module.MetricsFolder(settings.data_dir)
    extend_process_environment({module.ENVIRONMENT_NAME: str(folder.path)})
    return folder


def _start_runner(surroundings: Surroundings, clock: SystemClock, *, instance: int) -> RunnerProcess | None:
    settings = surroundings.settings
    if settings.runner_url:
        return None
    runner = RunnerProcess(
        data_dir=settings.data_dir,
        port=instance,
        environ=surroundings.environ,
        log_level=settings.log_level,
        clock=clock,
    )
    runner.start()
    extend_process_environment(runner.address)
    return runner
