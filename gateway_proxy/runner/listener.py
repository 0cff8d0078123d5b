"""Where the runner listens: a unix socket for its own user only, or TCP with mutual TLS. Serves nothing."""

import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_UNIX_PATH_BYTES: Final = 107
_BACKLOG: Final = 2048


class ListenInvalid(Exception):
    """The operator's `--listen` (or its TLS files) cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class RunnerTls:
    """PEM files: our certificate and key, and the authority whose clients we accept; others are refused."""

    certificate: Path
    private_key: Path
    client_ca: Path


def open_listener(listen: str, tls: RunnerTls | None) -> socket.socket:
    """Bind `unix:PATH` (mode 0600) or `tcp:HOST:PORT` (needs `tls`).

    Raises:
        ListenInvalid: Another form, TCP without TLS, or an address that is taken.
    """
    scheme, _, rest = listen.partition(":")
    if scheme == "unix" and rest:
        if tls is not None:
            raise ListenInvalid("a unix socket takes no TLS files")
        return _open_unix(Path(rest))
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host and port.isdigit() and int(port) < 65536:
        if tls is None:
            raise ListenInvalid("listening on TCP needs a certificate, a private key and a client CA")
        return _open_tcp(host.strip("[]"), int(port))
    raise ListenInvalid("expected unix:PATH or tcp:HOST:PORT")


def close_listener(listener: socket.socket, listen: str) -> None:
    """Close it, and remove a unix socket's file unless another runner has taken its place."""
    listener.close()
    scheme, _, path = listen.partition(":")
    if scheme == "unix" and not _answers(path):
        Path(path).unlink(missing_ok=True)


def _open_unix(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES:
        raise ListenInvalid(f"the socket path is longer than {_UNIX_PATH_BYTES} bytes")
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ListenInvalid(f"{path} exists and is no socket")
        if _answers(str(path)):
            raise ListenInvalid(f"another runner listens on {path}")
        path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the mode must be right from the first moment, not after a chmod
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenInvalid(f"cannot listen on {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


def _open_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ListenInvalid(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True
