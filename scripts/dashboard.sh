#!/usr/bin/env bash
# Makes docs/images/dashboard.png from a real run of about three minutes: bin/caddy,
# Redis and Prometheus on free ports of 127.0.0.1. Arguments go to the program that
# does it, see clients/browser/dashboard.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go build -ldflags '-w -s' -o bin/caddy ./cmd/caddy
exec go -C clients/browser run ./dashboard "$@"
