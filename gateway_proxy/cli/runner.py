"""`gateway-proxy runner`: host stdio and SSE servers for gateways elsewhere. Reads no key and no database of theirs."""

from pathlib import Path
from typing import Any

import click

from gateway_proxy.cli.runner_check import check_runner
from gateway_proxy.domain.errors import SettingsInvalid
from gateway_proxy.runner.listener import RunnerTls
from gateway_proxy.runner.main import run_runner
from gateway_proxy.settings import read_fields

_FIELDS = ("runner_key", "runner_tls_ca", "runner_tls_cert", "runner_tls_key", "log_level", "data_dir")


@click.command()
@click.option("--listen", required=True, metavar="unix:PATH|tcp:HOST:PORT", help="Where gateways reach it.")
@click.option("--allow-command", "allowed", multiple=True, metavar="NAME", help="Start only this; may be repeated.")
@click.option("--check", is_flag=True, help="Ask the runner that listens there how it is, and exit.")
@click.option("--end-with-parent", is_flag=True, hidden=True)
def runner(listen: str, allowed: tuple[str, ...], check: bool, end_with_parent: bool) -> int:
    """Host stdio and SSE servers for gateways elsewhere.

    GATEWAY_RUNNER_KEY is the secret that it shares with the gateways. On TCP, mutual TLS is required: the files in
    GATEWAY_RUNNER_TLS_CA, GATEWAY_RUNNER_TLS_CERT and GATEWAY_RUNNER_TLS_KEY. What servers download is kept in
    GATEWAY_DATA_DIR.

    \b
    Examples:
      gateway-proxy runner --listen unix:/run/gateway/runner.sock
      gateway-proxy runner --listen tcp:0.0.0.0:9000 --allow-command npx --allow-command uvx
      gateway-proxy runner --listen unix:/run/gateway/runner.sock --check
    """
    values = read_fields(_FIELDS)
    key = values["runner_key"]
    if not key:
        raise SettingsInvalid(("GATEWAY_RUNNER_KEY: required; make one with `openssl rand -base64 32`",))
    tls = _tls(values)
    if check:
        check_runner(listen, key, tls)
        return 0
    return run_runner(
        listen=listen,
        key=key,
        allow_commands=allowed or None,
        tls=tls,
        log_level=values["log_level"],
        parent_death=end_with_parent,
        data_dir=values["data_dir"],
    )


def _tls(values: dict[str, Any]) -> RunnerTls | None:
    paths: dict[str, Path | None] = {name: values[name] for name in _FIELDS if name.startswith("runner_tls")}
    ca, certificate, key = paths["runner_tls_ca"], paths["runner_tls_cert"], paths["runner_tls_key"]
    if ca is not None and certificate is not None and key is not None:
        return RunnerTls(certificate=certificate, private_key=key, client_ca=ca)
    if any(paths.values()):
        missing = [f"GATEWAY_{name.upper()}" for name, path in paths.items() if path is None]
        raise SettingsInvalid(tuple(f"{name}: required with the other TLS files" for name in missing))
    return None
