# The images of the three programs: targets `server`, `worker` and `scaler` (docs/how-to/images.md).
ARG PYTHON=python:3.13-slim

# ---- wheels of our own members, and uv by the lock's hash; nothing of this stage is in an image ----------------------
FROM ${PYTHON} AS builder
# A mirror of the package index; a login for it is read from the build secret `netrc`.
ARG INDEX_URL=https://pypi.org/simple
ENV PIP_INDEX_URL=${INDEX_URL} UV_DEFAULT_INDEX=${INDEX_URL} \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /src
COPY requirements.lock ./
RUN --mount=type=secret,id=netrc,target=/root/.netrc \
    awk '/^uv==/ { on = 1 } on { print } on && !/\\$/ { exit }' requirements.lock > /tmp/uv.txt \
    && python -m pip install --quiet --require-hashes --no-deps --requirement /tmp/uv.txt
COPY pyproject.toml ./
COPY warren warren
COPY server server
COPY worker worker
COPY scaler scaler
# A wheel just built is pinned by its hash like all else, so that no index can put a package of its name in its place.
RUN uv build --quiet --wheel --all-packages --out-dir /wheels \
    && for wheel in /wheels/*.whl; do \
         name=${wheel#/wheels/}; rest=${name#*-}; digest=$(sha256sum "$wheel"); \
         echo "${name%%-*}==${rest%%-*} --hash=sha256:${digest%% *}"; \
       done > /wheels/members.txt
# One member with what it needs: the lock says which version and hash of a package, the wheels say which packages.
RUN printf '%s\n' '#!/bin/sh -eu' \
      'uv venv --quiet --python "$(command -v python)" /opt/warren' \
      'grep "^$1==" /wheels/members.txt > /tmp/member.txt' \
      'exec uv pip install --quiet --python /opt/warren --require-hashes --no-build --find-links /wheels \' \
      '  --constraint requirements.lock --constraint /wheels/members.txt --requirement /tmp/member.txt' \
      > /usr/local/bin/install-member \
    && chmod 755 /usr/local/bin/install-member

FROM builder AS server-environment
RUN --mount=type=secret,id=netrc,target=/root/.netrc --mount=type=cache,target=/root/.cache/uv \
    install-member warren_server

FROM builder AS worker-environment
RUN --mount=type=secret,id=netrc,target=/root/.netrc --mount=type=cache,target=/root/.cache/uv \
    install-member warren_worker

FROM builder AS scaler-environment
RUN --mount=type=secret,id=netrc,target=/root/.netrc --mount=type=cache,target=/root/.cache/uv \
    install-member warren_scaler

# ---- what the images share -------------------------------------------------------------------------------------------
FROM ${PYTHON} AS base
# A program that cannot install packages is of less use to an intruder.
RUN find / -xdev \( -name pip -o -name 'pip[-0-9]*' -o -name ensurepip -o -name python-wheels \) -prune -exec rm -rf {} + \
    && echo 'warren:x:10001:10001:Warren:/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'warren:x:10001:' >> /etc/group \
    && mkdir /tasks
# The root file system may be read-only: only /tmp is written, and /data by the server.
ENV PATH=/opt/warren/bin:${PATH} HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
USER 10001:10001
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.created=${CREATED} \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.vendor=Warren

# ---- the images; the programs get the signals themselves, as process 1 -----------------------------------------------
FROM base AS scaler
LABEL org.opencontainers.image.title=warren-scaler \
      org.opencontainers.image.description="The scaler of the Warren job queue"
COPY --from=scaler-environment /opt/warren /opt/warren
ENV WARREN_PROBE_BIND=0.0.0.0:9100
EXPOSE 9100
ENTRYPOINT ["python", "-m", "warren_scaler"]

FROM base AS worker
LABEL org.opencontainers.image.title=warren-worker \
      org.opencontainers.image.description="The worker of the Warren job queue"
COPY --from=worker-environment /opt/warren /opt/warren
ENV WARREN_PROBE_BIND=0.0.0.0:9100 PYTHONPATH=/tasks
EXPOSE 9100
ENTRYPOINT ["python", "-m", "warren_worker"]

FROM base AS server
LABEL org.opencontainers.image.title=warren-server \
      org.opencontainers.image.description="The HTTP server of the Warren job queue"
COPY --from=server-environment /opt/warren /opt/warren
USER 0
RUN install -d -o 10001 -g 10001 /data
USER 10001:10001
ENV WARREN_SERVER_BIND=0.0.0.0:8000 WARREN_STORE_URL=sqlite:////data/warren.db PYTHONPATH=/tasks
EXPOSE 8000
ENTRYPOINT ["python", "-m", "warren_server"]
