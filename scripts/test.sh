#!/usr/bin/env bash
# All that CI runs. Tests wait more than they compute, so the other steps run beside
# them, one after the other and with the lowest priority. What a step prints comes when
# the step ends, in one piece; the first step that fails ends the run. At the end stands
# where the time went. Arguments go to go test.
#
# At your desk go test takes what has not changed from its cache. With CI=true every
# test runs, in random order.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p .cache/test
work=$(mktemp -d .cache/test/XXXXXX)
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do
    kill -- "-$pid" 2>/dev/null || true # with all that it has started
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

step() { # <name> <command…>
  local name=$1 began=$SECONDS status=0
  shift
  "$@" || status=$?
  printf '%8s  %s\n' "$(minutes $((SECONDS - began)))" "$name" >>"$work/steps"
  return "$status"
}

# The output in one piece, so that it is not mixed with that of the tests.
quiet_step() { # <name> <command…>
  local status=0
  step "$@" >"$work/log" 2>&1 || status=$?
  cat "$work/log"
  ((status == 0)) || echo "FAIL: make $1"
  return "$status"
}

tests() {
  local verbose=() fresh=()
  [[ " $* " != *" -v "* ]] || verbose=(-v)
  [[ ${CI-} != true ]] || fresh=(-count=1 -shuffle=on)
  # lint has vetted them, without the race detector's own builds of all that they import.
  CGO_ENABLED=1 go test -json -race -vet=off -timeout 30m "${fresh[@]}" "$@" ./... |
    "$work/testtimes" "${verbose[@]}" -slowest "$work/slowest"
}

others() {
  local target
  for target in lint build examples sbom image-test "fuzz FUZZTIME=10s"; do
    # shellcheck disable=SC2086 # a target, and its variable
    quiet_step "${target%% *}" nice -n 19 make --no-print-directory $target || return
  done
}

step "install what is missing" scripts/install-missing.sh
go build -ldflags '-w -s' -o "$work/testtimes" ./scripts/testtimes

set -m # process groups, for cleanup
others &
pids+=($!)
step tests tests "$@" &
pids+=($!)
set +m
wait -n "${pids[@]}" || exit 1 # the first to end; then the other
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
printf '\nWhere the time went, %s in all; all but the tests ran beside the tests:\n' "$(minutes $SECONDS)"
cat "$work/steps"
printf '\nThe slowest tests:\n'
cat "$work/slowest"
