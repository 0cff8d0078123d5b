"""What a child wrote, as administrators may read it."""

import pytest

from gateway_proxy.admin_api.last_words import clean_lines
from tests.support.relay_rooms import stdio_backend

KEY = 'sk-live-0123"456789/abc+def'
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
BACKEND = stdio_backend(
    env={"KEY": KEY, "PEM": PEM, "SHORT": "ab", "LEVEL": "debug"},
    headers={"Authorization": "Bearer 0123456789abcdef"},
    args=("--token", "argument-secret"),
    url="https://host.example/path?key=url-secret",
)


def _clean(*lines: str, with_arguments: bool = True) -> list[str]:
    return clean_lines(lines, BACKEND, with_arguments=with_arguments)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"KeyError: {KEY}!", "KeyError: [redacted]!"),
        (f"{KEY}{KEY}", "[redacted][redacted]"),
        ("GET /x?key=sk-live-0123%22456789%2Fabc%2Bdef 401", "GET /x?key=[redacted] 401"),
        ('{"key": "sk-live-0123\\"456789/abc+def"}', '{"key": "[redacted]"}'),
        ("cut: sk-live-0123", "cut: [redacted]"),
        ("MIIEvQIBADANBgkq", "[redacted]"),
        ("  at hkiG9w0BAQEFAASC here", "at [redacted] here"),
        ("authorization: Bearer 0123456789abcdef", "authorization: [redacted]"),
        ("token 0123456789abcdef refused", "token [redacted] refused"),
        ("abnormal", "abnormal"),
        ("gw_pat_0123456789abcdefghij", "[redacted]"),
        ("\x1b[31mError:\x1b[0m no \x1b]0;title\x07such file", "Error: no such file"),
        ("s\x1b[1mk-live-0123\"456789/abc+def", "[redacted]"),
        ("a\x00b\x07c\u202egnp\u2028d\x9be", "a b c gnp d e"),
        ("x" * 600, "x" * 500 + "…"),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
)  # fmt: skip
def test_a_line_is_readable_and_holds_no_secret(line: str, shown: str) -> None:
    """K3: credentials are write-only, whatever spells them out; A2: no control character leaves."""
    assert _clean(line) == [shown]


def test_lines_without_content_are_left_out() -> None:
    """Blank lines are not worth one of the few."""
    assert _clean("", " \t ", "\x1b[0m", "end") == ["end"]


def test_arguments_and_the_url_are_for_whoever_answers_for_the_definition() -> None:
    """As in /admin/mcp: paths and arguments can hold keys as well."""
    line = "started with argument-secret at https://host.example/path?key=url-secret"
    assert _clean(line) == [line]
    assert _clean(line, with_arguments=False) == ["started with [redacted] at [redacted]"]


def test_a_huge_environment_costs_no_time() -> None:
    """A definition may hold 128 KiB."""
    backend = stdio_backend(env={"A": "x" * 120_000, "B": " ".join(f"word{number:05}" for number in range(1000))})
    assert clean_lines(["x" * 2000] * 20, backend, with_arguments=True) == ["[redacted]"] * 20
