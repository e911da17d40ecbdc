#!/usr/bin/env bash
# Installs what the tests run and this machine lacks. As root on Debian and its
# kin it asks apt-get; anywhere else it names the packages and fails.
set -euo pipefail

# command:Debian package. The race detector needs a C compiler.
needs=(
  redis-server:redis-server
  redis-cli:redis-tools
  jq:jq
  curl:curl
  cc:gcc
  node:nodejs
  npm:npm
  chromium:chromium
  promtool:prometheus
  gunicorn:gunicorn
  hypercorn:python3-hypercorn
  uwsgi:uwsgi-core
  php:php-cli
  php-cgi:php-cgi
  puma:puma
  rackup:ruby-rack
  javac:default-jdk-headless
)
# Builds the image; only root can do that here, see scripts/image-test.sh.
((EUID != 0)) || needs+=(buildah:buildah)

# file:Debian package, where a package has no command.
files=(
  /usr/share/tomcat10/bin/bootstrap.jar:tomcat10-common
  /usr/lib/uwsgi/plugins/python3_plugin.so:uwsgi-plugin-python3
)

packages=()
for file in "${files[@]}"; do
  [[ -e ${file%%:*} ]] || packages+=("${file#*:}")
done
for need in "${needs[@]}"; do
  command -v "${need%%:*}" >/dev/null || packages+=("${need#*:}")
done
[[ " ${packages[*]-} " != *" gcc "* ]] || packages+=(libc6-dev)
(( ${#packages[@]} )) || exit 0

install=(apt-get install --yes --no-install-recommends "${packages[@]}")
if ! command -v apt-get >/dev/null; then
  echo "missing: ${packages[*]} (Debian names); install them and run this again" >&2
  exit 1
fi
if (( EUID != 0 )); then
  echo "missing: ${packages[*]}; run: sudo ${install[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${packages[*]}"
apt-get update --quiet
# The tests start servers of their own: a package need not start one for itself.
RUNLEVEL=1 "${install[@]}"
