"""What stands behind a model name: which provider and model, which tools, and with what settings. Decided here only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway_proxy.domain.assistant import Assistant
from gateway_proxy.domain.provider import Provider
from openai_routes.agent_loop import Budget
from openai_routes.assistants import TenantModels
from openai_routes.errors import ModelUnknown, ProviderMissing
from openai_routes.tool_results import RESULT_LIMIT
from openai_routes.wire import GATEWAY_MODEL

ProgressMode = Literal["none", "reasoning", "openwebui"]
PROGRESS_MODES: Final[tuple[ProgressMode, ...]] = ("none", "reasoning", "openwebui")


@dataclass(frozen=True, slots=True)
class Target:
    """A model of ours, resolved. `model` None means: whatever the provider offers first.

    `servers` None means every tool server of the tenant. `defaults` give way to what the client asks for, `extra` is
    merged over it.
    """

    name: str
    provider: Provider
    model: str | None
    system_prompt: str = ""
    servers: Collection[str] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    progress: ProgressMode = "none"
    sees_images: bool = False
    strips_thoughts: bool = False
    result_limit: int = RESULT_LIMIT
    task_model: str | None = None
    is_plain: bool = False
    """Whether the name is the client's own word for a model of the provider, and no name of ours."""


def find_target(models: TenantModels, name: str) -> Target | None:
    """The target that `name` stands for; None for `mcp-gateway` in a tenant without a provider.

    A provider called `default` also serves every other name as a plain model with all tools, as the OpenAI proxy did
    that this gateway replaces (compatibility A8).

    Raises:
        ModelUnknown: No such model.
        ProviderMissing: The assistant's provider is not configured.
    """
    assistant = models.assistants.get(name)
    if assistant is not None:
        return _of_assistant(models, assistant)
    if name == GATEWAY_MODEL:
        return _of_gateway(models)
    provider = models.providers.get("default")
    if provider is None:
        raise ModelUnknown(name)
    return Target(name, provider, name, is_plain=True)


def _of_gateway(models: TenantModels) -> Target | None:
    """All tools of the tenant, on the model of its first assistant, else on what the default provider offers first."""
    for name in sorted(models.assistants):
        assistant = models.assistants[name]
        if assistant.provider in models.providers:
            return Target(GATEWAY_MODEL, models.providers[assistant.provider], assistant.model)
    provider = models.default_provider()
    if provider is None and models.providers:
        provider = models.providers[min(models.providers)]
    return None if provider is None else Target(GATEWAY_MODEL, provider, None)


def _of_assistant(models: TenantModels, assistant: Assistant) -> Target:
    provider = models.providers.get(assistant.provider)
    if provider is None:
        raise ProviderMissing(assistant.provider)
    options = assistant.options
    sampling = {
        "temperature": assistant.temperature,
        "top_p": assistant.top_p,
        "max_tokens": assistant.max_tokens,
    }
    progress = options.get("progress")
    return Target(
        assistant.name,
        provider,
        assistant.model,
        assistant.system_prompt,
        assistant.mcp_servers,
        {name: value for name, value in sampling.items() if value is not None},
        assistant.extra_body,
        Budget(
            rounds=assistant.max_tool_iterations,
            calls_per_round=_positive(options, "max_calls_per_round", 16),
            seconds=float(_positive(options, "max_seconds", 540)),
        ),
        progress if progress in PROGRESS_MODES else "none",
        sees_images=options.get("vision") is True,
        strips_thoughts=options.get("strip_think") is True,
        result_limit=_positive(options, "max_result_bytes", RESULT_LIMIT),
        task_model=task if isinstance(task := options.get("task_model"), str) and task else None,
    )


def _positive(options: Mapping[str, Any], name: str, default: int) -> int:
    value = options.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default
