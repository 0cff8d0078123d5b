"""Becoming a client, the page for the person, and the token endpoint: all that needs no person to press a button.

Registers one client, which expires by itself where registrations do. No code is ever issued: the authorization page is
opened and left.
"""

import base64
import hashlib
import re
import secrets
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from gateway_proxy.doctor.challenge import Challenge
from gateway_proxy.doctor.discovery import Server
from gateway_proxy.doctor.findings import Findings, quoted
from gateway_proxy.doctor.http import Answer, Visitor, join_url, origin_of, split_url

CALLBACK: Final = "https://claude.ai/api/mcp/auth_callback"
METADATA_DOCUMENT: Final = "https://claude.ai/oauth/mcp-oauth-client-metadata"
NAME: Final = "gateway-proxy doctor"
_ERROR: Final = re.compile(r"[a-z_]{1,60}")


async def check_authorization(
    visitor: Visitor, url: str, challenge: Challenge, server: Server, found: Findings
) -> None:
    """The three endpoints, as far as a program can go."""
    client_id = await _register(visitor, server, found)
    if client_id is None:
        return
    await _check_page(visitor, url, challenge, server, client_id, found)
    await _check_token(visitor, url, server, client_id, found)


async def _register(visitor: Visitor, server: Server, found: Findings) -> str | None:
    endpoint = server.endpoint("registration")
    if not endpoint:
        return METADATA_DOCUMENT if server.takes_metadata_documents else None
    wanted: dict[str, Any] = {
        "client_name": NAME,
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    answer = await visitor.ask("POST", endpoint, json=wanted)
    client_id = answer.document.get("client_id")
    if answer.status not in (200, 201) or not isinstance(client_id, str):
        advice = {
            403: "registration is closed: open it, or enter a client id under Advanced settings",
            404: "the metadata names an endpoint that is not there",
            429: "too many registrations: Claude registers anew on each connection, so a low limit locks people out",
        }.get(answer.status, "it must take Claude's redirect URI, and a registration without a scope")
        found.fail("registration", f"{answer}{_error_of(answer)}", expected="201 with client_id", advice=advice)
        return None
    if answer.document.get("redirect_uris") != [CALLBACK]:
        found.fail("registration", "other redirect_uris came back", expected=CALLBACK)
    elif answer.document.get("token_endpoint_auth_method", "none") != "none":
        method = quoted(answer.document.get("token_endpoint_auth_method"))
        found.warn("registration", f"registered with {method}", expected="none, as asked")
    else:
        found.ok("registration", f"{answer.status}, client_id")
    return client_id


async def _check_page(
    visitor: Visitor, url: str, challenge: Challenge, server: Server, client_id: str, found: Findings
) -> None:
    verifier = secrets.token_urlsafe(48)
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "state": secrets.token_urlsafe(24),
        "scope": _scope(challenge, server),
        "resource": url.rstrip("/"),
    }
    endpoint = server.endpoint("authorization")
    joint = "&" if split_url(endpoint).query else "?"
    answer = await visitor.ask("GET", f"{endpoint}{joint}{urlencode(parameters)}", headers={"accept": "text/html"})
    location = join_url(endpoint, answer.headers.get("location", ""))
    if answer.status in (302, 303, 307, 308) and location.startswith(CALLBACK):
        error = parse_qs(split_url(location).query).get("error", ["a code, without asking anybody"])[0]
        advice = "Claude's request must be taken: its scope, its resource and S256"
        found.fail("authorize page", f"it sent Claude back with {_word(error)}", expected="a page", advice=advice)
    elif answer.status in (302, 303) and split_url(location).scheme not in (split_url(endpoint).scheme, "https"):
        seen = f"{answer.status} to {quoted(location)}"
        found.fail("authorize page", seen, expected="a sign-in page over https", advice="browsers stop there")
    elif answer.status in (302, 303):
        found.ok("authorize page", f"{answer.status} to {quoted(origin_of(location))}, a sign-in")
    elif answer.status != 200 or answer.kind != "text/html":
        seen = f"{answer}{_error_of(answer)}"
        found.fail(
            "authorize page", seen, expected="200 text/html", advice="people see an error there instead of a sign-in"
        )
    else:
        _check_form_action(answer, found)


def _check_form_action(answer: Answer, found: Findings) -> None:
    policy = answer.headers.get("content-security-policy", "")
    rules = [rule.split() for rule in policy.lower().split(";") if rule.split()[:1] == ["form-action"]]
    if rules and not {"*", "https:", "https://claude.ai", "https://*.claude.ai"} & set(rules[0][1:]):
        advice = (
            "add https://claude.ai: Chrome holds the whole redirect chain of a form to it, and Approve does nothing"
        )
        found.fail("authorize page", "its Content-Security-Policy form-action leaves out the callback", advice=advice)
    else:
        found.ok("authorize page", "200 text/html")


async def _check_token(visitor: Visitor, url: str, server: Server, client_id: str, found: Findings) -> None:
    form = {
        "grant_type": "authorization_code",
        "code": secrets.token_urlsafe(24),
        "redirect_uri": CALLBACK,
        "client_id": client_id,
        "code_verifier": secrets.token_urlsafe(48),
        "resource": url.rstrip("/"),
    }
    renewal = {"grant_type": "refresh_token", "refresh_token": secrets.token_urlsafe(24), "client_id": client_id}
    for step, fields in (("token endpoint", form), ("refresh", renewal)):
        answer = await visitor.ask("POST", server.endpoint("token"), form=fields)
        error = answer.document.get("error")
        if answer.status == 400 and error == "invalid_grant":
            found.ok(step, "400 invalid_grant for what was never issued")
            continue
        advice = {
            401: "it does not know the client that it has just registered: are registrations kept, by every replica?",
            403: "a firewall in front?",
            415: "it must take application/x-www-form-urlencoded",
        }.get(answer.status, "a dead token must be 400 invalid_grant in JSON, else Claude does not sign in again")
        found.fail(step, f"{answer}{_error_of(answer)}", expected="400 invalid_grant in JSON", advice=advice)


def _scope(challenge: Challenge, server: Server) -> str:
    """As Claude chooses it: that of the challenge, else all that the resource lists; and offline_access if there is."""
    scopes = challenge.scope.split() or list(server.scopes)
    if server.lists("scopes_supported", "offline_access") and "offline_access" not in scopes:
        scopes.append("offline_access")
    return " ".join(scopes)


def _word(error: str) -> str:
    return error if _ERROR.fullmatch(error) else quoted(error)


def _error_of(answer: Answer) -> str:
    error = answer.document.get("error")
    return f" {_word(error)}" if isinstance(error, str) else ""
