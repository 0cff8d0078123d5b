"""Story: who may talk to a runner: the holder of its key, over its own socket or mutual TLS (relay.md 4)."""

import json
import os
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from tests.support.certificates import TestAuthority, make_authority
from tests.support.runner import KEY, ROOT, RunnerProcess, call_message, child_spec, host, new_key, running_runner


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """One runner for the module."""
    with running_runner(tmp_path_factory.mktemp("runner")) as runner:
        yield runner


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", f"bearer {KEY[:-1]}", KEY]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/children"),
        ("PUT", f"/children/{'0' * 64}"),
        ("POST", f"/children/{'0' * 64}/mcp"),
        ("DELETE", f"/children/{'0' * 64}"),
        ("GET", "/unknown"),
    ],
)
async def test_without_the_key_everything_is_401(
    runner: RunnerProcess, method: str, path: str, authorization: str | None
) -> None:
    """Seam: every request carries the runner's key."""
    async with runner.open_http() as http:
        del http.headers["authorization"]
        headers = {} if authorization is None else {"authorization": authorization}
        response = await http.request(method, path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"] == "unauthorized"


async def test_two_authorization_headers_are_refused(runner: RunnerProcess) -> None:
    """security.md RS1: exactly one Authorization."""
    async with runner.open_http() as http:
        response = await http.get(
            "/health", headers=[("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")]
        )
        assert response.status_code == 401


def test_the_socket_is_for_its_owner_only(runner: RunnerProcess) -> None:
    """relay.md 4: socket mode 0600."""
    assert stat.S_IMODE(os.stat(runner.socket).st_mode) == 0o600


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("PUT", "/children/ABC", 404),
        ("PUT", f"/children/{'0' * 63}g", 404),
        ("PUT", f"/children/{'0' * 64}/../x", 404),
        ("PATCH", f"/children/{'0' * 64}/mcp", 405),
        ("DELETE", f"/children/{'0' * 64}/mcp", 405),
        ("PUT", f"/children/{'0' * 64}", 400),
    ],
)
async def test_other_paths_and_methods_are_clean_refusals(
    runner: RunnerProcess, method: str, path: str, status: int
) -> None:
    """Bad input ends that request only."""
    async with runner.open_http() as http:
        assert (await http.request(method, path)).status_code == status


async def test_a_body_over_the_limit_is_413(runner: RunnerProcess) -> None:
    """security.md D1: 4 MiB after authentication."""
    async with runner.open_http() as http:
        hosted = await host(http, child_spec("counter"))
        response = await http.post(hosted.path, content=b"x" * (4 * 1024 * 1024 + 70_000), headers=hosted.session)
        assert response.status_code == 413
        assert (await http.put(f"/children/{new_key()}", content=b"x" * 1_100_000)).status_code == 413


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"listen": "tcp:127.0.0.1:0"}, "needs a certificate"),
        ({"listen": "nowhere"}, "expected unix:PATH or tcp:HOST:PORT"),
        ({"listen": "unix:/no/such/directory/s"}, "No such file or directory"),
        ({"listen": "unix:/tmp/" + "x" * 120}, "longer than 107 bytes"),
        ({"key": "short", "listen": "unix:/tmp/s"}, "at least 16 printable ASCII characters"),
    ],
)
def test_wrong_options_are_one_line_and_exit_status_2(options: dict[str, Any], complaint: str) -> None:
    """contract.md, Command line: errors as one line on stderr, 2 = wrong usage."""
    ended = _run({"key": KEY, **options})
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_tls_files_that_cannot_be_read_are_one_line_and_exit_status_2(tmp_path: Path) -> None:
    """contract.md, Command line."""
    missing = {name: str(tmp_path / name) for name in ("certificate", "private_key", "client_ca")}
    ended = _run({"key": KEY, "listen": "tcp:127.0.0.1:0", "tls": missing})
    assert (ended.returncode, ended.stderr) == (2, "cannot use the TLS files: No such file or directory\n")


@dataclass(frozen=True, slots=True)
class TlsRunner:
    """A runner on TCP with mutual TLS."""

    port: int
    authority: TestAuthority


@pytest.fixture(scope="module")
def tls_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRunner]:
    """One for the module."""
    directory = tmp_path_factory.mktemp("tls")
    authority = make_authority()
    files = _write_identity(authority, "localhost", directory)
    (directory / "ca.pem").write_bytes(authority.pem)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tls = {**files, "client_ca": str(directory / "ca.pem")}
    with _tcp_runner(port, tls, directory):
        yield TlsRunner(port, authority)


async def test_mutual_tls_admits_a_client_with_a_certificate(tls_runner: TlsRunner, tmp_path: Path) -> None:
    """relay.md 4: TCP with mutual TLS, across hosts."""
    identity = _write_identity(tls_runner.authority, "gateway", tmp_path)
    context = _client_context(tls_runner.authority)
    context.load_cert_chain(identity["certificate"], identity["private_key"])
    async with _tls_http(tls_runner, context) as http:
        hosted = await host(http, child_spec("worker"))
        answer = await hosted.call("work", token="t", text="over TLS", text_number=1, steps=2)
        assert (answer.text, len(answer.messages)) == ("over TLS", 3)
        async with hosted.streaming_call(call_message("wait", token="t")) as messages:
            await anext(messages)
        assert (await http.get("/health", headers={"authorization": "Bearer wrong"})).status_code == 401


@pytest.mark.parametrize("certificate", ["none", "of another authority"])
async def test_mutual_tls_refuses_everybody_else(tls_runner: TlsRunner, tmp_path: Path, certificate: str) -> None:
    """relay.md 4: the key alone opens nothing."""
    context = _client_context(tls_runner.authority)
    if certificate != "none":
        identity = _write_identity(make_authority(), "gateway", tmp_path)
        context.load_cert_chain(identity["certificate"], identity["private_key"])
    async with _tls_http(tls_runner, context) as http:
        with pytest.raises((httpx2.ReadError, httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.WriteError)):
            await http.get("/health")


def _client_context(authority: TestAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def _tls_http(runner: TlsRunner, context: ssl.SSLContext) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=f"https://localhost:{runner.port}",
        headers={"authorization": f"Bearer {KEY}"},
        verify=context,
        timeout=20,
    )


def _write_identity(authority: TestAuthority, host: str, directory: Path) -> dict[str, str]:
    """A certificate and its key as files, from the one PEM that the authority writes."""
    authority.server_context(host, directory)
    both = (directory / f"{host}.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(both)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == host
    key = serialization.load_pem_private_key(both[both.index(b"-----BEGIN PRIVATE") :], None)
    path = directory / f"{host}.key"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"certificate": str(directory / f"{host}.pem"), "private_key": str(path)}


@contextmanager
def _tcp_runner(port: int, tls: dict[str, str], directory: Path) -> Iterator[None]:
    options = {"listen": f"tcp:127.0.0.1:{port}", "key": KEY, "tls": tls}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(_command(options), cwd=ROOT, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        assert process.wait(15) == 0


def _run(options: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(_command(options), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)


def _command(options: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "tests.support.run_runner", json.dumps(options)]
