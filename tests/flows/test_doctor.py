"""`doctor URL` against real gateways and against servers that are wrong in one place each."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from gateway_proxy.doctor.address import read_place
from gateway_proxy.doctor.examination import examine as examine_place
from gateway_proxy.doctor.findings import Findings
from tests.support.bootstrapped import bootstrapped_gateway
from tests.support.gateway import free_port
from tests.support.mcp_wire import Wire
from tests.support.sign_in_site import PROTECTED, SERVER, TOKEN, SignInSite, sign_in_site
from tests.support.topology import Topology, bearer, running_caddy, running_topology

Spoil = Callable[[SignInSite], None]
EXPECTED_HERE = {"url", "dns", "port", "http2", "tls"}
"""Steps that cannot be better on a loopback address, with a throw-away certificate."""


@dataclass
class Examined:
    """How `doctor` ended."""

    status: int
    out: str
    err: str

    @property
    def verdicts(self) -> dict[str, str]:
        """The worst verdict of each step."""
        order = ["ok", "skip", "warn", "FAIL"]
        found: dict[str, str] = {}
        for line in self.out.splitlines():
            verdict, step = line.split(":")[0].split(maxsplit=1)
            found[step] = max(verdict, found.get(step, "ok"), key=order.index)
        return found

    @property
    def troubles(self) -> dict[str, str]:
        """The steps that are not well, and could be."""
        return {
            step: verdict
            for step, verdict in self.verdicts.items()
            if verdict in ("warn", "FAIL") and step not in EXPECTED_HERE
        }


async def examine_here(site: SignInSite, ca: Path, *, token: str = "") -> Examined:
    """The same steps in this process, which saves the start of one."""
    lines: list[str] = []
    found = Findings(lambda finding: lines.append(str(finding)))
    trust = ssl.create_default_context(cafile=ca)
    now = datetime.now(UTC)
    await examine_place(read_place(f"{site.url}/mcp"), token=token, trust=trust, found=found, now=now)
    return Examined(int(found.has_failed), "\n".join(lines), "")


async def examine(*arguments: str, stdin: str = "") -> Examined:
    """Run `doctor` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway_proxy", "doctor", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    assert b"Traceback" not in err, err
    return Examined(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[tuple[SignInSite, Path]]:
    async with sign_in_site(tmp_path) as site:
        yield site


async def test_a_first_look_is_well_but_for_its_address() -> None:
    """Contract: `doctor URL`; the token goes in by standard input and is never shown."""
    async with bootstrapped_gateway() as gateway:
        with_token = await examine(f"{gateway.url}/mcp", "--token", "-", "--as", "claude", stdin=f"{gateway.token}\n")
        short = await examine(gateway.url)
        log = gateway.process.log.read_text()

    assert (with_token.status, with_token.err, with_token.troubles) == (0, "", {})
    assert {"challenge", "registration", "authorize page", "tools", "stream", "models"} <= with_token.verdicts.keys()
    assert (short.status, short.troubles) == (0, {})
    assert "skip  calls" in short.out
    assert gateway.token not in with_token.out
    assert "request_failed" not in log


async def test_the_compose_topology_is_well_from_outside(postgres_url: str, redis_url: str) -> None:
    """Issue: through the project's own Caddyfile over TLS, with two gateways.

    Caddy ends within seconds only if the stream that the doctor left has ended at the gateway too.
    """
    port = free_port()
    public = f"https://localhost:{port}"
    environment = {"GATEWAY_PUBLIC_URL": public, "GATEWAY_TRUSTED_PROXIES": "127.0.0.1"}
    async with running_topology(
        database_url=postgres_url, redis_url=redis_url, gateways=2, environment=environment
    ) as topology:
        upstreams = [gateway.url.removeprefix("http://") for gateway in topology.gateways]
        async with running_caddy(topology.folder, port, upstreams) as certificate:
            token = await asyncio.to_thread(topology.token, "ann@example.com", "acme")
            await _wait_for_tools(topology, token)
            found = await examine(f"{public}/mcp", "--token", token, "--ca", str(certificate))

    assert (found.status, found.troubles) == (0, {}), found.out
    assert found.verdicts["http2"] == "ok"
    assert found.verdicts["stream"] == "ok"


async def _wait_for_tools(topology: Topology, token: str) -> None:
    """Servers start with the first question for their tools."""
    for gateway in topology.gateways:
        async with bearer(token) as http, asyncio.timeout(60):
            while not await Wire(http, f"{gateway.url}/mcp").tool_names():
                await asyncio.sleep(0.5)


async def test_a_good_server_of_somebody_else_is_well(site: tuple[SignInSite, Path]) -> None:
    """Issue: against any MCP server, not only ours. The token goes to that host only."""
    server, ca = site
    found = await examine(f"{server.url}/mcp", "--token", TOKEN, "--ca", str(ca))

    assert (found.status, found.troubles) == (0, {}), found.out
    assert found.verdicts["stream"] == "skip"
    assert found.verdicts["models"] == "skip"


def answer(path: str, response: Response) -> Spoil:
    """Always this answer at a path."""

    def spoil(site: SignInSite) -> None:
        site.spoiled[path] = lambda request: response

    return spoil


def downgrade(site: SignInSite) -> None:
    """Behind a proxy the server believes that it is reached by http."""
    site.spoiled["/mcp"] = lambda request: RedirectResponse(f"{site.url.replace('https', 'http')}/mcp/", 307)


def same_origin_redirect(site: SignInSite) -> None:
    """A framework that adds slashes."""
    site.spoiled["/mcp"] = lambda request: RedirectResponse("/mcp/", 307)


def slash_redirect(site: SignInSite) -> None:
    """The other way round."""
    site.spoiled["/mcp/"] = lambda request: RedirectResponse(f"{site.url.replace('https', 'http')}/mcp", 307)


def html_well_knowns(site: SignInSite) -> None:
    """A page for everything under /.well-known."""

    def page(request: Request) -> Response | None:
        return HTMLResponse("<h1>Not found</h1>", 404) if request.url.path.startswith("/.well-known") else None

    site.spoiled["*"] = page


def block_claude(site: SignInSite) -> None:
    """A firewall that blocks AI crawlers."""

    def block(request: Request) -> Response | None:
        return Response("blocked", 403) if "Claude-User" in request.headers["user-agent"] else None

    site.spoiled["/mcp"] = block


def needs_session(site: SignInSite) -> None:
    """A server that insists on Mcp-Session-Id."""

    def demand(request: Request) -> Response | None:
        if request.headers.get("authorization") and request.headers.get("mcp-protocol-version"):
            has_session = request.headers.get("mcp-session-id") == "the-session"
            return None if has_session else JSONResponse({"error": "no session"}, 400)
        return None

    site.spoiled["/mcp"] = demand


def set_metadata(**changes: Any) -> Spoil:
    """Another authorization server document."""
    return lambda site: site.metadata.update(changes)


def set_resource(**changes: Any) -> Spoil:
    """Another protected resource document."""
    return lambda site: site.resource.update(changes)


def set_tools(*tools: dict[str, Any]) -> Spoil:
    """Other tools."""
    return lambda site: site.tools.__setitem__(slice(None), tools)


UNAUTHORIZED = JSONResponse({}, 401)
CSP = HTMLResponse("<p>Sign in</p>", headers={"content-security-policy": "default-src 'none'; form-action 'self'"})
DENIED = RedirectResponse("https://claude.ai/api/mcp/auth_callback?error=invalid_scope&state=x", 303)

CASES: dict[str, tuple[Spoil, str, str, str]] = {
    "wrong resource": (set_resource(resource="https://other.example/mcp"), "resource metadata", "FAIL", "byte by byte"),
    "resource without path": (set_resource(resource="https://localhost/"), "resource metadata", "FAIL", "resource is"),
    "no authorization servers": (set_resource(authorization_servers=[]), "resource metadata", "FAIL", "no auth"),
    "http downgrade": (downgrade, "redirect", "FAIL", "X-Forwarded-Proto"),
    "redirect on the typed URL": (same_origin_redirect, "redirect", "FAIL", "give people the URL that it redirects to"),
    "downgrade on the other slash": (slash_redirect, "slash", "FAIL", "X-Forwarded-Proto"),
    "missing S256": (set_metadata(code_challenge_methods_supported=None), "server metadata", "FAIL", "S256"),
    "issuer with a slash": (set_metadata(issuer="https://localhost/"), "server metadata", "FAIL", "issuer is"),
    "no way to register": (
        set_metadata(registration_endpoint=None, client_id_metadata_document_supported=False),
        "server metadata",
        "FAIL",
        "no registration_endpoint",
    ),
    "metadata documents without none": (
        set_metadata(token_endpoint_auth_methods_supported=["client_secret_post"]),
        "server metadata",
        "FAIL",
        "public clients",
    ),
    "no offline_access": (set_metadata(scopes_supported=["mcp"]), "server metadata", "warn", "offline_access"),
    "pages for well-knowns": (html_well_knowns, "resource metadata", "FAIL", "404 text/html"),
    "page for an unknown path": (answer(SERVER, HTMLResponse("", 404)), "server metadata", "FAIL", "RFC 8414"),
    "no metadata at the path": (
        answer(f"{PROTECTED}/mcp", JSONResponse({}, 404)),
        "resource metadata",
        "warn",
        "clients try both",
    ),
    "challenge without a header": (answer("/mcp", UNAUTHORIZED), "challenge", "FAIL", "WWW-Authenticate"),
    "403 for a stranger": (answer("/mcp", Response("", 403)), "challenge", "FAIL", "only 401 starts a sign-in"),
    "no such path": (answer("/mcp", HTMLResponse("", 404)), "challenge", "FAIL", "is the path right"),
    "AI agents are blocked": (block_claude, "user agent", "FAIL", "Cloudflare"),
    "registration is limited": (answer("/oauth/register", JSONResponse({}, 429)), "registration", "FAIL", "locks"),
    "the page is an error": (answer("/oauth/authorize", JSONResponse({}, 400)), "authorize page", "FAIL", "400"),
    "form-action self": (answer("/oauth/authorize", CSP), "authorize page", "FAIL", "form-action"),
    "sent back at once": (answer("/oauth/authorize", DENIED), "authorize page", "FAIL", "invalid_scope"),
    "token endpoint with a page": (answer("/oauth/token", HTMLResponse("")), "token endpoint", "FAIL", "in JSON"),
    "token endpoint for JSON": (answer("/oauth/token", JSONResponse({}, 415)), "token endpoint", "FAIL", "urlencoded"),
    "forgotten client": (
        answer("/oauth/token", JSONResponse({"error": "invalid_client"}, 401)),
        "refresh",
        "FAIL",
        "401 application/json invalid_client",
    ),
    "dotted tool name": (set_tools({"name": "calc.add"}), "tools", "FAIL", "hides the whole connector"),
    "too many tools": (
        set_tools(*({"name": f"t{number}", "description": "x" * 1000} for number in range(100))),
        "tools",
        "warn",
        "much of the context",
    ),
    "session id demanded": (needs_session, "tools", "FAIL", ""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_is_wrong_is_found_at_its_step(
    site: tuple[SignInSite, Path], case: tuple[Spoil, str, str, str]
) -> None:
    """reference: the failure table of clients.md; exit status 1 when Claude would not get past it."""
    server, ca = site
    spoil, step, verdict, words = case
    spoil(server)

    found = await examine_here(server, ca, token=TOKEN)

    lines = [line for line in found.out.splitlines() if line.startswith(f"{verdict:<4}  {step}: ")]
    assert lines, found.out
    assert words in " ".join(lines)
    assert found.status == (1 if verdict == "FAIL" else 0), found.out
    assert TOKEN not in found.out


BAD_URL = "http://[::bad"
NESTED = Response("[" * 200_000, media_type="application/json")
HOSTILE: dict[str, Spoil] = {
    "challenge": answer(
        "/mcp", Response(status_code=401, headers={"www-authenticate": f'Bearer resource_metadata="{BAD_URL}"'})
    ),
    "redirect": answer("/mcp", Response(status_code=307, headers={"location": BAD_URL})),
    "issuer": set_resource(authorization_servers=[BAD_URL]),
    "resource": set_resource(resource={"a": []}, scopes_supported=[{}, None], authorization_servers=[7]),
    "endpoints": set_metadata(
        authorization_endpoint=BAD_URL, token_endpoint="file:///etc/passwd", registration_endpoint=BAD_URL
    ),
    "lists": set_metadata(code_challenge_methods_supported="S256", scopes_supported=7, issuer=["x"]),
    "nested metadata": answer(SERVER, NESTED),
    "nested registration": answer("/oauth/register", NESTED),
    "page redirect": answer("/oauth/authorize", Response(status_code=302, headers={"location": BAD_URL})),
    "policy": answer("/oauth/authorize", HTMLResponse("", headers={"content-security-policy": ";;form-action;"})),
    "tools": set_tools({"name": "\ud800"}, {"name": ["x"]}),
    "everything": answer("*", Response(b"\xff\x00" * 1000, media_type="text/\x85html; charset=nope")),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
async def test_no_answer_of_a_hostile_server_is_more_than_a_finding(
    site: tuple[SignInSite, Path], spoil: Spoil
) -> None:
    """House rule: bad input ends that step only, and nothing unprintable of it is repeated."""
    server, ca = site
    spoil(server)

    found = await examine_here(server, ca, token=TOKEN)

    assert found.status == 1, found.out
    assert all(line.isprintable() for line in found.out.splitlines())
    assert TOKEN not in found.out


async def test_findings_are_there_for_machines(site: tuple[SignInSite, Path]) -> None:
    """Issue: `--json`."""
    server, ca = site
    server.resource["resource"] = "https://other.example/\u202emcp\nFAIL"

    found = await examine(f"{server.url}/mcp", "--ca", str(ca), "--json")

    findings = json.loads(found.out)
    assert found.status == 1
    assert [each["step"] for each in findings if each["verdict"] == "FAIL"] == ["resource metadata"]
    assert set(findings[0]) == {"step", "verdict", "seen", "expected", "advice"}
    assert "\\u202e" not in found.out
    assert "\u202e" not in found.out


async def test_an_untrusted_certificate_ends_it(site: tuple[SignInSite, Path]) -> None:
    """Issue: TLS chain."""
    server, _ = site

    found = await examine(f"{server.url}/mcp")

    assert found.status == 1
    assert found.verdicts["tls"] == "FAIL"
    assert "whole chain" in found.out
    assert server.log == []


async def test_nothing_there_is_said_in_one_line() -> None:
    """Issue: reachability."""
    nobody = await examine(f"http://127.0.0.1:{free_port()}/mcp")
    nowhere = await examine("https://no-such-host.invalid/mcp")

    assert (nobody.status, nobody.verdicts["connection"]) == (1, "FAIL")
    assert (nowhere.status, nowhere.verdicts["dns"]) == (1, "FAIL")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("ftp://x.example",),
        ("tools.example.com/mcp",),
        ("https://x.example:99999/mcp",),
        ("https://x", "--as", "me"),
    ],
)
async def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    """Contract: exit status 2 = wrong usage, one line."""
    found = await examine(*arguments)

    assert (found.status, found.out) == (2, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
