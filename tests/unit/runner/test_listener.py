"""Sockets of a runner."""

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_proxy.runner.listener import ListenInvalid, RunnerTls, close_listener, open_listener

_TLS = RunnerTls(Path("c"), Path("k"), Path("a"))


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path for a socket."""
    with tempfile.TemporaryDirectory(prefix="gwl-") as directory:
        yield Path(directory, "s")


def test_a_unix_socket_is_private_from_the_first_moment_and_removed_at_the_end(path: Path) -> None:
    """relay.md 4: socket mode 0600."""
    listener = open_listener(f"unix:{path}", None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    close_listener(listener, f"unix:{path}")
    assert not path.exists()


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(path: Path) -> None:
    """A killed runner must not keep the next one from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = open_listener(f"unix:{path}", None)
    with pytest.raises(ListenInvalid, match="another runner listens"):
        open_listener(f"unix:{path}", None)
    close_listener(listener, f"unix:{path}")


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    """A typing error must not delete anything."""
    path.write_text("precious")
    with pytest.raises(ListenInvalid, match="is no socket"):
        open_listener(f"unix:{path}", None)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("listen", "tls", "complaint"),
    [
        ("tcp:127.0.0.1:8443", None, "needs a certificate"),
        ("unix:/tmp/x", _TLS, "takes no TLS files"),
        ("tcp:8443", _TLS, "expected unix:PATH or tcp:HOST:PORT"),
        ("tcp:host:99999", _TLS, "expected unix:PATH or tcp:HOST:PORT"),
        ("unix:", None, "expected unix:PATH or tcp:HOST:PORT"),
        ("", None, "expected unix:PATH or tcp:HOST:PORT"),
    ],
)
def test_other_forms_are_refused_with_a_reason(listen: str, tls: RunnerTls | None, complaint: str) -> None:
    """contract.md, Command line."""
    with pytest.raises(ListenInvalid, match=complaint):
        open_listener(listen, tls)


def test_a_taken_tcp_port_is_refused_with_a_reason() -> None:
    """contract.md, Command line."""
    listener = open_listener("tcp:127.0.0.1:0", _TLS)
    port = listener.getsockname()[1]
    with pytest.raises(ListenInvalid, match="cannot listen on"):
        open_listener(f"tcp:127.0.0.1:{port}", _TLS)
    close_listener(listener, f"tcp:127.0.0.1:{port}")
