"""The protocol revisions that we speak, and which era each belongs to. Only names; a test holds them to the SDK's."""

from typing import Final

HANDSHAKE_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Reached through `initialize`."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Reached through the `MCP-Protocol-Version` header and the `_meta` of every request."""

LATEST_HANDSHAKE_VERSION: Final = HANDSHAKE_VERSIONS[-1]
"""What a client is offered that asks for a version that we do not know."""

ASSUMED_VERSION: Final = "2025-03-26"
"""What a legacy request without session and header is taken for (MCP 2025-11-25, Protocol Version Header)."""

BATCH_VERSION: Final = "2025-03-26"
"""The one revision with JSON-RPC batches."""
