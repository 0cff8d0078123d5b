"""Kinds of option values: durations, scopes, addresses, passwords from standard input. No command stands here."""

import sys
from datetime import timedelta
from typing import Any, Final

import click

from gateway_proxy.domain.principal import Scope

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST_TTL: Final = timedelta(days=366)
_LONGEST_PASSWORD_LINE: Final = 4096
TOKEN_SCOPES: Final = (Scope.MCP, Scope.OPENAI, Scope.ADMIN)


class Duration(click.ParamType[timedelta]):
    """`90d`, `12h`, `30m` or `3600s`; from a minute to 366 days."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration, or a usage error that says how one is written."""
        if isinstance(value, timedelta):
            return value
        number, unit = value[:-1], _UNITS.get(value[-1:])
        if unit is None or not number.isascii() or not number.isdigit() or len(number) > 9:
            self.fail("expected a whole number with s, m, h or d, such as 90d", param, ctx)
        duration = timedelta(seconds=int(number) * unit) if int(number) * unit < 10**9 else timedelta.max
        if not timedelta(minutes=1) <= duration <= _LONGEST_TTL:
            self.fail("expected from 1m to 366d", param, ctx)
        return duration


class ScopeList(click.ParamType[tuple[Scope, ...]]):
    """Scopes of a personal token, separated by spaces."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Scope, ...]:
        """The scopes in their usual order, or a usage error that names the unknown one."""
        if isinstance(value, tuple):
            return value
        words = value.split()
        for word in words:
            if word not in TOKEN_SCOPES:
                self.fail(f'unknown scope "{word}"; expected some of {" ".join(TOKEN_SCOPES)}', param, ctx)
        if not words:
            self.fail(f"expected some of {' '.join(TOKEN_SCOPES)}", param, ctx)
        return tuple(scope for scope in TOKEN_SCOPES if scope in words)


class Email(click.ParamType[str]):
    """An e-mail address, in lower case."""

    name = "email"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The address, or a usage error."""
        name, at, host = value.strip().rpartition("@")
        if (
            not (name and at and host)
            or "@" in name
            or " " in value.strip()
            or not value.isprintable()
            or len(value) > 254
        ):
            self.fail("expected an e-mail address such as ann@example.com", param, ctx)
        return str(value.strip().lower())


def read_password() -> str:
    """The first line of standard input, without its end.

    Raises:
        click.UsageError: There is none.
    """
    try:
        line = sys.stdin.readline(_LONGEST_PASSWORD_LINE)
    except UnicodeDecodeError:
        raise click.UsageError("--password-stdin: expected UTF-8 text on standard input") from None
    password = line.removesuffix("\n").removesuffix("\r")
    if not password:
        raise click.UsageError("--password-stdin: expected a password on the first line of standard input")
    return password
