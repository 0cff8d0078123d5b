"""`serve --transport stdio`: the aggregate as one stdio server for a desktop client, driven by the official client."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

CONFIG = """
mcpServers:
  demo: {{command: {python}, args: ["-m", "gateway_proxy.demo"]}}
"""


def _server(folder: Path, config: str | None, *flags: str, **older_names: str) -> StdioServerParameters:
    arguments = ["-m", "gateway_proxy", "serve", "--transport", "stdio", *flags]
    if config is not None:
        path = folder / "gateway.yaml"
        path.write_text(config.format(python=sys.executable))
        arguments += ["--config", str(path)]
    environment: Mapping[str, str] = {"PATH": os.environ["PATH"], "GATEWAY_DATA_DIR": str(folder / "data")}
    return StdioServerParameters(command=sys.executable, args=arguments, env={**environment, **older_names})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_desktop_client_calls_tools_over_stdio(tmp_path: Path, mode: Literal["auto", "legacy"]) -> None:
    """compatibility B3; contract: stdio serves tenant `default` to the local operator, without tokens."""
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with Client(stdio_client(_server(tmp_path, CONFIG)), mode=mode) as client:
        assert {"demo__add", "demo__slow"} <= {tool.name for tool in (await client.list_tools()).tools}
        assert "5" in str((await client.call_tool("demo__add", {"a": 2, "b": 3})).content)
        arguments = {"seconds": 1, "steps": 4}
        assert not (await client.call_tool("demo__slow", arguments, progress_callback=on_progress)).is_error
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert len(seen) >= 3


def test_flags_and_older_names_act_over_stdio_as_over_http(tmp_path: Path) -> None:
    """compatibility B3: `--name` and `--log-level`; contract: the older names are aliases."""
    parameters = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    question = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}
    server = _server(tmp_path, CONFIG, "--name", "team-tools", LOG_LEVEL="error")
    done = subprocess.run(
        [server.command, *server.args],
        env=server.env,
        input=json.dumps(question).encode() + b"\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["result"]["serverInfo"]["name"] == "team-tools"
    assert done.stderr == b""


def test_messages_from_a_file_are_answered_into_a_file(tmp_path: Path) -> None:
    """The first thing that people try: the input has ended before the first server is up."""
    lines = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "demo__add", "arguments": {"a": 2, "b": 3}},
        },
        {"jsonrpc": "2.0", "id": 2, "method": "ping"},
    ]
    asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
    asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    server = _server(tmp_path, CONFIG)
    with asked.open("rb") as given, answered.open("wb") as taken:
        subprocess.run(
            [server.command, *server.args], env=server.env, stdin=given, stdout=taken, timeout=60, check=True
        )
    found = {message["id"]: message["result"] for message in map(json.loads, answered.read_text().splitlines())}
    assert found.keys() == {1, 2}
    assert found[1]["content"] == [{"type": "text", "text": "5"}]


def test_without_a_default_tenant_the_command_says_so(tmp_path: Path) -> None:
    """House rule: messages say what to do next; nothing but MCP messages on standard output."""
    server = _server(tmp_path, None)
    done = subprocess.run(
        [server.command, *server.args], env=server.env, input=b"", capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"error: there is no tenant `default`; apply a configuration that has one" in done.stderr


def test_a_first_look_over_stdio_prints_its_secrets_beside_the_messages(tmp_path: Path) -> None:
    """Contract, two commands: they are printed once, and standard output is the client's."""
    server = _server(tmp_path, None)
    done = subprocess.run(
        [server.command, *server.args, "--bootstrap"],
        env=server.env,
        input=b"",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"one-time password: " in done.stderr
    assert b"gw_pat_" in done.stderr
