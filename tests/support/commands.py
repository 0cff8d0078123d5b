"""The real `gateway-proxy` command, with an environment that holds nothing else of ours.

`run` enters the command line in this process, which saves the start of an interpreter; `run_process` starts one.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from gateway_proxy.cli import main


@dataclass
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclass
class CommandLine:
    """Runs commands on one database, from one folder."""

    folder: Path
    database_url: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the commands see."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "GATEWAY_DATA_DIR": str(self.folder / "data"),
            "GATEWAY_DATABASE_URL": self.database_url,
            "GATEWAY_SECRET_KEYS": "a-key-for-tests-that-is-long-enough-0001",
            **self.extra,
        }

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """Run one command to its end. Not from inside an event loop."""
        unset = dict.fromkeys(name for name in os.environ if name not in self.environment)
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, arguments, input=stdin, env=unset | self.environment)
        assert "Traceback" not in result.stderr, result.stderr
        assert isinstance(result.exit_code, int)
        return Done(result.exit_code, result.stdout, result.stderr)

    def run_process(self, *arguments: str, stdin: str = "") -> Done:
        """Run one command to its end, as a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway_proxy", *arguments],
            env=self.environment,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that keeps running; it gets a SIGTERM at the end."""
        with (self.folder / "command.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway_proxy", *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def must(self, *arguments: str, stdin: str = "") -> str:
        """Run one command that has to succeed; its standard output."""
        done = self.run(*arguments, stdin=stdin)
        assert done.status == 0, done.err
        return done.out

    def write(self, name: str, text: str) -> str:
        """A file in the folder; its name."""
        (self.folder / name).write_text(text, "utf-8")
        return name
