"""/ready: whether what a worker stands on answers."""

from functools import partial

from starlette.requests import Request

from gateway_proxy.edge.health import Draining, Readiness
from gateway_proxy.storage.redis.client import open_redis, ping_redis

REQUEST = Request({"type": "http", "method": "GET", "path": "/ready", "headers": []})
NOBODY = "redis://127.0.0.1:1/0"


async def test_a_worker_whose_redis_answers_is_ready(redis_url: str) -> None:
    """Contract, `/ready`: 200."""
    redis = open_redis(redis_url)
    response = await Readiness({"redis": partial(ping_redis, redis)}, Draining()).handle(REQUEST)
    assert response.status_code == 200
    await redis.aclose()


async def test_a_worker_whose_redis_refuses_is_not_ready_and_says_so() -> None:
    """Contract, `/ready`: 200 or 503, and nothing else."""
    redis = open_redis(NOBODY)
    response = await Readiness({"redis": partial(ping_redis, redis)}, Draining()).handle(REQUEST)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    await redis.aclose()


async def test_a_worker_that_is_being_stopped_is_not_ready(redis_url: str) -> None:
    """Security F11: a proxy sends nothing new to it."""
    redis = open_redis(redis_url)
    draining = Draining(is_draining=True)
    response = await Readiness({"redis": partial(ping_redis, redis)}, draining).handle(REQUEST)
    assert response.status_code == 503
    await redis.aclose()
