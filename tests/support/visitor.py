"""A person with a browser, as far as HTTP goes: cookies, forms, buttons. No script is run, as our pages need none."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx2


@dataclass
class Form:
    """One form of a page: where it goes, its fields with their values, and its buttons by text."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str]] = field(default_factory=dict)
    radios: dict[str, list[str]] = field(default_factory=dict)


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._button: tuple[str, str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(values.get("action", ""), values.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is not None and tag == "input" and values.get("name"):
            self._read_input(self._form, values)
        elif self._form is not None and tag == "button":
            self._button, self._text = (values.get("name", ""), values.get("value", "")), ""

    def _read_input(self, form: Form, values: dict[str, str]) -> None:
        name, kind = values["name"], values.get("type", "text")
        if kind == "radio":
            form.radios.setdefault(name, []).append(values.get("value", ""))
        if kind not in ("radio", "checkbox") or "checked" in values:
            form.fields[name] = values.get("value", "")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._form is not None and self._button is not None:
            self._form.buttons[" ".join(self._text.split())] = self._button
            self._button = None
        elif tag == "form":
            self._form = None


def read_forms(html: str) -> list[Form]:
    """All forms of a page, in order."""
    reader = _FormReader()
    reader.feed(html)
    return reader.forms


@dataclass
class Visitor:
    """Opens pages of the gateway at `http`, signs in when asked, and answers the consent page."""

    http: httpx2.AsyncClient
    email: str
    password: str
    origin: str
    tenant: str | None = None
    pages: list[str] = field(default_factory=list)

    async def authorize(self, url: str, *, decision: str = "approve") -> str:
        """Follow an authorization URL to its end: the client's redirect URI with its query. Shows what went wrong."""
        response = await self.http.get(url, follow_redirects=False)
        for _ in range(10):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if not target.startswith(self.origin + "/"):
                    return target
                response = await self.http.get(target, follow_redirects=False)
                continue
            assert response.status_code == 200, f"{response.status_code} at {response.url}: {response.text[:500]}"
            self.pages.append(response.text)
            response = await self._answer(response, decision)
        raise AssertionError(f"no end after ten pages; the last was {response.url}")

    async def _answer(self, response: httpx2.Response, decision: str) -> httpx2.Response:
        forms = read_forms(response.text)
        sign_in = next((form for form in forms if "password" in form.fields), None)
        if sign_in is not None:
            return await self._submit(response, sign_in, {"email": self.email, "password": self.password})
        pattern = r"(?i)approve|allow|connect" if decision == "approve" else r"(?i)deny|cancel|refuse"
        for form in forms:
            for text, button in form.buttons.items():
                if re.search(pattern, text):
                    return await self._submit(response, form, self._chosen_tenant(form) | dict([button]))
        raise AssertionError(f"no way on from {response.url}: {response.text[:1000]}")

    def _chosen_tenant(self, form: Form) -> dict[str, str]:
        if self.tenant is None or not form.radios:
            return {}
        return {next(iter(form.radios)): self.tenant}

    async def _submit(self, response: httpx2.Response, form: Form, filled: dict[str, str]) -> httpx2.Response:
        target = urljoin(str(response.url), form.action) if form.action else str(response.url)
        assert urlsplit(target).netloc == urlsplit(self.origin).netloc
        values = {name: value for name, value in (form.fields | filled).items() if name}
        headers = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin"}
        return await self.http.post(target, data=values, headers=headers, follow_redirects=False)
