"""Refusals of the door in the plain words of the surfaces that have no dialect of their own: JSON-RPC and /admin."""

import json


def json_rpc_body(status: int, code: str, message: str) -> tuple[bytes, str]:
    """A JSON-RPC error without an id: the request was not read (MCP, Streamable HTTP)."""
    number = -32000 if status in (429, 503) else -32001
    error = {"code": number, "message": message, "data": {"reason": code}}
    return json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode(), "application/json"


def admin_body(status: int, code: str, message: str) -> tuple[bytes, str]:
    """The error shape of /admin: one sentence, and details."""
    return json.dumps({"error": message, "details": [code]}).encode(), "application/json"
