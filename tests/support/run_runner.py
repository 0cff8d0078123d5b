"""Runs a runner with options from the command line, as JSON: what the CLI does for operators, for tests."""

import json
import sys
from pathlib import Path
from typing import Any

from gateway_proxy.runner.listener import RunnerTls
from gateway_proxy.runner.main import run_runner


def main(options: dict[str, Any]) -> int:
    """Serve until told to stop."""
    tls = options.pop("tls", None)
    data_dir = options.pop("data_dir", None)
    return run_runner(
        **{"allow_commands": None, "log_level": "info", **options},
        data_dir=None if data_dir is None else Path(data_dir),
        tls=RunnerTls(**{name: Path(path) for name, path in tls.items()}) if tls else None,
    )


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
