"""The commands of an operator, run as they are typed, on SQLite and on PostgreSQL."""

import asyncio
import re
from pathlib import Path

import pytest

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.domain.tenant import Role
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.storage.sql.principals import TokenGrounds, find_token_grounds
from gateway_proxy.storage.sql.users import find_password_hash
from tests.support.commands import CommandLine

CONFIG = """
tenants:
  acme:
    mcpServers:
      calc: {command: python, args: [-m, calc], env: {KEY: "${CALC_KEY:-s3cret}"}}
users:
  - {email: ann@x.example, password: "correct horse battery", tenants: {acme: member}}
"""


@pytest.fixture
def line(database_url: str, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, database_url)


def test_a_database_is_migrated_once(empty_database_url: str, tmp_path: Path) -> None:
    """Contract: `migrate`; other commands say that it is missing."""
    line = CommandLine(tmp_path, empty_database_url)

    before = line.run("export")
    first = line.must("migrate")
    second = line.must("migrate")

    assert (before.status, before.out) == (1, "")
    assert before.err == "error: the database has no schema yet; run `gateway-proxy migrate` first\n"
    assert first.startswith("The database went from schema none to ")
    assert second.endswith("already.\n")


def test_a_file_is_applied_exported_and_applied_again(line: CommandLine) -> None:
    """Contract: `apply FILE [--dry-run]`, `export`."""
    file = line.write("gateway.yaml", CONFIG)

    dry = line.must("apply", file, "--dry-run")
    first = line.must("apply", file)
    second = line.must("apply", file)
    exported = line.must("export")
    line.extra["ACME_CALC_ENV_KEY"] = "s3cret"
    again = line.must("apply", line.write("exported.yaml", exported))
    line.extra["ACME_CALC_ENV_KEY"] = "another s3cret"
    changed = line.must("apply", "exported.yaml")

    expected = "+ tenant acme\n+ backend acme/calc\n+ user ann@x.example: password set\n"
    assert first == expected + "+ membership acme/ann@x.example: role member\n4 added, 0 changed, 0 removed.\n"
    assert dry == first.rstrip("\n") + " Nothing was written (dry run).\n"
    assert second == "No changes.\n"
    assert again == "No changes.\n"
    assert changed == "~ backend acme/calc: env.KEY changed\n0 added, 1 changed, 0 removed.\n"
    assert "s3cret" not in exported
    assert "password" not in exported


def test_a_wrong_file_names_everything_and_changes_nothing(line: CommandLine) -> None:
    """Contract, errors: exit status 1, one line per problem."""
    file = line.write("bad.yaml", "tenants: {acme: {nam: x, mcpServers: {a_b: {command: x}}}}\nuser: []\n")

    done = line.run("apply", file)

    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        'error: bad.yaml: tenants.acme.nam: unknown key (did you mean "name"?)',
        "error: bad.yaml: tenants.acme.mcpServers.a_b: expected text matching regex '^[A-Za-z0-9][A-Za-z0-9-]{0,30}$'",
        'error: bad.yaml: user: unknown key (did you mean "users"?)',
    ]
    assert line.must("export") == "tenants: {}\n"


def test_what_a_file_holds_for_other_programs_is_named_in_one_notice(line: CommandLine) -> None:
    """Contract: the file of a desktop client is read as it is."""
    file = line.write("claude.json", '{"globalShortcut": "", "mcpServers": {"calc": {"command": "x", "args": null}}}')

    done = line.run("apply", file)

    assert (done.status, done.out) == (0, "+ tenant default\n+ backend default/calc\n2 added, 0 changed, 0 removed.\n")
    assert done.err == "notice: claude.json: passed over, they are for another program: globalShortcut\n"


def test_people_are_added_with_a_password_that_is_shown_once(line: CommandLine, database_url: str) -> None:
    """Contract: `user add EMAIL --tenant T --role R [--password-stdin]`."""
    line.must("apply", line.write("gateway.yaml", CONFIG))
    owner = ("--tenant", "acme", "--role", "owner")

    made = line.run("user", "add", "Bob@x.example", "--tenant", "acme", "--role", "admin")
    promoted = line.run("user", "add", "ann@x.example", *owner)
    given = line.run("user", "add", "ann@x.example", *owner, "--password-stdin", stdin="new password\n")
    short = line.run("user", "add", "c@x.example", *owner, "--password-stdin", stdin="x\n")
    nobody = line.run("user", "add", "c@x.example", *owner, "--password-stdin")
    nowhere = line.run("user", "add", "c@x.example", "--tenant", "nope", "--role", "owner")

    assert re.fullmatch(r"[A-Za-z0-9_-]{20}\n", made.out)
    assert "bob@x.example is now a user, and admin of acme." in made.err
    assert (promoted.out, given.out) == ("", "")
    assert "is now owner of acme" in promoted.err
    assert "stays as it is" in promoted.err
    assert "The password is set." in given.err
    assert (short.status, short.err) == (1, "error: expected a password of 8 to 1024 bytes\n")
    assert (nobody.status, nobody.out) == (2, "")
    assert (nowhere.status, nowhere.err) == (1, 'error: no tenant "nope"\n')
    assert asyncio.run(_is_password(database_url, "bob@x.example", made.out.strip()))
    assert asyncio.run(_is_password(database_url, "ann@x.example", "new password"))
    assert not asyncio.run(_is_password(database_url, "c@x.example", "x"))


async def _is_password(database_url: str, email: str, password: str) -> bool:
    database = Database(database_url)
    try:
        found = await database.read(find_password_hash, email=email)
        return found is not None and await PasswordHasher().verify(found[1], password)
    finally:
        await database.close()


def test_tokens_are_created_listed_and_revoked(line: CommandLine, database_url: str) -> None:
    """Contract: `token create` prints the token and nothing else on standard output; `token list|revoke`."""
    line.must("apply", line.write("gateway.yaml", CONFIG))
    who = ("--user", "ann@x.example", "--tenant", "acme")

    created = line.run("token", "create", *who, "--scope", "openai mcp", "--ttl", "12h", "--name", "ui")
    too_much = line.run("token", "create", *who, "--scope", "mcp admin")
    stranger = line.run("token", "create", "--user", "bob@x.example", "--tenant", "acme", "--scope", "mcp")
    listed = line.must("token", "list", "--tenant", "acme")
    secret = created.out.strip()
    row = listed.splitlines()[1].split()

    assert re.fullmatch(r"gw_pat_[A-Za-z0-9_-]{43}\n", created.out)
    assert created.err == ""
    assert (too_much.status, too_much.out) == (1, "")
    assert too_much.err == "error: ann@x.example is member of acme, which does not allow admin\n"
    assert (stranger.status, stranger.err) == (1, 'error: no user "bob@x.example"\n')
    assert secret not in listed
    assert row[1:5] == ["ann@x.example", "ui", "mcp", "openai"]
    assert row[-1] == "active"
    grounds = asyncio.run(_grounds(database_url, secret))
    assert grounds is not None
    assert (grounds.role, grounds.tenant.slug, grounds.scope) == (Role.MEMBER, "acme", "mcp openai")

    line.must("token", "revoke", row[0], "--tenant", "acme")
    again = line.run("token", "revoke", row[0], "--tenant", "acme")

    assert asyncio.run(_grounds(database_url, secret)) is None
    assert (again.status, again.err) == (1, f'error: no token "{row[0]}"\n')
    assert line.must("token", "list", *who).splitlines()[1].split()[-1] == "revoked"


async def _grounds(database_url: str, secret: str) -> TokenGrounds | None:
    database = Database(database_url)
    try:
        return await database.read(find_token_grounds, digest=digest_of(secret), now=SystemClock().now())
    finally:
        await database.close()


def test_the_installed_command_behaves_as_a_process(sqlite_url: str, tmp_path: Path) -> None:
    """Contract: exit status, standard output and standard error of `python -m gateway_proxy`."""
    line = CommandLine(tmp_path, sqlite_url)
    line.must("apply", line.write("gateway.yaml", CONFIG))

    created = line.run_process(
        "token", "create", "--user", "ann@x.example", "--tenant", "acme", "--scope", "mcp", "--ttl", "1h"
    )
    refused = line.run_process("apply", line.write("bad.yaml", "tenants: 7"))
    misused = line.run_process("apply")

    assert (created.status, created.err) == (0, "")
    assert re.fullmatch(r"gw_pat_[A-Za-z0-9_-]{43}\n", created.out)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err == "error: bad.yaml: tenants: expected a mapping, got a number\n"
    assert (misused.status, misused.err.count("\n")) == (2, 1)


def test_a_database_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Contract, errors; the URL is not repeated: it holds a password."""
    line = CommandLine(tmp_path, "postgresql+asyncpg://me:hunter2@127.0.0.1:1/x")

    done = line.run("token", "list", "--tenant", "acme")

    assert done.status == 1
    assert done.err.startswith("error: the database cannot be reached")
    assert "hunter2" not in done.err


def test_missing_settings_are_all_named(tmp_path: Path) -> None:
    """House rule: start fails naming all wrong values at once."""
    line = CommandLine(tmp_path, "mysql://x", {"GATEWAY_PORT": "http", "GATEWAY_SECRET_KEYS": "short"})

    done = line.run("migrate")

    assert done.status == 1
    assert [text.split(":")[1].strip() for text in done.err.splitlines()] == [
        "GATEWAY_DATABASE_URL",
        "GATEWAY_SECRET_KEYS",
        "GATEWAY_PORT",
    ]
