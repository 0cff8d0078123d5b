"""The first request: `initialize` without a token, which has to be refused in the one way that starts discovery."""

import re
from dataclasses import dataclass
from typing import Any, Final

from gateway_proxy.doctor.findings import Findings, quoted
from gateway_proxy.doctor.http import ACCEPT, CALLING_AGENT, Answer, Visitor, join_url, origin_of, split_url

INITIALIZE: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
    },
}
_PARAMETER: Final = re.compile(r'([a-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))', re.IGNORECASE)
_REDIRECTS: Final = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the refusal said. `is_open` when there was none: the server asks for no sign-in."""

    resource_metadata: str = ""
    scope: str = ""
    is_open: bool = False


async def check_challenge(visitor: Visitor, url: str, found: Findings) -> Challenge | None:
    """The challenge, or None when there is nothing to go on with."""
    answer = await visitor.ask("POST", url, headers={"accept": ACCEPT}, json=INITIALIZE)
    await _check_other_slash(visitor, url, found)
    if answer.status in _REDIRECTS:
        _judge_redirect("redirect", url, answer, found)
        return None
    if answer.status == 200 and answer.messages:
        found.warn("challenge", "it lets everybody in", advice="fine if that is meant: Claude then asks for no sign-in")
        return Challenge(is_open=True)
    if answer.status != 401:
        found.fail("challenge", str(answer), expected="401 with WWW-Authenticate", advice=_advice(answer))
        return None
    await _check_agents(visitor, url, found)
    return _read(url, answer, found)


def _read(url: str, answer: Answer, found: Findings) -> Challenge:
    header = answer.headers.get("www-authenticate", "")
    if not header.lower().startswith("bearer"):
        advice = "without it Claude does not look for the authorization server; is it removed by a proxy?"
        found.fail("challenge", "401 without `WWW-Authenticate: Bearer`", expected="that header", advice=advice)
        return Challenge()
    fields = {name.lower(): text or word for name, text, word in _PARAMETER.findall(header)}
    metadata, scope = fields.get("resource_metadata", ""), fields.get("scope", "")
    if not metadata:
        advice = "clients have to guess the metadata's place"
        found.warn("challenge", "401 without resource_metadata", expected="resource_metadata and scope", advice=advice)
    elif split_url(metadata).scheme not in ("http", "https"):
        found.fail("challenge", f"resource_metadata is {quoted(metadata)}", expected="an absolute URL")
    elif split_url(url).scheme == "https" and not metadata.startswith("https:"):
        advice = "tell the server its public URL: it builds http:// links behind the proxy"
        found.fail("challenge", f"resource_metadata is {quoted(metadata)}", expected="an https URL", advice=advice)
    elif not scope:
        found.warn(
            "challenge", "401 without scope", expected="scope", advice="Claude asks for all that the metadata lists"
        )
    else:
        found.ok("challenge", f"401, resource_metadata, scope {quoted(scope)}")
    return Challenge(metadata, scope)


async def _check_agents(visitor: Visitor, url: str, found: Findings) -> None:
    """Firewalls that block AI crawlers let the sign-in pass and then refuse every call (failure 1, 12)."""
    headers = {"accept": ACCEPT, "user-agent": CALLING_AGENT}
    answer = await visitor.ask("POST", url, headers=headers, json=INITIALIZE)
    if answer.status == 401:
        found.ok("user agent", f"{CALLING_AGENT} is answered like others")
    else:
        advice = "something in front blocks AI user agents (Cloudflare: AI Crawl Control, Block AI bots): allow it"
        found.fail("user agent", f"{CALLING_AGENT} got {answer}", expected="401 as for others", advice=advice)


async def _check_other_slash(visitor: Visitor, url: str, found: Findings) -> None:
    other = url[:-1] if url.endswith("/") else f"{url}/"
    if split_url(url).query or split_url(other).path in ("", "/"):
        return
    answer = await visitor.ask("POST", other, headers={"accept": ACCEPT}, json=INITIALIZE)
    if answer.status in _REDIRECTS:
        _judge_redirect("slash", other, answer, found)
    elif answer.status == 401 or (answer.status == 200 and answer.messages):
        found.ok("slash", "the same with and without a slash at the end")
    else:
        found.warn("slash", f"{split_url(other).path} gives {answer}", advice="give people the URL exactly as it works")


def _judge_redirect(step: str, url: str, answer: Answer, found: Findings) -> None:
    target = join_url(url, answer.headers.get("location", ""))
    seen = f"{answer.status} to {quoted(target)}"
    if split_url(url).scheme == "https" and not target.startswith("https:"):
        advice = "the server builds http:// links behind the proxy: make it trust X-Forwarded-Proto, or answer both"
        found.fail(step, seen, expected="no redirect", advice=advice)
    elif origin_of(target) != origin_of(url):
        found.fail(step, seen, expected="no redirect", advice="the token is dropped on the way to another host")
    elif step == "redirect":
        found.fail(
            step, seen, expected="an answer", advice="give people the URL that it redirects to, or answer here too"
        )
    else:
        found.warn(step, seen, expected="an answer", advice="answer both forms: the dialog strips the slash")


def _advice(answer: Answer) -> str:
    if answer.fault:
        return "is the server up, and does the proxy reach it?"
    return {
        200: "this answers, but not as an MCP server: is the path right (often /mcp)?",
        400: "the server refuses a plain initialize: it must not ask for a session id or a newer protocol first",
        403: "a firewall, or a server that says 403 where only 401 starts a sign-in",
        404: "is the path right (often /mcp)?",
        405: "this path takes no POST: is it an older SSE endpoint, or a page?",
        406: "the server does not take `Accept: application/json, text/event-stream`",
        421: "the server does not know this host name: tell it its public URL",
        502: "the proxy does not reach the server",
        503: "the server is not ready, or the proxy does not reach it",
    }.get(answer.status, "only 401 starts a sign-in")
