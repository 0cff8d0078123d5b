"""Reason → page: what a person reads when an authorization request cannot be reported to the client. Only words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway_proxy.domain import oauth_errors as reasons
from gateway_proxy.domain.errors import GatewayError
from gateway_proxy.oauth.errors import to_wire

CONNECT_AGAIN: Final = "Go back to the app and connect again. If it stays like this, remove the connection there first."
TELL_THE_MAKER: Final = "The app that sent you here has to be corrected; nothing was given to it."


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The words of a page, and its status."""

    status: int
    title: str
    message: str
    next_step: str


def _page(status: int, title: str, message: str, next_step: str) -> Callable[[Any], ErrorPage]:
    page = ErrorPage(status, title, message, next_step)
    return lambda _: page


ERROR_PAGES: Final[Mapping[type[GatewayError], Callable[[Any], ErrorPage]]] = {
    reasons.ClientUnknown: _page(
        400,
        "This app is not known here",
        "The app is not registered with this gateway, or its registration expired because it was never used.",
        CONNECT_AGAIN,
    ),
    reasons.ClientDocumentUnusable: lambda e: ErrorPage(
        400,
        "This app could not be recognised",
        f"The app's own description at {e.host} cannot be used: {e.fault}.",
        TELL_THE_MAKER,
    ),
    reasons.RedirectUriUnknown: _page(
        400,
        "This app asked for the wrong address",
        "The redirect_uri in the request is not one that the app registered, so you are not sent there.",
        TELL_THE_MAKER,
    ),
    reasons.ConsentStale: _page(
        400,
        "This page was open for too long",
        "The form has expired, or it was opened in another browser or under another account.",
        CONNECT_AGAIN,
    ),
    reasons.ConsentSpent: _page(
        400,
        "You have answered this already",
        "Each answer counts once. If the app is connected now, there is nothing left to do.",
        CONNECT_AGAIN,
    ),
    reasons.MembershipEnded: _page(
        403,
        "You are not a member of this team",
        "The app cannot be given access to a team that you do not belong to.",
        "Ask an administrator of the team to add you, then start again from the app.",
    ),
}


def to_page(reason: GatewayError) -> ErrorPage | None:
    """The page for a reason: its own, or the sentence of its wire form. None for what is not ours to explain."""
    build = ERROR_PAGES.get(type(reason))
    if build is not None:
        return build(reason)
    if isinstance(reason, reasons.OAuthError):
        wire = to_wire(reason)
        return ErrorPage(wire.status, "This request cannot be used", wire.description, TELL_THE_MAKER)
    return None


def leaving_page(reason: reasons.OAuthError, *, host: str) -> ErrorPage:
    """The page in front of a redirect to a site that nobody here has agreed to yet (ADR 13)."""
    wire = to_wire(reason)
    return ErrorPage(
        wire.status,
        "This request cannot be used",
        wire.description,
        f"Nobody here has connected this app before. It asks to be told at {host}: go on only if you know that site "
        "and have just come from it.",
    )
