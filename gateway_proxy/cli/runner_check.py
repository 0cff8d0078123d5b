"""Asking a runner for its health, for container health checks: one short request, over its socket or mutual TLS."""

import http.client
import socket
import ssl
from typing import Final

import click

from gateway_proxy.runner.listener import RunnerTls

_SECONDS: Final = 2.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("runner", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(self._path)


def check_runner(listen: str, key: str, tls: RunnerTls | None) -> None:
    """Return when the runner at `listen` answers that it is well.

    Raises:
        click.ClickException: It does not, within two seconds.
    """
    try:
        connection = _open(listen, tls)
        try:
            connection.request("GET", "/health", headers={"Authorization": f"Bearer {key}"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        raise click.ClickException(f"no runner answers at {listen}") from None
    if status != http.client.OK:
        raise click.ClickException(f"the runner at {listen} answered {status}")


def _open(listen: str, tls: RunnerTls | None) -> http.client.HTTPConnection:
    scheme, _, rest = listen.partition(":")
    if scheme == "unix" and rest:
        return _UnixConnection(rest)
    host, _, port = rest.rpartition(":")
    if scheme != "tcp" or tls is None or not host or not port.isdigit():
        raise click.UsageError("--listen: expected unix:PATH, or tcp:HOST:PORT with the TLS files")
    context = ssl.create_default_context(cafile=tls.client_ca)
    context.check_hostname = False  # the runner is asked at the address it listens on, whatever its name is
    context.load_cert_chain(tls.certificate, tls.private_key)
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1", "::": "::1"}.get(host, host.strip("[]"))  # noqa: S104
    return http.client.HTTPSConnection(host, int(port), timeout=_SECONDS, context=context)
