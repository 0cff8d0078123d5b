"""The pages as people see them: at 320 px, in both palettes, without a violation of their own policy."""

import re
from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from gateway_proxy.domain.tenant import Role
from tests.browser.conftest import Visit
from tests.support.people import People
from tests.support.people_site import PeopleSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATHS = ("/", "/sign-in", "/account", "/oauth/authorize?client_id=unknown")

# The contrast of every visible text with the first opaque background behind it (WCAG 2.2 §1.4.3).
LOW_CONTRAST = """() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = element => {
    for (let node = element; node; node = node.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(node).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || !element.checkVisibility() || element.closest('.visually-hidden')) continue;
    const style = getComputedStyle(element);
    const [light, dark] = [luminance(channels(style.color)), luminance(background(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) found.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(browser: Browser, site: PeopleSite, people: People) -> AsyncIterator[Visit]:
    """Ann, an owner with a token and a connected app, signed in."""
    user, tenant = await people.user(password="correct horse"), await people.tenant()
    await people.join(user, tenant, Role.OWNER)
    await people.personal_token(user, tenant)
    await people.grant(user, tenant, await people.client())
    context = await browser.new_context(viewport={"width": 320, "height": 640})
    visit = Visit(await context.new_page())
    await visit.page.goto(f"{site.public_url}/sign-in")
    await visit.page.get_by_label("E-mail address").fill("ann@example.com")
    await visit.page.get_by_label("Password").fill("correct horse")
    await visit.page.get_by_role("button", name="Sign in").click()
    await expect(visit.page.get_by_role("heading", name="Your account")).to_be_visible()
    yield visit
    await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_320_pixels_and_is_readable_in_both_palettes(
    signed_in: Visit, site: PeopleSite, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2.2 §1.4.10 (no sideways scrolling) and §1.4.3 (contrast)."""
    page = signed_in.page
    await page.emulate_media(color_scheme=scheme)
    for path in PATHS:
        await page.goto(site.public_url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
        assert await page.evaluate(LOW_CONTRAST) == [], path
        assert await page.locator("h1").count() == 1, path
    assert signed_in.policy_violations == []


async def test_every_field_has_a_label_and_every_button_a_name(signed_in: Visit, site: PeopleSite) -> None:
    """WCAG 2.2 §4.1.2."""
    page = signed_in.page
    for path in PATHS:
        await page.goto(site.public_url + path)
        unlabelled = await page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]):not([aria-hidden]), select')]"
            ".filter(field => !field.labels.length).map(field => field.name)"
        )
        assert unlabelled == [], path
    await page.goto(f"{site.public_url}/account")
    await expect(page.get_by_role("button", name="Revoke the token script")).to_be_visible()
    await expect(page.get_by_role("button", name="Revoke the access of Claude")).to_be_visible()


async def test_a_token_is_made_shown_and_revoked(signed_in: Visit, site: PeopleSite) -> None:
    """The one page that shows a secret, and never again."""
    page = signed_in.page
    await page.get_by_label("Name", exact=True).fill("laptop")
    await page.get_by_role("button", name="Create token").click()
    secret = await page.get_by_label("laptop").input_value()
    assert secret.startswith("gw_pat_")
    await page.get_by_role("link", name="I have copied it").click()
    await expect(page.get_by_text("laptop", exact=True)).to_be_visible()
    assert secret not in await page.content()
    await page.get_by_role("button", name="Revoke the token laptop").click()
    await expect(page.get_by_role("status")).to_contain_text("no longer works")
    await expect(page.get_by_text("laptop", exact=True)).to_have_count(0)
    assert signed_in.policy_violations == []


async def test_the_first_tab_stop_leads_past_the_header(visit: Visit, site: PeopleSite) -> None:
    """WCAG 2.2 §2.4.1, and focus can be seen."""
    await visit.page.goto(site.public_url)
    await visit.page.keyboard.press("Tab")
    skip = visit.page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    outline = await skip.evaluate("element => getComputedStyle(element).outlineWidth")
    assert outline == "3px"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_wrong_with_a_form_is_announced_and_the_cursor_is_in_its_field(
    signed_in: Visit, site: PeopleSite, scheme: Literal["light", "dark"]
) -> None:
    """WCAG 2.2 §3.3.1, §1.4.3: the summary leads to the field, the field says what is wrong with it."""
    page = signed_in.page
    await page.emulate_media(color_scheme=scheme)
    await page.goto(f"{site.public_url}/account")
    await page.get_by_label("Current password").fill("correct horse")
    await page.get_by_label("New password", exact=True).fill("battery staple")
    await page.get_by_label("New password, again").fill("battery stapler")
    await page.keyboard.press("Enter")
    await expect(page).to_have_title("Error: Your account · Gateway")
    field = page.get_by_label("New password, again")
    await expect(field).to_be_focused()
    await expect(field).to_have_accessible_description(re.compile("not the same"))
    await page.get_by_role("alert").get_by_role("link").click()
    await expect(field).to_be_in_viewport()
    assert await page.evaluate(LOW_CONTRAST) == []
    assert signed_in.policy_violations == []


async def test_a_token_without_permissions_leads_back_to_them(signed_in: Visit, site: PeopleSite) -> None:
    """WCAG 2.2 §3.3.1 and §3.3.7: a group can be what is wrong, and the name need not be typed again."""
    page = signed_in.page
    await page.goto(f"{site.public_url}/account")
    await page.get_by_label("Name").fill("my script")
    for box in await page.get_by_role("checkbox").all():
        await box.uncheck()
    await page.get_by_role("button", name="Create token").click()
    await expect(page.get_by_role("alert")).to_contain_text("Permissions")
    await expect(page.get_by_role("group", name="Permissions")).to_be_focused()
    await expect(page.get_by_label("Name")).to_have_value("my script")
    assert await page.get_by_role("checkbox", checked=True).count() == 0
