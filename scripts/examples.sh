#!/usr/bin/env bash
# Adapts and validates every Caddyfile of caddyfile-examples/ with bin/caddy, as
# a user would: nothing is started, and no store is asked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shopt -s nullglob

# What a configuration may look for in the user's directories is looked for here.
export XDG_DATA_HOME=$PWD/.cache/examples/data XDG_CONFIG_HOME=$PWD/.cache/examples/config
export LOG_FILE=$PWD/.cache/examples/access.log
failed=0
for file in caddyfile-examples/*.Caddyfile; do
  # What an example takes from the environment gets a value to stand in for it.
  for name in $(grep -oE '\{(env\.|\$)[A-Z_]+\}' "$file" | grep -oE '[A-Z_]+' | sort -u); do
    [[ -v $name ]] || export "$name=stand-in"
  done
  if output=$(bin/caddy validate --adapter caddyfile --config "$file" 2>&1); then
    echo "example $file: valid"
  else
    printf 'example %s: FAILED\n%s\n' "$file" "$output" >&2
    failed=1
  fi
done
exit $failed
