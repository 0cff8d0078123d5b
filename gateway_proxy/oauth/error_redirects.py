"""When an error may go to a redirect URI by itself, and when a person is asked first (RFC 9700 §4.11.2, ADR 13).

Anybody may register a client, so an error that sent every browser on would make the gateway's address a cover for any
other site's. Only a page that a person navigates to is held up: what a client library, a frame or a test asks for is
answered by the redirect of RFC 6749 §4.1.2.1 as ever.
"""

from typing import Final

from starlette.requests import Request

from gateway_proxy.domain.oauth import Client
from gateway_proxy.oauth.known_documents import KNOWN_DOCUMENTS

KNOWN_REDIRECT_URIS: Final = frozenset(
    uri for document in KNOWN_DOCUMENTS.values() for uri in document["redirect_uris"]
)


def must_ask_before_leaving(request: Request, client: Client, redirect_uri: str) -> bool:
    """Whether an error has to be shown to a person before it is reported to `redirect_uri`.

    So it is when a browser's window (Fetch Metadata §2) would leave for a web site that a client registered which
    nobody has agreed to yet. A loopback or private-use URI leads to the person's own programs, not to a site; who posts
    the consent form has seen where the answer goes.
    """
    if request.method != "GET" or not _is_window(request):
        return False
    is_on_trial = client.kind == "registered" and client.expires_at is not None
    return is_on_trial and redirect_uri.startswith("https:") and redirect_uri not in KNOWN_REDIRECT_URIS


def _is_window(request: Request) -> bool:
    mode, destination = request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")
    return mode == "navigate" and destination == "document"
