"""A word between an ASGI application and a server that understands it: the head of an answer may bring the whole body.

A server that does names the extension in the scope. What wraps `send` on the way (CORS, request ids) sees the head as
always, and passes the message on.
"""

from typing import Final

EXTENSION: Final = "gateway.whole_answer"
BODY: Final = "gateway.body"
"""The key under which an `http.response.start` message has the body; no other message follows then."""
