#!/usr/bin/env bash
# Starts the demo in the foreground. Its sessions live in .cache/demo, so that
# they are still there at the next start and nothing is left outside the clone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export XDG_DATA_HOME=$PWD/.cache/demo/data XDG_CONFIG_HOME=$PWD/.cache/demo/config
mkdir -p "$XDG_DATA_HOME" "$XDG_CONFIG_HOME"
cat <<TEXT

  The demo:  http://localhost:${PORT:-8080}
  Account:   demo
  Password:  demo-password

  Stop it with Ctrl-C.

TEXT
exec bin/caddy run --config caddyfile-examples/quickstart.Caddyfile --adapter caddyfile
