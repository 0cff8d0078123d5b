"""`backup` and `restore` as they are typed: from the first look to production, and what goes wrong."""

import asyncio
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.commands import CommandLine
from tests.support.gateway import running_gateway
from tests.support.mcp_wire import Wire, text_of

CONFIG = """
tenants:
  acme:
    mcpServers:
      calc: {command: python, args: [-m, calc], env: {KEY: value-s3cret}}
"""


def other(line: CommandLine, url: str) -> CommandLine:
    """The same operator at another database."""
    return CommandLine(line.folder, url, dict(line.extra))


def test_a_backup_is_a_private_file_that_restores_into_the_other_database(
    sqlite_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    """Contract: `backup` / `restore`; mode 0600; credentials stay sealed and open with the same key."""
    line = CommandLine(tmp_path, sqlite_url)
    line.must("apply", line.write("gateway.yaml", CONFIG))
    exported = line.must("export")

    written = line.run("backup", "gateway.backup")
    there = other(line, empty_postgres_url)
    restored = there.run("restore", "gateway.backup")
    again = there.run("restore", "gateway.backup")
    replaced = there.run("restore", "--replace", "gateway.backup")

    file = tmp_path / "gateway.backup"
    assert (written.status, written.out) == (0, "")
    assert "Its credentials open with the secret keys " in written.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob(".gateway*")] == []
    assert (restored.status, restored.out) == (0, "")
    assert "tables are restored, as they were at " in restored.err
    assert "notice" not in restored.err
    assert (again.status, again.err) == (
        1,
        "error: the database has rows already; --replace removes them before it restores\n",
    )
    assert replaced.status == 0
    assert there.must("export") == exported


def test_a_key_that_is_missing_is_named_at_the_restore(
    sqlite_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    """Issue: the keys are elsewhere; the file names the key ids needed."""
    line = CommandLine(tmp_path, sqlite_url)
    line.must("apply", line.write("gateway.yaml", CONFIG))
    key_id = line.run("backup", "gateway.backup").err.split("secret keys ")[1][:16]
    there = other(line, empty_postgres_url)
    there.extra["GATEWAY_SECRET_KEYS"] = "another-key-for-tests-that-is-long-0002"

    restored = there.run("restore", "gateway.backup")

    assert restored.status == 0
    assert f"notice: credentials of it open with the secret key {key_id}, not in GATEWAY_SECRET_KEYS" in restored.err


def test_what_cannot_be_read_or_written_is_one_line(sqlite_url: str, tmp_path: Path) -> None:
    """Contract: exit status 1, errors as one line; a backup that fails leaves the one before."""
    line = CommandLine(tmp_path, sqlite_url)
    line.write("no.backup", "something else")
    before = line.write("gateway.backup", "the one before")

    nowhere = line.run("backup", "no/such/folder/gateway.backup")
    missing = line.run("restore", "missing.backup")
    foreign = line.run("restore", "no.backup")
    empty = CommandLine(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/new.db").run("backup", before)

    assert (nowhere.status, nowhere.err) == (
        1,
        "error: no/such/folder/gateway.backup: No such file or directory\n",
    )
    assert (missing.status, missing.err) == (1, "error: missing.backup: No such file or directory\n")
    assert (foreign.status, foreign.err) == (
        1,
        "error: the backup cannot be restored: it is damaged, or not a backup of the gateway\n",
    )
    assert (empty.status, empty.err) == (
        1,
        "error: the database has no schema yet; run `gateway-proxy migrate` first\n",
    )
    assert (tmp_path / "gateway.backup").read_text() == "the one before"


def test_a_backup_goes_through_a_pipe_and_a_cut_pipe_restores_nothing(
    sqlite_url: str, empty_postgres_url: str, tmp_path: Path
) -> None:
    """Issue: `-` for standard output and input; docs/setup: the nightly backup."""
    line = CommandLine(tmp_path, sqlite_url)
    line.must("apply", line.write("gateway.yaml", CONFIG))
    there = other(line, empty_postgres_url)

    def run(place: CommandLine, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "gateway_proxy", *arguments]
        return subprocess.run(
            command, env=place.environment, cwd=tmp_path, input=given, capture_output=True, timeout=90, check=False
        )

    written = run(line, "backup", "-")
    cut = run(there, "restore", "-", given=written.stdout[: len(written.stdout) // 2])
    whole = run(there, "restore", "-", given=written.stdout)

    assert written.returncode == 0
    assert (cut.returncode, cut.stderr) == (
        1,
        b"error: the backup cannot be restored: it was cut off: its last lines are missing\n",
    )
    assert whole.returncode == 0
    assert there.must("export") == line.must("export")


async def test_a_first_look_moves_to_postgresql_with_its_people_and_tokens(
    empty_postgres_url: str, tmp_path: Path
) -> None:
    """Issue: the upgrade path from first look to production; what was revoked stays revoked (F15)."""
    async with bootstrapped_gateway() as first:
        owner = ("--user", first.email, "--tenant", "default")
        data = Path(first.process.environment["GATEWAY_DATA_DIR"])
        place = CommandLine(tmp_path, f"sqlite+aiosqlite:///{data}/gateway.db")
        place.extra["GATEWAY_SECRET_KEYS"] = (data / "secret.key").read_text().strip()
        create = ("token", "create", *owner, "--scope", "mcp", "--name", "lost")
        revoked = (await asyncio.to_thread(place.must, *create)).strip()
        listed = await asyncio.to_thread(place.must, "token", "list", "--tenant", "default")
        lost = next(row.split()[0] for row in listed.splitlines() if " lost " in row)
        await asyncio.to_thread(place.must, "token", "revoke", lost, "--tenant", "default")
        await asyncio.to_thread(place.must, "backup", "gateway.backup")
        token = first.token
    there = CommandLine(tmp_path, empty_postgres_url, dict(place.extra))
    await asyncio.to_thread(there.must, "restore", "gateway.backup")

    settings = {name: there.environment[name] for name in ("GATEWAY_DATABASE_URL", "GATEWAY_SECRET_KEYS")}
    async with running_gateway(environment=settings) as gateway, httpx2.AsyncClient(timeout=60) as http:
        http.headers["Authorization"] = f"Bearer {token}"
        assert text_of(await Wire(http, f"{gateway.url}/mcp").call("demo__add", {"a": 2, "b": 3})) == "5"
        http.headers["Authorization"] = f"Bearer {revoked}"
        refused = await http.post(f"{gateway.url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert refused.status_code == 401


@pytest.mark.parametrize("arguments", [("backup",), ("restore",), ("restore", "--hurry", "x")])
def test_wrong_usage_is_status_2(sqlite_url: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Contract: exit status 2 = wrong usage."""
    assert CommandLine(tmp_path, sqlite_url).run(*arguments).status == 2
