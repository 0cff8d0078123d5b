"""The stylesheet and the icon (security incident 24)."""

import re

import httpx2
import pytest

from gateway_proxy.browser.assets import Assets


@pytest.mark.parametrize(("plain", "content_type"), [("style.css", "text/css"), ("icon.svg", "image/svg+xml")])
async def test_an_asset_is_served_for_a_year_under_the_name_of_its_content(
    http: httpx2.AsyncClient, plain: str, content_type: str
) -> None:
    """Content-hashed names, immutable caching."""
    url = Assets().url(plain)
    assert re.fullmatch(r"/assets/\w+\.[0-9a-f]{16}\.\w+", url)
    response = await http.get(url, headers={"Range": "bytes=0-1"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(content_type)
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "accept-ranges" not in response.headers


@pytest.mark.parametrize("name", ["style.css", "..%2f..%2fetc%2fpasswd", "%00", "style.0000000000000000.css"])
async def test_what_is_not_in_the_table_does_not_exist(http: httpx2.AsyncClient, name: str) -> None:
    """No folder is served."""
    response = await http.get(f"/assets/{name}")
    assert response.status_code == 404


async def test_the_stylesheet_names_no_foreign_resource(http: httpx2.AsyncClient) -> None:
    """B5: no remote images, fonts or imports."""
    sheet = (await http.get(Assets().url("style.css"))).text
    assert "url(" not in sheet
    assert "@import" not in sheet
