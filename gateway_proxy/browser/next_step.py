"""Where a person goes after signing in: a local address that only we can name, carried by the sign-in form.

No open redirect: what is not signed by us, or leads anywhere but to a path of ours, is never followed.
"""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from gateway_proxy.browser.signing import Signing

LIFETIME: Final = timedelta(minutes=10)
PURPOSE: Final = "next"


@dataclass(frozen=True, slots=True)
class NextStep:
    """A path (with query) of ours; for an authorization request also who asks, so that the page can be shown again.

    `redirect_uri` has been validated against the client: its origin goes into the page's `form-action`.
    """

    path: str
    client_name: str | None = None
    redirect_uri: str | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.path[1:2] in {"/", "\\"} or not self.path.isprintable():
            raise ValueError("the next step must be a path of ours")


class NextSteps:
    """Signs next steps into a form and reads them back for ten minutes."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing

    def sign(self, step: NextStep) -> str:
        """The value of the form's hidden field `next`."""
        return self._signing.sign(PURPOSE, json.dumps(asdict(step), ensure_ascii=False))

    def find(self, signed: str) -> NextStep | None:
        """The step behind `signed`, or None when it is not ours or too old."""
        text = self._signing.find(PURPOSE, signed, max_age=LIFETIME)
        return None if text is None else NextStep(**json.loads(text))
