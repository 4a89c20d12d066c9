# `fxsr serve` as an image: `docker build --target cpu -t fxsr:cpu .`, and for NVIDIA GPUs --target gpu.
# docs/serving.md says how to run it, deploy/ has a compose file.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS sources
WORKDIR /src
RUN python -m venv /opt/fxsr && mkdir /cache
COPY . .

FROM sources AS packages-gpu
RUN --mount=type=cache,target=/root/.cache/pip /opt/fxsr/bin/pip install -c constraints.txt ".[gpu,serve]"

FROM sources AS packages-cpu
RUN --mount=type=cache,target=/root/.cache/pip /opt/fxsr/bin/pip install -c constraints.txt ".[cpu,serve]"

# What is installed is copied from the stages above, so that neither pip's cache nor the sources are in the images.
FROM python:${PYTHON} AS runtime
ENV PATH=/opt/fxsr/bin:$PATH HOME=/tmp XDG_CACHE_HOME=/cache
COPY --from=sources --chown=10001:10001 /cache /cache
WORKDIR /models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
  CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=9); c.request('GET', '/v2/health/ready'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["fxsr"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000", "--access-log"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-gpu /opt/fxsr /opt/fxsr

FROM runtime AS cpu
COPY --from=packages-cpu /opt/fxsr /opt/fxsr
