#!/usr/bin/env bash
# Checks the formatting, lints, then vets and builds for every system we support.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/.cache/bin

# The linters are pinned in a module of their own, so that what they need stays
# out of what our users build. A second build with nothing new takes 0.3 s.
mkdir -p "$bin"
go -C tools build -ldflags '-w -s' -o "$bin/" tool

# What git knows or would add; a file deleted but not yet committed is passed over.
unformatted=$(git ls-files -z --cached --others --exclude-standard -- '*.go' |
  while IFS= read -r -d '' file; do [[ ! -f $file ]] || printf '%s\0' "$file"; done |
  xargs -0 -r "$bin/gofumpt" -l)
if [[ -n $unformatted ]]; then
  printf 'not as gofumpt writes it; run .cache/bin/gofumpt -w on\n%s\n' "$unformatted" >&2
  exit 1
fi
echo "lint: gofumpt is content"

"$bin/golangci-lint" run ./...
echo "lint: golangci-lint is content"

for os in linux darwin windows; do
  # Nobody runs what is built for another system: it is compiled without being made
  # fast, which takes two thirds of the time where nothing is cached.
  flags=()
  [[ $os == "$(go env GOHOSTOS)" ]] || flags=(-gcflags='all=-N -l')
  GOOS=$os go vet "${flags[@]}" ./...
  GOOS=$os go build "${flags[@]}" -ldflags '-w -s' ./...
  echo "lint: vet and build for $os pass"
done
