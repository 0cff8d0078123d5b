"""Which translator and which credentials belong to a kind of provider. The one place where the kinds are listed."""

from gateway_proxy.domain.provider import Provider
from openai_routes.providers.anthropic import VERSION, AnthropicProvider
from openai_routes.providers.openai import OpenAIProvider
from openai_routes.providers.transport import ProviderConnections, ProviderLine
from openai_routes.turn import ProviderApi


def provider_line(provider: Provider, connections: ProviderConnections) -> ProviderLine:
    """A line to `provider` with its own key, as its kind wants it."""
    if provider.kind == "anthropic":
        credentials = [("anthropic-version", VERSION)]
        if provider.api_key:
            credentials.append(("x-api-key", provider.api_key))
    else:
        credentials = [("authorization", f"Bearer {provider.api_key}")] if provider.api_key else []
    return ProviderLine(provider, tuple(credentials), connections)


def provider_api(provider: Provider, connections: ProviderConnections) -> ProviderApi:
    """The API of `provider` as the loop uses it."""
    line = provider_line(provider, connections)
    return AnthropicProvider(line) if provider.kind == "anthropic" else OpenAIProvider(line)
