"""The VPS guide works as it is written: its commands, its configuration file, its settings, its containers."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commands import CommandLine
from tests.support.mcp_backends import serve

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "setup" / "vps.md").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
INSIDE = re.compile(r"docker compose (?:exec(?: -T)? gateway gateway-proxy|run --rm -T gateway) ([^\n&]+)")


def services() -> dict[str, Any]:
    """The services of the compose file."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"]
    return found


def test_every_command_of_the_guide_works_as_written_and_in_that_order(empty_postgres_url: str, tmp_path: Path) -> None:
    """Issue: documented commands must work as written; the first administrator and the backups are among them."""
    line = CommandLine(tmp_path, empty_postgres_url)
    line.must("migrate")
    line.must("apply", line.write("gateway.yaml", (ROOT / "config" / "gateway.example.yaml").read_text()))
    backup, ran = b"", []
    for written in INSIDE.findall(GUIDE):
        words = shlex.split(re.sub(r"\s*[<>].*|\s+#.*", "", written))
        words = ["gateway.yaml" if word == "/etc/gateway/gateway.yaml" else word for word in words]
        done = subprocess.run(
            [sys.executable, "-m", "gateway_proxy", *words],
            env=line.environment,
            cwd=tmp_path,
            input=backup,
            capture_output=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, (words, done.stderr)
        backup = done.stdout if words[0] == "backup" else backup
        ran.append(words[0])
    people = line.must("token", "list", "--tenant", "team")

    assert ran == ["user", "token", "apply", "apply", "backup", "restore", "backup", "keys"]
    assert "you@example.com" in people


def test_the_administrator_survives_the_next_start(empty_postgres_url: str, tmp_path: Path) -> None:
    """The file does not list people, so applying it at each start removes none."""
    line = CommandLine(tmp_path, empty_postgres_url)
    line.must("migrate")
    file = line.write("gateway.yaml", (ROOT / "config" / "gateway.example.yaml").read_text())
    line.must("apply", file)
    line.must("user", "add", "you@example.com", "--tenant", "team", "--role", "owner")

    assert line.must("apply", file) == "No changes.\n"
    assert "you@example.com" in line.must("export")


def test_every_variable_of_the_compose_file_is_in_the_example_and_the_guide_sets_what_is_required() -> None:
    """Issue: `.env.example`."""
    named = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))
    required = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE))
    example = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    made = set(re.findall(r"^([A-Z_]+)=", GUIDE, re.MULTILINE))

    assert named == example
    assert required <= made <= example


@pytest.mark.parametrize("service", list(yaml.safe_load(COMPOSE)["services"]))
def test_every_container_has_limits_and_no_privileges_to_gain(service: str) -> None:
    """Issue: restart, cap_drop, no-new-privileges, memory limits, health checks, bounded logs."""
    definition = services()[service]

    assert definition["restart"] == "unless-stopped"
    assert definition["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in definition["security_opt"]
    assert definition["mem_limit"]
    assert definition["logging"]["options"]["max-size"]
    assert definition.get("read_only") is True or service == "postgres"
    assert "healthcheck" in definition or service in ("gateway", "runner")  # theirs stand in the Dockerfile


def test_the_configuration_is_mounted_as_a_folder_that_must_exist() -> None:
    """A mounted file stays the old one when an editor replaces it, and a missing one becomes a directory."""
    mounts = [each for each in services()["gateway"]["volumes"] if isinstance(each, dict)]

    assert [(each["source"], each["bind"]["create_host_path"]) for each in mounts] == [("./config", False)]
    assert (ROOT / "config" / "gateway.example.yaml").exists()


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "PORT"])
async def test_the_image_s_health_check_asks_at_the_port_that_was_chosen(name: str) -> None:
    """Compatibility D16; contract: `PORT` is an alias, also in the image, which therefore sets no port itself."""
    image = (ROOT / "Dockerfile").read_text()
    command = json.loads(re.findall(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", image, re.MULTILINE)[0])
    statuses = [200, 503]

    async def ready(scope: Any, receive: Any, send: Any) -> None:
        assert scope["path"] == "/ready"
        await send({"type": "http.response.start", "status": statuses.pop(0), "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ended = []
    async with serve(ready) as url:
        environment = {"PATH": os.environ["PATH"], name: url.rpartition(":")[2]}
        for _ in range(2):
            check = await asyncio.create_subprocess_exec(
                sys.executable, *command[1:], env=environment, stderr=asyncio.subprocess.DEVNULL
            )
            ended.append(await check.wait())
    assert ended == [0, 1]
    assert "GATEWAY_PORT=" not in image
