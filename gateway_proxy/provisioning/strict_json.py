"""JSON in which nothing is said twice, for files and for definitions made at run time. No YAML: a worker reads none."""

import json
from typing import Any

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.problems import quotable


def parse_json(text: str) -> Any:
    """JSON, with duplicate keys and NaN refused.

    Raises:
        ConfigFileInvalid: Not well-formed, or a key stands twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ConfigFileInvalid((f"line {error.lineno}, column {error.colno}: {error.msg}",)) from None
    except ValueError as error:
        raise ConfigFileInvalid((str(error),)) from None
    except RecursionError:
        raise ConfigFileInvalid(("nested too deeply",)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise ValueError(f'the key "{quotable(key)}" stands twice in one object')
        mapping[key] = value
    return mapping


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON; expected a number")
