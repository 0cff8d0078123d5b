"""Text to plain values: what is refused before any key is looked at."""

from pathlib import Path

import pytest

from gateway_proxy.domain.errors import ConfigFileInvalid
from gateway_proxy.provisioning.document import MAXIMUM_BYTES, load_document, parse_yaml
from gateway_proxy.provisioning.strict_json import parse_json


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    """YAML would silently keep the last one."""
    with pytest.raises(ConfigFileInvalid, match='line 3, column 3: the key "b" stands here twice'):
        parse_yaml("a:\n  b: 1\n  b: 2\n")


def test_anchors_and_merges_work_and_may_be_overridden() -> None:
    """Plan of the configuration file: anchors are fine."""
    assert parse_yaml("x: &x {k: 1, l: 2}\ny: {<<: *x, k: 3}\nz: *x\n") == {
        "x": {"k": 1, "l": 2},
        "y": {"k": 3, "l": 2},
        "z": {"k": 1, "l": 2},
    }


def test_dates_stay_text() -> None:
    """A protocol version is not a calendar day."""
    assert parse_yaml("v: 2025-11-25") == {"v": "2025-11-25"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1, 2", "line 1, column 9"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: \x00", "not well-formed YAML"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_yaml_that_is_not_well_formed_is_refused(text: str, fault: str) -> None:
    """Contract, errors: where and what, never a traceback."""
    with pytest.raises(ConfigFileInvalid, match=fault):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"a": 1, "a": 2}', 'the key "a" stands twice'),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": }', "line 1, column 7"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_json_that_is_not_well_formed_is_refused(text: str, fault: str) -> None:
    """Security D1: no NaN, no bottomless nesting."""
    with pytest.raises(ConfigFileInvalid, match=fault):
        parse_json(text)


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Contract, errors."""
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAXIMUM_BYTES + 1))
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe")

    with pytest.raises(ConfigFileInvalid, match="cannot be read: No such file or directory"):
        load_document(tmp_path / "missing.yaml")
    with pytest.raises(ConfigFileInvalid, match="expected at most 1024 KiB"):
        load_document(large)
    with pytest.raises(ConfigFileInvalid, match="expected UTF-8 text; byte 3 is not"):
        load_document(binary)
