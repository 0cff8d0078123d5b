"""Which model a provider offers first, for `mcp-gateway` where no assistant names one. Asked by chats only."""

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.provider import Provider
from openai_routes.errors import ProviderMisbehaved
from openai_routes.providers.kinds import provider_line
from openai_routes.providers.transport import ProviderConnections

FRESH_SECONDS: Final = 300.0
LIST_LIMIT: Final = 4 * 1024 * 1024
NOT_FOR_CHAT: Final = re.compile(
    r"""
    embed | rerank | moderation | guard | shield | whisper | transcri | audio | speech | realtime
    | image | dall-e | diffusion
    | gpt-3\.5-turbo-instruct | instruct-beta               # completions only; elsewhere "instruct" is what chats
    | (?:gpt-[0-9.]+|(?<![a-z0-9])o[0-9])-(?:codex|pro)(?![a-z]) | codex-mini | deep-research | computer-use
                                                            # OpenAI's for responses only
    | (?<![a-z0-9])(?:
        tts | stt | asr | ocr | sora | veo | flux            # speech, text in pictures, pictures, films
        | bge | gte | e5 | minilm | paraphrase | colbert     # embeddings that do not say so
        | davinci | babbage | curie | ada | aqa              # completions and answers of old
      )(?![a-z])
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What is no chat model, by the names that OpenAI, Mistral, Google, Ollama, LM Studio and vLLM give."""


class _Card(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Card]


@dataclass
class OfferedModels:
    """Asks `GET {base_url}/models` and keeps the answer for five minutes."""

    connections: ProviderConnections
    clock: Clock
    _kept: dict[tuple[str, str, int], tuple[float, str]] = field(default_factory=dict)

    async def find_model(self, provider: Provider) -> str:
        """The first model that does not look like one for embeddings, completions, speech or pictures.

        Raises:
            ChatError: The provider cannot be asked, or offers none.
        """
        key = (provider.tenant_id, provider.id, provider.revision)
        kept = self._kept.get(key)
        if kept is not None and self.clock.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        line = provider_line(provider, self.connections)
        async with line.request("GET", "/models", b"", headers=(), may_retry=True) as reply:
            body = await line.read(reply, limit=LIST_LIMIT)
        try:
            offered = [card.id for card in msgspec.json.decode(body, type=_List).data]
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderMisbehaved(provider.name, "its list of models cannot be read") from None
        for model in offered:
            if NOT_FOR_CHAT.search(model) is None:
                self._kept[key] = (self.clock.monotonic(), model)
                return model
        raise ProviderMisbehaved(provider.name, "it offers no model for chat")
