"""A real Chromium, the real pages behind a real server, and a client of another origin to come back to."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway_proxy.domain.clock import SystemClock
from gateway_proxy.sealing.keyring import Keyring
from gateway_proxy.storage.sql.database import Database
from tests.support.gateway import free_port
from tests.support.loopback import serving
from tests.support.people import People
from tests.support.people_site import PeopleSite

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str | None:
    """The Chromium of this machine; None leaves the choice to Playwright's own download."""
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


def loopback(app: ASGIApp, port: int) -> uvicorn.Config:
    """How to serve an app in this process."""
    return uvicorn.Config(app, port=port, log_level="critical", lifespan="off", ws="none")


@dataclass
class CallbackServer:
    """The client's own site, on another origin: remembers the answers that reach it."""

    origin: str
    answers: list[dict[str, str]] = field(default_factory=list)

    @property
    def redirect_uri(self) -> str:
        """Where the gateway sends people back to."""
        return f"{self.origin}/callback"

    @property
    def app(self) -> ASGIApp:
        """The site. Its callback goes on to a page of its own, as real clients do."""
        return Starlette(routes=[Route("/callback", self._callback), Route("/done", self._done)])

    async def _callback(self, request: Request) -> Response:
        self.answers.append(dict(request.query_params))
        return RedirectResponse("/done", status_code=302)

    async def _done(self, request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>Connected</title><h1>Back at the client</h1>")


@dataclass
class Visit:
    """One open page of the browser, and everything that it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    @property
    def policy_violations(self) -> list[str]:
        """What Chromium refused because of a Content-Security-Policy."""
        return [text for text in self.complaints if "Content Security Policy" in text or "Refused" in text]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium: the machine's, else Playwright's own download. A missing one fails in one line.

    One for all tests: each opens a profile of its own in it.
    """
    async with async_playwright() as playwright:
        executable = find_chromium() or playwright.chromium.executable_path
        if shutil.which(executable) is None:
            pytest.fail(
                "Chromium is missing: apt-get install chromium, or python -m playwright install chromium", pytrace=False
            )
        browser = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    """SQLite is enough here: the pages are proved on both databases in tests/unit."""
    database = Database(sqlite_url)
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def site(database: Database, keyring: Keyring) -> AsyncIterator[PeopleSite]:
    """The pages, really served."""
    port = free_port()
    site = PeopleSite(database, keyring, SystemClock(), public_url=f"http://127.0.0.1:{port}")
    async with serving(loopback(site.app, port)):
        yield site


@pytest.fixture
def people(database: Database) -> People:
    """Adds people and clients."""
    return People(database, SystemClock())


@pytest_asyncio.fixture(loop_scope="session")
async def callback_server() -> AsyncIterator[CallbackServer]:
    """The client's site, really served, on another origin than the gateway's."""
    port = free_port()
    server = CallbackServer(f"http://127.0.0.1:{port}")
    async with serving(loopback(server.app, port)):
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser) -> AsyncIterator[Visit]:
    """A fresh browser profile with one page."""
    context = await browser.new_context()
    context.set_default_timeout(10_000)
    yield Visit(await context.new_page())
    await context.close()
