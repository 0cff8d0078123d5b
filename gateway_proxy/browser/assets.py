"""The stylesheet and the icon: a fixed table read at start, under names that change with their content.

No folder is served, no Range is answered, no path is joined: what is not in the table does not exist.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

CONTENT_TYPES: Final = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
PATH: Final = "/assets/"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is sent."""

    name: str
    content: bytes
    content_type: str


class Assets:
    """Serves `GET /assets/{name}` and tells templates the names."""

    def __init__(self) -> None:
        folder = files("gateway_proxy.browser").joinpath("static")
        self._by_name: dict[str, Asset] = {}
        self._urls: dict[str, str] = {}
        for plain, content_type in CONTENT_TYPES.items():
            content = folder.joinpath(plain).read_bytes()
            stem, _, suffix = plain.rpartition(".")
            name = f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{suffix}"
            self._by_name[name] = Asset(name, content, content_type)
            self._urls[plain] = PATH + name

    def url(self, plain: str) -> str:
        """The address of an asset by its plain name, `style.css`."""
        return self._urls[plain]

    async def handle(self, request: Request) -> Response:
        """Answer with the file, for a year: its name changes when it does."""
        asset = self._by_name.get(request.path_params["name"])
        if asset is None:
            return PlainTextResponse("Not found", status_code=404, headers={"Cache-Control": "no-store"})
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Type": asset.content_type,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        return Response(asset.content, headers=headers)
