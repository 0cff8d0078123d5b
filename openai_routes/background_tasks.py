"""Open WebUI's background tasks (titles, tags, follow-ups): they go to the same model, and must not run tools.

Three of the four requests of a first message are of this kind. They are told by a header that the operator sets on the
connection (`X-OpenWebUI-Task: {{TASK}}`, empty for the real chat), else by their prompt.
"""

from typing import Final

from openai_routes.chat_request import ChatRequest, text_of
from openai_routes.endpoint import Inbound

HEADERS: Final = (b"x-openwebui-task", b"x-gateway-task")
PROMPT: Final = "### Task:"
NAME_LIMIT: Final = 64
WITHOUT_PROVIDER: Final = '{"title": "Tools of the gateway", "tags": [], "follow_ups": [], "queries": []}'
"""What a task gets where no model can be asked: it holds what each of the tasks looks for."""


def background_task(inbound: Inbound, request: ChatRequest) -> str | None:
    """The name of the task that the request is, None for a chat."""
    for header in HEADERS:
        value = inbound.header(header)
        if value is not None:
            return value.strip()[:NAME_LIMIT] or None
    if request.roles == ("user",) and not request.tools and text_of(request.messages[0], 0).startswith(PROMPT):
        return "unnamed"
    return None
