# Images satseg/satseg (stages on processors) and, with REQUIREMENTS=satseg-gpu, satseg/satseg-gpu (stages on NVIDIA
# GPUs). Built by `make images`; needs BuildKit.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

FROM ${BASE_IMAGE} AS tools
WORKDIR /build
COPY requirements.txt .
RUN grep -E '^(uv|setuptools)==' requirements.txt > tools.txt && \
    python3 -m venv /opt/tools && \
    /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check -r tools.txt

FROM tools AS packages
ARG REQUIREMENTS=satseg
COPY docker/requirements/${REQUIREMENTS}.txt packages.txt
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
# dataset versions are commits and tags
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=code /code /opt/satseg
COPY include/projects /opt/satseg/projects
ENV PATH=/opt/satseg/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SATSEG_PROJECTS_DIR=/opt/satseg/projects \
    SATSEG_WORKSPACE=/workspace
USER 10001
WORKDIR /workspace
ENTRYPOINT ["satseg"]
CMD ["--help"]
# a stage has no port: healthy means that the program and its packages can be read
HEALTHCHECK --interval=5m --timeout=30s --start-period=30s CMD ["satseg", "--version"]
ARG VERSION=0
ARG GIT_COMMIT=unknown
ENV SATSEG_CODE_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="satseg" \
      org.opencontainers.image.description="Stages of satseg: scenes into maps that stay right" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
