"""The application factory of a worker process: the gateway's own, tied to the supervisor that started the process."""

from gateway_proxy import app
from gateway_proxy.cli.parent_death import end_with_parent


def create_app() -> app.Gateway:
    """Called by uvicorn in each worker; settings come from the environment that the supervisor left."""
    end_with_parent()
    return app.create_app()
