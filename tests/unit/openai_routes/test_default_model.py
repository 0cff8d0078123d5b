"""Which model `mcp-gateway` uses where no assistant names one (compatibility C5)."""

import httpx2
import pytest

from gateway_proxy.domain.provider import Provider
from openai_routes.default_model import NOT_FOR_CHAT
from tests.support.llm.scripted import Said, ScriptedOpenAI
from tests.support.llm.serving import serve
from tests.support.llm.surface import FixedModels, surface

OTHERS = (
    # OpenAI
    "text-embedding-3-small", "text-embedding-ada-002", "davinci-002", "babbage-002", "text-davinci-003",
    "text-ada-001", "ada", "davinci-instruct-beta", "gpt-3.5-turbo-instruct", "gpt-3.5-turbo-instruct-0914",
    "whisper-1",
    "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-audio-preview",
    "gpt-audio-mini",
    "gpt-realtime", "gpt-4o-realtime-preview-2024-12-17", "dall-e-3", "gpt-image-1", "chatgpt-image-latest", "sora-2",
    "sora-2-pro", "omni-moderation-latest", "text-moderation-stable", "computer-use-preview", "o3-deep-research",
    "gpt-5-codex", "gpt-5.1-codex-max", "codex-mini-latest", "o1-pro", "gpt-5-pro", "gpt-5.2-pro-2025-12-11",
    # Mistral, Google, Groq
    "mistral-embed", "codestral-embed-2505", "mistral-moderation-latest", "mistral-ocr-latest", "playai-tts",
    "voxtral-mini-transcribe-2507", "models/gemini-embedding-001", "models/imagen-4.0-generate-001", "models/aqa",
    "models/veo-3.0-generate-001", "models/gemini-2.5-flash-preview-tts", "whisper-large-v3-turbo",
    "models/gemini-2.5-flash-image", "meta-llama/llama-guard-4-12b",
    # Ollama, LM Studio, vLLM
    "nomic-embed-text:latest", "mxbai-embed-large", "all-minilm:33m", "bge-m3:567m", "paraphrase-multilingual",
    "embeddinggemma:300m", "llama-guard3:8b", "shieldgemma:2b", "text-embedding-nomic-embed-text-v1.5",
    "BAAI/bge-reranker-v2-m3", "intfloat/e5-mistral-7b-instruct", "Alibaba-NLP/gte-Qwen2-7B-instruct",
    "openai/whisper-large-v3", "stabilityai/stable-diffusion-3.5-large", "black-forest-labs/FLUX.1-dev",
    "jinaai/jina-colbert-v2", "Qwen/Qwen3-Reranker-8B", "Qwen/Qwen3-ASR-1.7B", "deepseek-ocr:3b",
)  # fmt: skip
CHATS = (
    "gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo", "gpt-4-turbo-2024-04-09", "chatgpt-4o-latest", "o1", "o3-mini", "gpt-5.2",
    "gpt-4o-search-preview", "gpt-5-chat-latest", "gpt-4-prod", "gpt-oss:20b", "openai/gpt-oss-120b",
    "mistral-large-latest", "open-mistral-7b", "ministral-8b-latest", "codestral-latest", "devstral-small-2507",
    "voxtral-small-latest", "pixtral-12b", "models/gemini-2.5-pro", "claude-sonnet-4-5", "moonshotai/kimi-k2-instruct",
    "llama3.2:3b-instruct-q4_K_M", "mistral:7b-instruct", "qwen2.5-7b-instruct", "qwen3:0.6b", "gemma3:4b", "phi4-mini",
    "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct", "deepseek-r1:8b", "granite3.3:8b", "command-a",
    "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF", "canada-chat", "vicuna-13b", "llava:13b",
)  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_chat_model_is_left_out(name: str) -> None:
    """Names as the providers list them."""
    assert NOT_FOR_CHAT.search(name)


@pytest.mark.parametrize("name", CHATS)
def test_chat_models_stay(name: str) -> None:
    """Open models that chat are called `instruct`; only OpenAI's are for completions."""
    assert NOT_FOR_CHAT.search(name) is None


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (["text-embedding-3", "davinci-002", "gpt-4o", "gpt-5.2"], "gpt-4o"),
        (["llama3.2", "gpt-4o"], "llama3.2"),
        (["text-embedding-3", "sora-2"], None),
        ([], None),
    ],
)
async def test_the_first_one_that_is_left_is_used(offered: list[str], expected: str | None) -> None:
    """No other preference than the provider's own order; without any it is said."""
    upstream = ScriptedOpenAI([Said("Hi")], models=offered)
    async with serve(upstream.app()) as url:
        provider = Provider("p1", "t1", "default", "openai", "operator", 1, f"{url}/v1")
        async with (
            surface(FixedModels({}, {"t1": [provider]})) as app,
            serve(app) as base_url,
            httpx2.AsyncClient(base_url=base_url, verify=False) as http,
        ):
            body = {"model": "mcp-gateway", "messages": [{"role": "user", "content": "Hi"}]}
            answer = await http.post("/v1/chat/completions", json=body)
            if expected is None:
                assert answer.status_code == 502
                assert "it offers no model for chat" in answer.json()["error"]["message"]
            else:
                assert upstream.requests[0]["model"] == expected
