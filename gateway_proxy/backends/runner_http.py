"""The gateway's client of the runner: have a child, stop a child. What a child says goes the way of every backend."""

from typing import Final

import msgspec

from gateway_proxy.backends.faults import relay_error
from gateway_proxy.domain.backend import Backend
from gateway_proxy.domain.errors import BackendUnavailable, EgressError
from gateway_proxy.egress.exchange import Http, RequestHeaders

SSE_START_TIMEOUT: Final = 20.0
IDLE_TIMEOUT: Final = 900.0
MAX_CHILDREN_PER_TENANT: Final = 20
ANSWER_LIMIT: Final = 64 * 1024
FAULT_LIMIT: Final = 512 * 1024
_ANSWER_SECONDS: Final = 30.0  # it answers once the process runs, and before that opens the stream of an SSE server
_REASONS: Final = {
    "bad_spec": "its definition was refused by the runner",
    "command_not_allowed": "its command is not on the runner's allow-list",
    "tenant_limit": "the tenant runs as many servers as it may",
    "runner_full": "the runner hosts as many servers as it may",
    "busy": "it has too many calls under way",
    "start_failed": "it could not be started",
    "breaker_open": "it failed repeatedly and is left alone for a while",
}


class LaunchSpec(msgspec.Struct, frozen=True, omit_defaults=False):
    """The body of `PUT /children/{key}`; times in seconds, sizes in bytes. See the runner for what each means."""

    tenant: str
    label: str
    transport: str
    command: str | None
    args: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None
    url: str | None
    headers: dict[str, str]
    encoding: str
    encoding_error_handler: str
    start_timeout: float
    idle_timeout: float
    max_per_tenant: int
    exclusive: bool
    connect_to: list[str] | None


class Child(msgspec.Struct):
    """A child that runs: the path of its MCP endpoint, and which life of it this is."""

    path: str
    instance: str


class Fault(msgspec.Struct):
    """Why a child ended or did not start, in the runner's words, and the last lines that it wrote, as it wrote them."""

    reason: str
    stderr: list[str]


class _Refusal(msgspec.Struct):
    error: str = ""


class RunnerHttp:
    """One runner, reached over `http` with its key."""

    def __init__(self, http: Http, *, key: str, max_children_per_tenant: int = MAX_CHILDREN_PER_TENANT) -> None:
        self.http = http
        self.headers = RequestHeaders([("authorization", f"Bearer {key}")])
        self._json = self.headers.plus(("content-type", "application/json"), ("accept", "application/json"))
        self._max_children = max_children_per_tenant

    async def ensure_child(
        self, key: str, backend: Backend, *, transport: str, is_exclusive: bool, connect_to: list[str] | None
    ) -> Child:
        """Have the child behind `key` running.

        Raises:
            BackendUnavailable: The runner cannot be reached, or would not or could not start it.
        """
        spec = LaunchSpec(
            tenant=backend.tenant_id,
            label=backend.name,
            transport=transport,
            command=backend.command if transport == "stdio" else None,
            args=backend.args,
            env=dict(backend.env),
            cwd=backend.cwd,
            url=backend.url if transport == "sse" else None,
            headers=dict(backend.headers) if transport == "sse" else {},
            encoding=backend.encoding,
            encoding_error_handler=backend.encoding_error_handler,
            start_timeout=backend.start_timeout if transport == "stdio" else SSE_START_TIMEOUT,
            idle_timeout=IDLE_TIMEOUT,
            max_per_tenant=self._max_children,
            exclusive=is_exclusive,
            connect_to=connect_to,
        )
        status, body, retry_after = await self._ask("PUT", f"/children/{key}", msgspec.json.encode(spec), backend.name)
        if status != 200:
            raise BackendUnavailable(backend.name, retry_after, _reason_of(status, body))
        try:
            return msgspec.json.decode(body, type=Child)
        except msgspec.MsgspecError:
            raise BackendUnavailable(backend.name, None, "the runner answered something else") from None

    async def stop_child(self, key: str, backend_name: str) -> None:
        """Stop the child behind `key`, if there is one.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        await self._ask("DELETE", f"/children/{key}", b"", backend_name)

    async def find_fault(self, key: str, backend_name: str) -> Fault | None:
        """Why the child behind `key` does not work, if the runner knows.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        status, body, _ = await self._ask("GET", f"/children/{key}/fault", b"", backend_name, limit=FAULT_LIMIT)
        if status != 200:
            return None
        try:
            return msgspec.json.decode(body, type=Fault)
        except msgspec.MsgspecError:
            return None

    async def forget_cache(self, backend: Backend) -> None:
        """The definition is gone: what its children downloaded can go, too. A runner without caches knows of none.

        Raises:
            BackendUnavailable: The runner cannot be reached.
        """
        owner = msgspec.json.encode({"tenant": backend.tenant_id, "label": backend.name})
        await self._ask("DELETE", "/caches", owner, backend.name)

    async def close(self) -> None:
        """Close the connections; the children live on."""
        await self.http.close()

    async def _ask(
        self, method: str, path: str, body: bytes, backend: str, *, limit: int = ANSWER_LIMIT
    ) -> tuple[int, bytes, float | None]:
        timeout = _ANSWER_SECONDS
        try:
            reply = await self.http.send(method, path, self._json, body, timeout=timeout)
            try:
                answer = await reply.read(limit=limit, timeout=timeout)
                return reply.status, answer, read_retry_after(reply.header("retry-after"))
            finally:
                await reply.close()
        except EgressError as error:
            problem = relay_error(backend, error, seconds=timeout)
            raise BackendUnavailable(backend, None, "the runner cannot be reached") from problem


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header in its delta form, at most an hour; None for any other."""
    if value is None or not value.isdigit() or len(value) > 6:
        return None
    return min(float(value), 3600.0)


def find_refusal(body: bytes) -> str | None:
    """What the runner refused and why, in our words; None for a body that is not the runner's."""
    try:
        return _REASONS.get(msgspec.json.decode(body, type=_Refusal).error)
    except msgspec.MsgspecError:
        return None


def _reason_of(status: int, body: bytes) -> str:
    if status == 401:
        return "the runner refused our key"
    return find_refusal(body) or "the runner refused it"
