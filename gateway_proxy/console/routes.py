"""The routes of the pages for people, and what their handlers are made of."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.routing import Route

from gateway_proxy.auth.passwords import PasswordHasher
from gateway_proxy.browser.assets import PATH as ASSETS_PATH
from gateway_proxy.browser.assets import Assets
from gateway_proxy.browser.authenticate import Authenticator
from gateway_proxy.browser.csrf import Csrf
from gateway_proxy.browser.pages import Pages
from gateway_proxy.browser.sessions import BrowserSessions
from gateway_proxy.browser.signing import Signing
from gateway_proxy.console.account import AccountPage
from gateway_proxy.console.connected_apps import RevokeApp
from gateway_proxy.console.password import ChangePassword
from gateway_proxy.console.personal_tokens import CreatePersonalToken, RevokePersonalToken
from gateway_proxy.console.start import Start
from gateway_proxy.domain.clock import Clock
from gateway_proxy.limits.limiter import Limiter
from gateway_proxy.storage.sql.database import Database
from gateway_proxy.telemetry.audit import AuditTrail


@dataclass(frozen=True)
class ConsoleServices:
    """What the pages are given by the composition root."""

    public_url: str
    database: Database
    clock: Clock
    limiter: Limiter
    audit: AuditTrail
    hasher: PasswordHasher
    authenticator: Authenticator
    signing: Signing
    sessions: BrowserSessions
    csrf: Csrf
    pages: Pages
    assets: Assets
    announce_revocation: Callable[[], Awaitable[None]]


def console_routes(services: ConsoleServices) -> list[Route]:
    """The start page, the account page with its forms, and the assets of all pages."""
    audit, announce = services.audit, services.announce_revocation
    account = AccountPage(
        pages=services.pages,
        sessions=services.sessions,
        csrf=services.csrf,
        signing=services.signing,
        database=services.database,
        clock=services.clock,
    )
    create = CreatePersonalToken(account, services.limiter, audit, services.public_url)
    change = ChangePassword(account, services.authenticator, services.hasher, audit)
    return [
        Route("/", Start(services.pages, services.sessions, services.public_url).handle, methods=["GET"]),
        Route(ASSETS_PATH + "{name}", services.assets.handle, methods=["GET"]),
        Route("/account", account.handle, methods=["GET"]),
        Route("/account/tokens", create.handle, methods=["POST"]),
        Route("/account/tokens/revoke", RevokePersonalToken(account, audit, announce).handle, methods=["POST"]),
        Route("/account/grants/revoke", RevokeApp(account, audit, announce).handle, methods=["POST"]),
        Route("/account/password", change.handle, methods=["POST"]),
    ]
