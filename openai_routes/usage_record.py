"""Who spent what: one audit event for each chat, and how many chats one user may have open. No content is recorded."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway_proxy.domain.clock import Clock
from gateway_proxy.domain.errors import RateLimited
from gateway_proxy.domain.tenant import TenantContext
from gateway_proxy.telemetry.audit import AuditTrail
from openai_routes.errors import wire_error
from openai_routes.targets import Target
from openai_routes.turn import LoopEnded

PER_USER: Final = 100
"""Open chats of one user in one worker. A team's Open WebUI calls with one token, so this is a team's number."""
PER_WORKER: Final = 1000


@dataclass
class ChatRecord:
    """One chat, while it runs. `ended` is set by whoever sees the loop's last event."""

    ended: LoopEnded | None = None


@dataclass
class ChatRecorder:
    """Counts open chats and writes down what each came to."""

    audit: AuditTrail
    clock: Clock
    _open: dict[tuple[str, str], int] = field(default_factory=dict)
    _total: int = 0

    @asynccontextmanager
    async def record(
        self, ctx: TenantContext, target: Target, model: str, task: str | None
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
        outcome = "cancelled"
        try:
            yield record
            outcome = "ok" if record.ended is not None else "cancelled"
        except Exception as error:
            outcome = wire_error(error).code or "error"
            raise
        finally:
            self._total -= 1
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
            self._write(ctx, target, model, task, record, outcome, self.clock.monotonic() - started)

    def _write(
        self,
        ctx: TenantContext,
        target: Target,
        model: str,
        task: str | None,
        record: ChatRecord,
        outcome: str,
        seconds: float,
    ) -> None:
        ended = record.ended
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
            prompt_tokens=ended.usage.prompt_tokens if ended else 0,
            completion_tokens=ended.usage.completion_tokens if ended else 0,
            rounds=ended.rounds if ended else 0,
            tool_calls=ended.calls if ended else 0,
        )
