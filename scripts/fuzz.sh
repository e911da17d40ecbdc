#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (a Go duration, 2m
# if none), as many at once as there are cores. A failing input is left in
# testdata/fuzz of its package, where `go test` runs it from then on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fuzztime=${1:-2m}
cache=$PWD/.cache/fuzz
module=$(go list -m)
mkdir -p "$cache/bin" "$cache/logs"

# `go test -fuzz` would instrument, and so compile a second time, all of Caddy.
# Only our own packages have to guide the fuzzer: the rest comes out of the build
# cache, and a cold start costs seconds instead of minutes.
build() { # <package dir> <binary>
  go test -c -vet=off -ldflags '-w -s' -gcflags="$module/...=-d=libfuzzer" -o "$2" "./$1"
}

# Before Go 1.27 a fuzzer whose time is up may call that a failure (go.dev/issue/75804).
# What it really finds it writes down, and says so.
timed_out() { # <log>
  grep -qxE ' +context deadline exceeded' "$1" && ! grep -qE 'Failing input|panic:|terminated unexpectedly|_test\.go:' "$1"
}

fuzz() { # <package dir> <binary> <target>
  local log=$cache/logs/${1//\//_}.$3.log inputs=$cache/inputs/$1
  mkdir -p "$inputs"
  if ! (cd "$1" && exec "$2" -test.run='^$' -test.fuzz="^$3\$" -test.parallel=1 \
    -test.fuzztime="$fuzztime" -test.fuzzminimizetime=5s -test.fuzzcachedir="$inputs") >"$log" 2>&1 && ! timed_out "$log"; then
    printf -- '--- FAIL: fuzz %s %s\n%s\n' "$1" "$3" "$(<"$log")" >&2
    return 1
  fi
  if grep -q 'not built with coverage instrumentation' "$log"; then
    echo "--- FAIL: fuzz $1 $3: built without instrumentation" >&2
    return 1
  fi
  echo "--- PASS: fuzz $1 $3: $(grep '^fuzz: elapsed' "$log" | tail -n 1 | cut -d ' ' -f 2-)"
}

# Every line: package dir, target.
targets=$(git ls-files --cached --others --exclude-standard -- '*_test.go' |
  xargs -r -d '\n' grep -HoE '^func Fuzz[A-Z0-9_][A-Za-z0-9_]*\(' 2>/dev/null |
  sed -E 's|^([^:]*/)?[^/:]*:func (.*)\(|\1 \2|; s|^ |. |; s|/ | |' | sort -u || true)
if [[ -z $targets ]]; then
  echo "fuzz: no targets"
  exit 0
fi

while read -r dir; do
  build "$dir" "$cache/bin/${dir//\//_}.test"
done < <(cut -d ' ' -f 1 <<<"$targets" | sort -u)

jobs=$(getconf _NPROCESSORS_ONLN)
running=0 failed=0
while read -r dir target; do
  if ((running == jobs)); then
    wait -n || failed=1
    running=$((running - 1))
  fi
  fuzz "$dir" "$cache/bin/${dir//\//_}.test" "$target" &
  running=$((running + 1))
done <<<"$targets"
while ((running > 0)); do
  wait -n || failed=1
  running=$((running - 1))
done
exit "$failed"
