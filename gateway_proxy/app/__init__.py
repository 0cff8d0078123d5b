"""The composition root: builds every handler, mounts what is PUBLIC and what is PROTECTED, and puts the edge around.

The only room that sees every other. A route stands in exactly one of two lists (`public`, `protected`); the protected
ones are behind a door (`doors`), so no handler there can be reached without a verified principal and its tenant.
"""

from gateway_proxy.app.gateway import Gateway, create_app
from gateway_proxy.app.protected import admin_surface, openai_surface
from gateway_proxy.app.public import People, public_routes

__all__ = ["Gateway", "People", "admin_surface", "create_app", "openai_surface", "public_routes"]
