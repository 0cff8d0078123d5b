"""Requests of the real Open WebUI, as `tests/clients/open_webui` recorded them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "clients" / "open_webui" / "recorded"


@dataclass(frozen=True)
class Recorded:
    """One request. Ids and addresses are scrubbed."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


def recorded(name: str) -> Recorded:
    """The request of that name."""
    return Recorded(**json.loads((FOLDER / f"{name}.json").read_text("utf-8")))


def names() -> list[str]:
    """The names of all of them."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))
