#!/usr/bin/env bash
# Builds the image of the Dockerfile with buildah, podman or docker, whichever is
# there. With --stand-in it needs no registry: this machine's own Go and what its
# caches hold take the place of the build image (buildah as root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

image=${IMAGE:-caddy-logout:dev}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
args=(
  --build-arg "VERSION=${VERSION:-$(git describe --tags --always 2>/dev/null || echo dev)}"
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  --build-arg "SOURCE_DATE_EPOCH=$epoch"
)
[[ -z ${BASE_IMAGE-} ]] || args+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")

if [[ ${1-} == --stand-in ]]; then
  # A build image that is nothing but certificates and a place for temporary
  # files. Go and its caches are mounted: nothing is copied or compiled twice.
  base=$(buildah from scratch)
  empty=$(mktemp -d)
  trap 'buildah rm "$base" >/dev/null; rmdir "$empty"' EXIT
  buildah copy --quiet "$base" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt >/dev/null
  buildah copy --quiet "$base" "$empty" /tmp >/dev/null
  buildah config --env PATH=/usr/local/go/bin --env HOME=/tmp --env "GOPROXY=$(go env GOPROXY)" \
    --env GOCACHE=/cache/build --env GOMODCACHE=/cache/mod "$base"
  args+=(
    --build-arg "BUILD_IMAGE=$(buildah commit --quiet "$base")"
    --volume "$(go env GOROOT):/usr/local/go:ro"
    --volume "$(go env GOCACHE):/cache/build"
    --volume "$(go env GOMODCACHE):/cache/mod"
    --isolation chroot
  )
elif [[ -n ${BUILD_IMAGE-} ]]; then
  args+=(--build-arg "BUILD_IMAGE=$BUILD_IMAGE")
fi

# The docker format has a place for HEALTHCHECK, that of OCI has none.
if command -v buildah >/dev/null; then
  buildah build --format docker --timestamp "$epoch" "${args[@]}" --tag "$image" .
elif command -v podman >/dev/null; then
  podman build --format docker --timestamp "$epoch" "${args[@]}" --tag "$image" .
elif docker info >/dev/null 2>&1; then
  docker build "${args[@]}" --tag "$image" .
else
  echo "image: needs one of buildah, podman and docker; on Debian: sudo apt-get install buildah" >&2
  exit 1
fi
