# The gateway's image: `docker run … smtpgw serve`. Runs as nobody in particular (uid 10001), on a read-only root:
# only /tmp and /dev/shm need be writable. Dependabot keeps the digest up to date.
FROM python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS base


FROM base AS packages

# With what tracing needs: nobody installs it later into an image.
COPY requirements.txt requirements-tracing.txt /
# Wheels only: what would have to be compiled stops the build, and no compiler is ever needed.
RUN python -m venv --without-pip /opt/smtpgw \
 && python -m pip --python /opt/smtpgw/bin/python install --no-cache-dir --only-binary :all: \
        --requirement /requirements-tracing.txt


FROM base

LABEL org.opencontainers.image.title="smtpgw" \
      org.opencontainers.image.description="SMTP submission gateway for Cakemail's Email API" \
      org.opencontainers.image.vendor="Cakemail Inc." \
      org.opencontainers.image.licenses="MIT"

# pip goes: nothing is installed into a running container.
RUN python -m pip uninstall --yes --root-user-action ignore pip \
 && groupadd --gid 10001 smtpgw \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin smtpgw

COPY --from=packages /opt/smtpgw /opt/smtpgw
WORKDIR /app
COPY smtpgw smtpgw
# The root will be read-only: the bytecode is made now or at each start.
RUN python -m compileall -q smtpgw

ENV PATH=/opt/smtpgw/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 10001:10001
EXPOSE 2587 8080

# The port is the one the gateway was told to serve its probes on. Kubernetes has probes of its own and ignores this.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["python", "-c", "\
import http.client, os; \
port = (os.environ.get('SMTPGW_HTTP_BIND') or ':8080').rpartition(':')[2]; \
probe = http.client.HTTPConnection('127.0.0.1', int(port), timeout=4); \
probe.request('GET', '/health/live'); \
raise SystemExit(probe.getresponse().status != 200)"]

ENTRYPOINT ["python", "-m", "smtpgw"]
CMD ["serve"]
