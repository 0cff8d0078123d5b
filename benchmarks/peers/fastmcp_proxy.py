"""The proxy of fastmcp, as its documentation shows it. Run by a Python that has fastmcp: PYTHON this-file PORT URL."""

import sys

from fastmcp.server import create_proxy  # type: ignore[import-not-found] # is in that Python, not in ours

if __name__ == "__main__":
    proxy = create_proxy(sys.argv[2], name="proxy")
    proxy.run(
        transport="http", host="127.0.0.1", port=int(sys.argv[1]), path="/mcp", log_level="warning", show_banner=False
    )
