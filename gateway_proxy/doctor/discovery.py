"""From the refusal to the authorization server: metadata of the resource (RFC 9728), then of the server (RFC 8414).

Also what is beside that way: well-known paths that do not exist, the fallbacks at the root, and browsers (CORS).
"""

import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from gateway_proxy.doctor.challenge import Challenge
from gateway_proxy.doctor.findings import Findings, quoted
from gateway_proxy.doctor.http import Answer, Visitor, origin_of, split_url

PROTECTED: Final = "/.well-known/oauth-protected-resource"
SERVER: Final = "/.well-known/oauth-authorization-server"
OPENID: Final = "/.well-known/openid-configuration"
INSPECTOR: Final = "http://localhost:6274"


@dataclass(frozen=True, slots=True)
class Server:
    """The authorization server's document, and the scopes that the resource names."""

    document: dict[str, Any]
    scopes: list[str] = field(default_factory=list)

    def endpoint(self, name: str) -> str:
        """A URL of the document; empty if it has none."""
        value = self.document.get(f"{name}_endpoint")
        return value if isinstance(value, str) else ""

    def lists(self, name: str, value: str) -> bool:
        """Whether a list of the document has a value."""
        values = self.document.get(name)
        return isinstance(values, list) and value in values

    @property
    def takes_metadata_documents(self) -> bool:
        """Whether Claude would use its client ID metadata document: both conditions have to hold."""
        flag = self.document.get("client_id_metadata_document_supported") is True
        return flag and self.lists("token_endpoint_auth_methods_supported", "none")


async def find_server(visitor: Visitor, url: str, challenge: Challenge, found: Findings) -> Server | None:
    """The authorization server of the MCP server at `url`; None when Claude would not find it."""
    resource = await _find_resource(visitor, url, challenge, found)
    if resource is None:
        return None
    issuers = resource.get("authorization_servers")
    if not isinstance(issuers, list) or not issuers or not isinstance(issuers[0], str):
        found.fail("resource metadata", "no authorization_servers", expected="the issuer's URL, first in that list")
        return None
    if origin_of(issuers[0]) != origin_of(url):
        advice = "some builds ask for /authorize, /token and /register at the MCP host: serve them there too"
        found.warn("authorization server", f"on another host: {quoted(issuers[0])}", advice=advice)
    document = await _find_document(visitor, issuers[0], found)
    if document is None:
        return None
    scopes = resource.get("scopes_supported")
    server = Server(document, [each for each in scopes if isinstance(each, str)] if isinstance(scopes, list) else [])
    _check_document(server, issuers[0], found)
    return server


async def _find_resource(visitor: Visitor, url: str, challenge: Challenge, found: Findings) -> dict[str, Any] | None:
    path_form = f"{origin_of(url)}{PROTECTED}{split_url(url).path.rstrip('/')}"
    root_form = f"{origin_of(url)}{PROTECTED}"
    places = dict.fromkeys(place for place in (challenge.resource_metadata, path_form, root_form) if place)
    answers = {place: await visitor.ask("GET", place) for place in places}
    good = {place: answer.document for place, answer in answers.items() if answer.status == 200 and answer.document}
    if not good:
        seen = ", ".join(f"{split_url(place).path} {answer}" for place, answer in answers.items())
        advice = "serve RFC 9728 metadata there; without it Claude does not find the authorization server"
        found.fail("resource metadata", seen, expected="200 application/json", advice=advice)
        return None
    first = next(iter(good))
    for place, answer in answers.items():
        if place not in good:
            advice = "serve it at the path and at the root: clients try both"
            found.warn("resource metadata", f"{split_url(place).path} gives {answer}", expected="200", advice=advice)
    _check_resource(url, good[first], found)
    return good[first]


def _check_resource(url: str, document: dict[str, Any], found: Findings) -> None:
    resource = document.get("resource")
    if resource == url.rstrip("/") or resource == url:
        found.ok("resource metadata", f"resource is {quoted(resource)}")
    else:
        advice = (
            "it must be the URL that people type, byte by byte: set the server's public URL, or give people this one"
        )
        found.fail("resource metadata", f"resource is {quoted(resource)}", expected=url, advice=advice)


async def _find_document(visitor: Visitor, issuer: str, found: Findings) -> dict[str, Any] | None:
    path = split_url(issuer).path.rstrip("/")
    origin = origin_of(issuer)
    places = dict.fromkeys((f"{origin}{SERVER}{path}", f"{origin}{OPENID}{path}", f"{origin}{path}{OPENID}"))
    tried: list[tuple[str, Answer]] = []
    for place in places:
        answer = await visitor.ask("GET", place)
        if answer.status == 200 and answer.document:
            return answer.document
        tried.append((place, answer))
    seen = ", ".join(f"{split_url(place).path} {answer}" for place, answer in tried)
    advice = "serve RFC 8414 metadata on the issuer's host"
    found.fail("server metadata", seen, expected="200 application/json", advice=advice)
    return None


def _check_document(server: Server, issuer: str, found: Findings) -> None:
    before = len(found.all)
    document = server.document
    if document.get("issuer") != issuer:
        advice = "the two must be equal byte by byte, the slash at the end too"
        found.fail("server metadata", f"issuer is {quoted(document.get('issuer'))}", expected=issuer, advice=advice)
    for name in ("authorization", "token"):
        if not server.endpoint(name).startswith(("https://", "http://127.0.0.1", "http://localhost")):
            found.fail(
                "server metadata", f"{name}_endpoint is {quoted(server.endpoint(name))}", expected="an https URL"
            )
    if not server.lists("code_challenge_methods_supported", "S256"):
        advice = "list S256 there: without it Claude refuses to go on"
        found.fail("server metadata", "code_challenge_methods_supported has no S256", advice=advice)
    _check_registration(server, found)
    if not server.lists("scopes_supported", "offline_access"):
        advice = "without it some servers give Claude no refresh token, and people sign in every hour"
        found.warn("server metadata", "no offline_access in scopes_supported", advice=advice)
    if len(found.all) == before:
        ways = " and ".join(
            way
            for way, is_there in (
                ("registration", bool(server.endpoint("registration"))),
                ("metadata documents", server.takes_metadata_documents),
            )
            if is_there
        )
        found.ok("server metadata", f"issuer, endpoints, S256, clients by {ways}")


def _check_registration(server: Server, found: Findings) -> None:
    public = server.lists("token_endpoint_auth_methods_supported", "none")
    if server.document.get("client_id_metadata_document_supported") is True and not public:
        advice = 'list "none" in token_endpoint_auth_methods_supported, or take the flag away'
        found.fail("server metadata", "client ID metadata documents without public clients", advice=advice)
    elif not server.endpoint("registration") and not server.takes_metadata_documents:
        advice = "offer dynamic registration (RFC 7591), or enter a client id under Advanced settings"
        found.fail("server metadata", "no registration_endpoint", expected="a way to become a client", advice=advice)
    elif not public:
        advice = "Claude registers as a public client where it can"
        found.warn("server metadata", 'no "none" in token_endpoint_auth_methods_supported', advice=advice)


async def check_surroundings(visitor: Visitor, url: str, server: Server, found: Findings) -> None:
    """What clients try besides, and what pages in a browser need."""
    origin = origin_of(url)
    unknown = await visitor.ask("GET", f"{origin}/.well-known/{secrets.token_hex(8)}")
    if unknown.status == 404 and unknown.kind == "application/json":
        found.ok("unknown paths", "404 application/json")
    elif unknown.status == 404:
        found.warn(
            "unknown paths", str(unknown), expected="404 in JSON", advice="some clients read the page as metadata"
        )
    else:
        advice = "clients take it for a document: answer 404 under /.well-known for what is not there"
        found.fail("unknown paths", str(unknown), expected="404", advice=advice)
    await _check_fallbacks(visitor, origin, found)
    await _check_browsers(visitor, server, found)


async def _check_fallbacks(visitor: Visitor, origin: str, found: Findings) -> None:
    missing = []
    for method, path in (("GET", "/authorize"), ("POST", "/token"), ("POST", "/register")):
        answer = await visitor.ask(method, f"{origin}{path}")
        missing += [path] if answer.fault or answer.status in (404, 405) else []
    if missing:
        advice = "Claude falls back to them when it does not find the metadata"
        found.warn(
            "fallbacks", f"{', '.join(missing)} not there", expected="the endpoints at the root too", advice=advice
        )
    else:
        found.ok("fallbacks", "/authorize, /token and /register are there too")


async def _check_browsers(visitor: Visitor, server: Server, found: Findings) -> None:
    """Clients that are pages (MCP Inspector, web IDEs) need CORS; Claude.ai itself does not."""
    refused = []
    for name in ("token", "registration"):
        if not server.endpoint(name):
            continue
        headers = {
            "origin": INSPECTOR,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        answer = await visitor.ask("OPTIONS", server.endpoint(name), headers=headers)
        allowed = answer.headers.get("access-control-allow-origin", "")
        if answer.status not in (200, 204) or allowed not in ("*", INSPECTOR):
            refused.append(name)
    if refused:
        advice = "only clients that run in a browser page, such as MCP Inspector, need it"
        found.warn("cors", f"preflight refused at the {' and '.join(refused)} endpoint", advice=advice)
    else:
        found.ok("cors", "pages may register and get tokens")
