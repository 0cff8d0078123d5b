"""What the children share: JSON-RPC lines on stdin and stdout, nothing else. Standard library only, quick to start."""

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
_lock = threading.Lock()


def say(message: Message) -> None:
    """Write one message."""
    with _lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def answer(request: Message, text: str, **more: Any) -> None:
    """Answer a tools/call with one text."""
    result = {"content": [{"type": "text", "text": text}], **more}
    say({"jsonrpc": "2.0", "id": request["id"], "result": result})


def progress(request: Message, done: float) -> None:
    """Report progress, if the caller asked for it."""
    token = request["params"].get("_meta", {}).get("progressToken")
    if token is not None:
        say(
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": token, "progress": done, "message": request["params"]["name"]},
            }
        )


def serve(
    tools: dict[str, Callable[[Message], None]],
    *,
    on_other: Callable[[Message], None] | None = None,
    threads: bool = False,
) -> None:
    """Answer until stdin ends. Each tool gets the whole request and answers it itself."""
    for line in sys.stdin:
        message: Message = json.loads(line)
        method = message.get("method")
        if method == "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "child", "version": "1"},
            }
            say({"jsonrpc": "2.0", "id": message["id"], "result": result})
        elif method == "ping":
            say({"jsonrpc": "2.0", "id": message["id"], "result": {}})
        elif method == "tools/list":
            listed = [{"name": name, "inputSchema": {"type": "object"}} for name in tools]
            say({"jsonrpc": "2.0", "id": message["id"], "result": {"tools": listed}})
        elif method == "tools/call":
            tool = tools[message["params"]["name"]]
            if threads:
                threading.Thread(target=tool, args=(message,), daemon=True).start()
            else:
                tool(message)
        elif method is not None and "id" in message:
            say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
        elif on_other is not None:
            on_other(message)
