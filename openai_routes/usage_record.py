"""Who spent what: one audit event for each chat, and how many chats one user may have open. No content is recorded."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import RateLimited
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.telemetry.audit import AuditTrail
from gateway_proxy.telemetry.metrics import Metrics
from openai_routes.errors import reason_of, wire_error
from openai_routes.targets import Target
from openai_routes.turn import Spent
from openai_routes.wire import Usage

PER_USER: Final = 100
"""Open chats of one user in one worker. A team's Open WebUI calls with one token, so this is a team's number."""
PER_WORKER: Final = 1000
PLAIN: Final = "(a model of the provider)"
"""Stands in metrics for names that clients choose: their number has no bound."""


@dataclass
class ChatRecord:
    """One chat, while it runs. `is_complete` is set by whoever sees the loop's last event."""

    is_complete: bool = False


@dataclass
class ChatRecorder:
    """Counts open chats and writes down what each came to."""

    audit: AuditTrail
    metrics: Metrics
    clock: Clock
    _open: dict[tuple[str, str], int] = field(default_factory=dict)
    _total: int = 0

    @asynccontextmanager
    async def record(
        self, ctx: TenantContext, target: Target, model: str, task: str | None, spent: Callable[[], Spent]
    ) -> AsyncGenerator[ChatRecord, None]:
        """Hold a place for one chat, and record it when it is over, however it ends.

        Raises:
            RateLimited: The user, or this worker, has as many open chats as allowed.
        """
        key = (ctx.tenant.id, ctx.principal.user_id)
        if self._open.get(key, 0) >= PER_USER or self._total >= PER_WORKER:
            raise RateLimited(1.0)
        self._open[key] = self._open.get(key, 0) + 1
        self._total += 1
        record = ChatRecord()
        started = self.clock.monotonic()
        outcome = reason = "cancelled"
        try:
            yield record
            outcome = reason = "ok" if record.is_complete else "cancelled"
        except Exception as error:
            outcome, reason = wire_error(error).code or "error", reason_of(error)
            raise
        finally:
            self._total -= 1
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
            self._write(ctx, target, model, task, spent(), outcome, self.clock.monotonic() - started)
            self._count(ctx, target, spent().usage, reason)

    def _write(
        self,
        ctx: TenantContext,
        target: Target,
        model: str,
        task: str | None,
        spent: Spent,
        outcome: str,
        seconds: float,
    ) -> None:
        usage = spent.usage
        self.audit.record(
            "chat.completed",
            tenant_id=ctx.tenant.id,
            user_id=ctx.principal.user_id,
            assistant=target.name,
            provider=target.provider.name,
            model=model,
            task=task,
            outcome=outcome,
            milliseconds=round(seconds * 1000),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            rounds=spent.rounds,
            tool_calls=spent.calls,
        )

    def _count(self, ctx: TenantContext, target: Target, usage: Usage, reason: str) -> None:
        """In metrics an outcome is one of our reasons: a provider's codes have no bound."""
        self.metrics.chat_ended(
            ctx.tenant.slug,
            PLAIN if target.is_plain else target.name,
            reason,
            prompt=usage.prompt_tokens,
            cached=usage.prompt_tokens_details.cached_tokens,
            completion=usage.completion_tokens,
        )
