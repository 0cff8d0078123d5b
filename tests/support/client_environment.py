"""Virtual environments for client libraries that cannot live beside ours: one for each hash-locked file, kept."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CLIENTS = Path(__file__).parents[1] / "clients"


def client_python(name: str) -> Path:
    """The interpreter of an environment with `tests/clients/<name>/requirements.lock`; made on first use."""
    lock = CLIENTS / name / "requirements.lock"
    stamp = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"gateway-tests-{os.getuid()}-{name}-{stamp}"
    target.mkdir(mode=0o700, exist_ok=True)
    python = target / "bin" / "python"
    with (target / ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (target / ".complete").exists():
            subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            done = subprocess.run(
                [*install, "--require-hashes", "-r", str(lock)], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"installing {lock} failed: {done.stderr[-2000:]}"
            (target / ".complete").touch()
    return python
