# The sidecar: Caddy with this module, static, alone in its image, for any uid.
# docs/sidecar.md says how to build, run and check it.
#
# No step needs a shell, in either stage: BUILD_IMAGE can be whatever has Go at
# /usr/local/go and the certificates of the public authorities, BASE_IMAGE
# whatever you stand on.
ARG BUILD_IMAGE=docker.io/library/golang:1.26.8
ARG BASE_IMAGE=scratch

FROM ${BUILD_IMAGE} AS build
# The same source and the same release of Go give the same binary wherever it is
# built: no path, no time and no commit are in it, and no other release of Go is
# fetched in secret.
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS="-buildvcs=false -trimpath -tags=nobadger,nomysql,nopgx"
# What goes into the image is laid out below /out. The folders come first, as
# there is nothing else here that makes one.
WORKDIR /out/data
WORKDIR /out/usr/share/sbom
WORKDIR /src
COPY . .
RUN ["/usr/local/go/bin/go", "build", "-ldflags", "-w -s -buildid=", "-o", "/out/usr/bin/caddy", "./cmd/caddy"]
ARG VERSION=dev
ARG SOURCE_DATE_EPOCH
RUN ["/usr/local/go/bin/go", "-C", "tools/sbom", "run", ".", "-version-env", "VERSION", "-o", "/out/usr/share/sbom/caddy-logout.cdx.json", "/out/usr/bin/caddy"]

FROM ${BASE_IMAGE}
COPY --from=build --chmod=0644 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=0755 /out/usr/bin/caddy /usr/bin/caddy
# Readable by that uid, whatever the umask of who cloned the source.
COPY --from=build --chmod=0644 /src/LICENSE /usr/share/doc/caddy-logout/LICENSE
COPY --from=build --chmod=0644 /out/usr/share/sbom/caddy-logout.cdx.json /usr/share/sbom/caddy-logout.cdx.json
COPY --from=build --chmod=0644 /src/caddyfile-examples/sidecar.Caddyfile /etc/caddy/Caddyfile
# All that is ever written is below /data: the root may be read-only.
COPY --from=build --chown=65532:65532 --chmod=0700 /out/data /data

# The admin endpoint signs in as anybody who can reach it. Containers of a pod
# share loopback, so it is a socket, in a folder that only this one sees.
ENV CADDY_ADMIN=unix//data/admin.sock \
    ACCOUNTS=/etc/caddy/accounts \
    HOME=/data XDG_DATA_HOME=/data XDG_CONFIG_HOME=/data/config \
    PATH=/usr/bin
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 8080
# By liveness: who restarts what is unhealthy would otherwise restart every
# sidecar while Redis is away, which brings nothing back.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/caddy", "sessions", "ready", "--live"]
ENTRYPOINT ["/usr/bin/caddy"]
CMD ["run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]

ARG VERSION=dev
ARG REVISION=unknown
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="caddy-logout" \
      org.opencontainers.image.description="An identity-aware reverse proxy whose sign-out really signs out" \
      org.opencontainers.image.source="https://github.com/caddy-logout/caddy-logout" \
      org.opencontainers.image.documentation="https://github.com/caddy-logout/caddy-logout/blob/main/docs/sidecar.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
