"""The extension `io.modelcontextprotocol/tasks` (SEP-2663), which the SDK does not have: raw, in front of its handlers.

A client that declares the extension gets a task for each call of one of these tools; it asks for its state, answers its
questions and cancels it by methods of their own. Tasks live in memory.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support.everything.parts import Context, Json, content, form, text

EXTENSION = "io.modelcontextprotocol/tasks"
TTL_MILLISECONDS = 60_000
POLL_MILLISECONDS = 200
SECONDS_UNTIL_FAILURE = 0.5


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Task:
    """What a job does and has done."""

    can_ask: bool = True
    task_id: str = field(default_factory=lambda: uuid4().hex)
    created_at: str = field(default_factory=_now)
    changed_at: str = field(default_factory=_now)
    status: str = "working"
    outcome: Json = field(default_factory=dict)
    questions: Json = field(default_factory=dict)
    answers: Json = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None

    def turn(self, status: str, **outcome: Json) -> None:
        """Go on to another state."""
        self.status, self.outcome, self.changed_at = status, outcome, _now()

    async def ask(self, **questions: Json) -> Json:
        """Wait until the client has answered all of `questions`; without a way to ask, go on with none answered."""
        if not self.can_ask:
            return {}
        self.questions = dict(questions)
        self.answered.clear()
        self.turn("input_required")
        await self.answered.wait()
        self.turn("working")
        return self.answers

    def answer(self, answers: Mapping[str, Any]) -> None:
        """Take answers to open questions; others are ignored."""
        for name in answers.keys() & self.questions.keys():
            self.answers[name] = answers[name]
            del self.questions[name]
        if not self.questions:
            self.answered.set()

    def describe(self) -> Json:
        """The members that every message about a task has."""
        return {
            "taskId": self.task_id,
            "status": self.status,
            "createdAt": self.created_at,
            "lastUpdatedAt": self.changed_at,
            "ttlMs": TTL_MILLISECONDS,
            "pollIntervalMs": POLL_MILLISECONDS,
        }

    def describe_whole(self) -> Json:
        """The answer to tasks/get."""
        whole = {"resultType": "complete", **self.describe(), **self.outcome}
        return whole | {"inputRequests": self.questions} if self.status == "input_required" else whole


Job = Callable[[Task, Json], Awaitable[Json]]


async def _compute(task: Task, arguments: Json) -> Json:
    await asyncio.sleep(float(arguments.get("seconds", 0)))
    return content(text(f"Computed {arguments.get('label', 'something')}"))


async def _fail(task: Task, arguments: Json) -> Json:
    await asyncio.sleep(SECONDS_UNTIL_FAILURE)
    return content(text("The job failed, as it always does")) | {"isError": True}


async def _break(task: Task, arguments: Json) -> Json:
    raise MCPError(types.INTERNAL_ERROR, "The job broke")


def _question(message: str) -> Json:
    parameters = form(message, {"confirm": {"type": "boolean"}}) | {"mode": "form"}
    return {"method": "elicitation/create", "params": parameters}


async def _confirm(task: Task, arguments: Json) -> Json:
    answers = await task.ask(confirm=_question("Delete it?"))
    return content(text(f"Answered: {sorted(answers)}"))


async def _confirm_twice(task: Task, arguments: Json) -> Json:
    answers = await task.ask(first=_question("First?"), second=_question("Second?"))
    return content(text(f"Answered: {sorted(answers)}"))


async def _greet_by_name(task: Task, arguments: Json) -> Json:
    return content(text(f"Hello, {arguments['name']}!"))


JOBS: dict[str, Job] = {
    "slow_compute": _compute,
    "failing_job": _fail,
    "protocol_error_job": _break,
    "confirm_delete": _confirm,
    "multi_input": _confirm_twice,
    "test_tool_with_task": _greet_by_name,
}
ONLY_AS_TASK = frozenset({"failing_job", "test_tool_with_task"})
ASK_NAME = {
    "method": "elicitation/create",
    "params": form("What is your name?", {"name": {"type": "string"}}) | {"mode": "form"},
}


def definitions() -> list[Json]:
    """The entries of tools/list."""
    schema = {"type": "object", "properties": {"seconds": {"type": "number"}, "label": {"type": "string"}}}
    return [{"name": name, "description": "Runs as a task", "inputSchema": schema} for name in JOBS]


class TaskBoundary:
    """Middleware: answers calls of the jobs and the methods of tasks, and leaves everything else alone."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._methods = {"tasks/get": self._get, "tasks/update": self._update, "tasks/cancel": self._cancel}

    async def __call__(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Answer `ctx` or hand it on."""
        params = ctx.params or {}
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS and ctx.method in self._methods:
            _require_extension(ctx)
            return await self._methods[ctx.method](self._find(ctx, params), params)
        if ctx.method == "tools/call" and params.get("name") in JOBS:
            return await self._call(ctx, params["name"], params.get("arguments") or {})
        return await call_next(ctx)

    async def _call(self, ctx: Context, name: str, arguments: Json) -> Json:
        if not _declares_extension(ctx):
            if name in ONLY_AS_TASK:
                _require_extension(ctx)
            return {"resultType": "complete", **await JOBS[name](Task(can_ask=False), arguments)}
        if name == "test_tool_with_task":
            answer = ((ctx.params or {}).get("inputResponses") or {}).get("user_name")
            if answer is None:
                return {"resultType": "input_required", "inputRequests": {"user_name": ASK_NAME}}
            arguments = answer.get("content") or {}
        task = Task()
        self._tasks[task.task_id] = task
        task.work = asyncio.create_task(_work(task, JOBS[name], arguments))
        return {"resultType": "task", **task.describe()}

    def _find(self, ctx: Context, params: Mapping[str, Any]) -> Task:
        task_id = params.get("taskId")
        header = ctx.request.headers.get("mcp-name") if ctx.request is not None else task_id
        if header != task_id:
            raise MCPError(types.HEADER_MISMATCH, "Mcp-Name does not match params.taskId")
        task = self._tasks.get(str(task_id))
        if task is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown task: {task_id}")
        return task

    async def _get(self, task: Task, params: Mapping[str, Any]) -> Json:
        return task.describe_whole()

    async def _update(self, task: Task, params: Mapping[str, Any]) -> Json:
        task.answer(params.get("inputResponses") or {})
        return {"resultType": "complete"}

    async def _cancel(self, task: Task, params: Mapping[str, Any]) -> Json:
        if task.work is not None and not task.work.done():
            task.work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task.work
            task.turn("cancelled")
        return {"resultType": "complete"}


async def _work(task: Task, job: Job, arguments: Json) -> None:
    try:
        result = await job(task, arguments)
    except MCPError as error:
        task.turn("failed", error={"code": error.error.code, "message": error.error.message})
    else:
        task.turn("completed", result=result)


def _declares_extension(ctx: Context) -> bool:
    capabilities = ctx.session.client_capabilities
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False  # the extension belongs to 2026-07-28
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def _require_extension(ctx: Context) -> None:
    if not _declares_extension(ctx):
        required: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This needs the extension for tasks", required)
