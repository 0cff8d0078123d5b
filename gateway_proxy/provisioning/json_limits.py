"""Whether a value that is kept and sent on as JSON is one, and of a size that people write. Knows no key of ours."""

import json
import math
from typing import Any, Final

MOST_BYTES: Final = 64 * 1024
DEEPEST: Final = 32


def json_fault(value: Any) -> str | None:
    """What is wrong with a value of a configuration that goes into JSON as it is, or None."""
    left: list[tuple[Any, int]] = [(value, 1)]
    while left:
        each, depth = left.pop()
        if depth > DEEPEST:
            return f"expected at most {DEEPEST} levels"
        if isinstance(each, dict):
            left += [(part, depth + 1) for entry in each.items() for part in entry]
        elif isinstance(each, list):
            left += [(entry, depth + 1) for entry in each]
        elif isinstance(each, int | float):
            if not _is_usual(each):
                return "expected finite numbers of at most 64 bits"
        elif each is not None and not isinstance(each, str):
            return "expected values that JSON has"
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return f"expected at most {MOST_BYTES // 1024} KiB of JSON" if size > MOST_BYTES else None


def _is_usual(number: float) -> bool:
    return math.isfinite(number) if isinstance(number, float) else -(2**63) <= number < 2**64
