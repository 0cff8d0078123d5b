"""Text of a configuration file → plain mappings, lists and scalars. Nothing about what the keys mean stands here."""

from pathlib import Path
from typing import Any, Final

import yaml
from yaml.constructor import ConstructorError

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.problems import quotable
from gateway_proxy.provisioning.strict_json import parse_json

MAXIMUM_BYTES: Final = 1024 * 1024


class _Loader(yaml.SafeLoader):
    """The safe loader, with duplicate keys refused and dates left as the text that stands there."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (the attribute of the loader we derive from)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Checked here, before `<<` is resolved: what it merges in may be overridden, what stands here may not."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise ConstructorError(None, None, f'the key "{quotable(key.value)}" stands here twice', key.start_mark)
            seen.add(key.value)
        return node


def load_document(path: Path) -> Any:
    """Read a YAML or JSON file.

    Raises:
        ConfigFileInvalid: Not readable, too large, not UTF-8, or not well-formed; names line and column.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigFileInvalid((f"cannot be read: {error.strerror or 'input/output error'}",)) from None
    if len(content) > MAXIMUM_BYTES:
        raise ConfigFileInvalid((f"expected at most {MAXIMUM_BYTES // 1024} KiB",))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigFileInvalid((f"expected UTF-8 text; byte {error.start} is not",)) from None
    return parse_json(text) if path.suffix.lower() == ".json" else parse_yaml(text)


def parse_yaml(text: str) -> Any:
    """YAML 1.1 (of which JSON is nearly a part), one document.

    Raises:
        ConfigFileInvalid: Not well-formed, or a key stands twice.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (derived from SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigFileInvalid((f"{where}{error.problem or 'not well-formed YAML'}",)) from None
    except (yaml.YAMLError, ValueError):
        raise ConfigFileInvalid(("not well-formed YAML, or it holds control characters",)) from None
    except RecursionError:
        raise ConfigFileInvalid(("nested too deeply",)) from None
