# syntax=docker/dockerfile:1
# Two images from one file: `gateway` (no compiler, no shell tools of tenants) and `runner` (the same code plus Node and
# uv, so that `npx` and `uvx` servers install on demand). Both run as uid 10001 and install only hash-locked packages.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/gateway
WORKDIR /src
COPY requirements.lock ./
RUN /opt/gateway/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE alembic.ini ./
COPY gateway_proxy gateway_proxy
COPY openai_routes openai_routes
COPY migrations migrations
RUN /opt/gateway/bin/pip install --no-deps --no-build-isolation . \
 && /opt/gateway/bin/python -m compileall -q /opt/gateway/lib

FROM python:3.13-slim-bookworm AS gateway
RUN groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid gateway --create-home --home-dir /var/lib/gateway gateway \
 && install -d -o gateway -g gateway -m 0700 /run/gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GATEWAY_DATA_DIR=/var/lib/gateway \
    GATEWAY_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/gateway
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.getenv('GATEWAY_PORT') or os.getenv('PORT') or 8000}/ready\", timeout=2)"]
ENTRYPOINT ["gateway-proxy"]
CMD ["serve"]

FROM gateway AS runner
USER 0:0
COPY --from=node:24-bookworm-slim /usr/local/bin/node /usr/local/bin/node
COPY --from=node:24-bookworm-slim /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /uvx /usr/local/bin/
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
USER 10001:10001
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["gateway-proxy", "runner", "--listen", "unix:/run/gateway/runner.sock", "--check"]
CMD ["runner", "--listen", "unix:/run/gateway/runner.sock"]
