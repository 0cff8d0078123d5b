"""`gateway-proxy doctor`: go the way of Claude.ai to an MCP server, and say where it would fail."""

import asyncio
import json
import ssl
import sys
from dataclasses import asdict
from pathlib import Path

import click

from gateway_proxy.doctor.address import read_place
from gateway_proxy.doctor.examination import examine
from gateway_proxy.doctor.findings import Finding, Findings
from gateway_proxy.domain.clock import SystemClock

_LONGEST_TOKEN = 4096


@click.command()
@click.argument("url", metavar="URL")
@click.option("--token", metavar="TOKEN", default="", help="Also list the tools with it; `-`: from standard input.")
@click.option(
    "--as", "who", type=click.Choice(["claude"]), default="claude", show_default=True, help="Whose way to go."
)
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Also trust this authority (PEM).")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(url: str, token: str, who: str, ca: Path | None, as_json: bool) -> int:
    """Go Claude.ai's way to the MCP server at URL, from here, and say at which step it would fail.

    Address and certificate, the refusal without a token, metadata, registration, sign-in page, token endpoint; with
    --token the tools too. One line per step: ok, warn, FAIL or skip, what was seen, what was expected, what to do. Exit
    status 1 when a step is FAIL. Works with any MCP server. Run it from outside your network, as Claude.ai is.

    It registers a client named "gateway-proxy doctor", which expires by itself on this gateway.

    \b
    Examples:
      gateway-proxy doctor https://tools.example.com/mcp
      gateway-proxy doctor https://tools.example.com/mcp --token - < token.txt
      gateway-proxy doctor https://tools.example.com/mcp --json
    """
    if token == "-":  # noqa: S105 - the usual sign for standard input
        token = sys.stdin.readline(_LONGEST_TOKEN).strip()
    if not token.isascii() or not token.isprintable():
        raise click.UsageError("--token: expected visible ASCII characters")
    try:
        place = read_place(url)
    except ValueError:
        raise click.UsageError("URL: expected one such as https://tools.example.com/mcp") from None
    findings = Findings(lambda finding: None if as_json else _print(finding))
    asyncio.run(examine(place, token=token, trust=_trust(ca), found=findings, now=SystemClock().now()))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings.all], indent=2, ensure_ascii=False))
    return 1 if findings.has_failed else 0


def _print(finding: Finding) -> None:
    click.echo(str(finding))


def _trust(ca: Path | None) -> ssl.SSLContext:
    trust = ssl.create_default_context()
    if ca is not None:
        try:
            trust.load_verify_locations(ca)
        except (OSError, ssl.SSLError):
            raise click.UsageError("--ca: expected a PEM file that can be read") from None
    return trust
