"""Serve the demo tools on stdin and stdout."""

from gateway_proxy.demo.server import build_server

if __name__ == "__main__":
    build_server().run("stdio")
