# Image satseg/serving: the real-time service. Built by `make images`; needs BuildKit.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS tools
WORKDIR /build
COPY requirements.txt .
RUN grep -E '^(uv|setuptools)==' requirements.txt > tools.txt && \
    python3 -m venv /opt/tools && \
    /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check -r tools.txt

FROM tools AS packages
COPY docker/requirements/serving.txt packages.txt
# TensorFlow's C++ headers (430 MB) serve nobody who runs Python
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 -m venv --without-pip /opt/satseg && \
    /opt/tools/bin/uv pip install --python /opt/satseg/bin/python --link-mode copy --compile-bytecode --no-deps \
        -r packages.txt && \
    rm -rf /opt/satseg/lib/python3.11/site-packages/tensorflow/include

# a layer of its own: another commit does not copy the packages again
FROM packages AS code
COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN /opt/tools/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/tools/bin/uv pip install --python /opt/satseg/bin/python --compile-bytecode --no-deps dist/*.whl && \
    mkdir -p /code/lib/python3.11/site-packages /code/bin && \
    mv /opt/satseg/lib/python3.11/site-packages/satseg* /code/lib/python3.11/site-packages/ && \
    mv /opt/satseg/bin/satseg /code/bin/

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --home-dir /tmp satseg && install -d -o satseg /workspace
COPY --from=packages /opt/satseg /opt/satseg
COPY --from=code /code /opt/satseg
COPY include/projects /opt/satseg/projects
# 0.0.0.0 is the container's own network; without SATSEG_SERVE_KEYS the service refuses to start on it
ENV PATH=/opt/satseg/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SATSEG_PROJECTS_DIR=/opt/satseg/projects \
    SATSEG_SERVE_HOST=0.0.0.0 \
    SATSEG_SERVE_PORT=8600 \
    SATSEG_WORKSPACE=/workspace
USER 10001
WORKDIR /workspace
EXPOSE 8600
ENTRYPOINT ["satseg", "serve"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-c", "import os, urllib.request; \
    urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"SATSEG_SERVE_PORT\"]}/healthz', timeout=5)"]
ARG VERSION=0
ARG GIT_COMMIT=unknown
ENV SATSEG_CODE_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="satseg serving" \
      org.opencontainers.image.description="Real-time service of satseg's champion models" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
