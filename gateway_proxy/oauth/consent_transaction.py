"""The signed transaction in the consent form: the request that was shown, to whom, in which browser. No state is kept.

It carries the authorization request's own query, which is validated again when the form comes back, so nothing in it is
believed but that we showed it.
"""

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from gateway_proxy.browser.signing import Signing
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.oauth_errors import (
    ConsentStale,
)

PURPOSE: Final = "authorize"


@dataclass(frozen=True, slots=True)
class ConsentTransaction:
    """`query` is the query string of the authorization request, in ASCII; `binding` names the browser."""

    id: str
    query: str
    user_id: str
    binding: str


@dataclass(frozen=True)
class ConsentTransactions:
    """Signs transactions and reads them back within `ttl` seconds."""

    signing: Signing
    ttl: float

    def sign(self, *, query: str, user_id: str, binding: str) -> str:
        """A new transaction, as the value of a hidden field."""
        transaction = ConsentTransaction(new_id(), query, user_id, binding)
        return self.signing.sign(PURPOSE, json.dumps(asdict(transaction)))

    def get(self, signed: str, *, user_id: str, binding: str) -> ConsentTransaction:
        """The transaction, if it was shown to this user in this browser.

        Raises:
            ConsentStale: Altered, too old, or shown to somebody else.
        """
        text = self.signing.find(PURPOSE, signed, max_age=timedelta(seconds=self.ttl))
        if text is None:
            raise ConsentStale
        transaction = ConsentTransaction(**json.loads(text))
        if transaction.user_id != user_id or transaction.binding != binding:
            raise ConsentStale
        return transaction
