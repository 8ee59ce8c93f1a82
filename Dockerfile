# The sidecar's image. Nothing in it depends on the processor: one file for amd64 and arm64.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --tag REGISTRY/marketplace-sidecar:0.1.0 .
#
# BASE is any image with python3 3.11 or newer and its venv module. A release pins it by digest
# (python:3.13-slim-bookworm@sha256:...): the same commit then gives the same image again.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build

# Two environments: pip and the build back-end live in one and stay behind, the product lives in the other.
RUN python3 -m venv tools && python3 -m venv --without-pip /opt/marketplace-sidecar
COPY requirements.lock requirements-build.lock ./
RUN tools/bin/pip install --quiet --no-cache-dir --require-hashes -r requirements-build.lock \
    && tools/bin/pip --python /opt/marketplace-sidecar/bin/python install --quiet --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
RUN tools/bin/pip wheel --quiet --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . \
    && tools/bin/pip --python /opt/marketplace-sidecar/bin/python install --quiet --no-cache-dir --no-compile \
        --no-deps wheels/*.whl

# What this product can never call: the models of all AWS services but the three it talks to (their common files stay),
# all of the Kubernetes client but its HTTP client: sidecar/adapters/kubernetes/package.py loads nothing else of it, and
# all of OpenTelemetry's messages but those of metrics over HTTP.
# Byte code is compiled once, here, and never compared with its source again: the root file system is read-only.
# The command starts Python isolated (-I), as the entry point below does.
RUN cd /opt/marketplace-sidecar/lib/python3*/site-packages \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name meteringmarketplace ! -name license-manager \
        ! -name sts -exec rm -r {} + \
    && find kubernetes -type f ! -path kubernetes/__init__.py \
        ! -path kubernetes/client/__init__.py ! -path kubernetes/client/configuration.py \
        ! -path kubernetes/client/exceptions.py ! -path kubernetes/client/rest.py \
        ! -path kubernetes/utils/__init__.py ! -path kubernetes/utils/_retry_base.py \
        ! -path kubernetes/utils/keepalive.py ! -path kubernetes/utils/retry.py -delete \
    && find kubernetes -type d -empty -delete \
    && find opentelemetry/proto -type d \( -name logs -o -name trace -o -name profiles \) -prune -exec rm -r {} + \
    && find opentelemetry/proto \( -name '*_grpc.py' -o -name '*.pyi' \) -delete \
    && /opt/marketplace-sidecar/bin/python -m compileall -q -f --invalidation-mode unchecked-hash . \
    && sed -i '1s|.*|#!/opt/marketplace-sidecar/bin/python -IBu|' /opt/marketplace-sidecar/bin/marketplace-sidecar \
    && mkdir -p /build/lib/marketplace-sidecar && chmod 0770 /build/lib/marketplace-sidecar

FROM ${BASE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="marketplace-sidecar" \
      org.opencontainers.image.description="Registers, gates and meters a paid AWS Marketplace container product." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/marketplace-sidecar/marketplace-sidecar" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# One heap for all threads: the interpreter's lock lets one of them run, and each further heap keeps 2 MiB. Large blocks are
# not on the heap: small ones would fill their places, and each long answer would make it grow.
ENV PATH=/opt/marketplace-sidecar/bin:$PATH MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=262144
COPY --from=build /opt/marketplace-sidecar /opt/marketplace-sidecar
# The one place that is written to. A volume belongs here; without one it serves the image's own user, and any other
# user of group 0, which is how OpenShift starts images.
COPY --from=build --chown=65532:0 /build/lib/ /var/lib/
# ECS gives a volume that it mounts here this folder's owner; undeclared, the volume would be root's on Fargate.
VOLUME /var/lib/marketplace-sidecar
# By number, for runAsNonRoot cannot judge a name.
USER 65532:65532
# The API is on loopback and has no business here.
EXPOSE 8788
# No shell in between: SIGTERM reaches the process itself. No HEALTHCHECK: Kubernetes and ECS ignore it.
# Isolated (-I): PYTHONPATH and the other variables of the interpreter cannot put other code in the product's place. The
# path is absolute: PATH cannot either. -B writes no byte code, -u buffers no output.
ENTRYPOINT ["/opt/marketplace-sidecar/bin/python", "-I", "-B", "-u", "-m", "sidecar"]
CMD ["run"]
