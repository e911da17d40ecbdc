#!/usr/bin/env bash
# Writes the bill of materials of a binary, and checks it against what the binary
# says of itself; with --check, it only checks one that is there.
#
#   scripts/sbom.sh [--check] <binary> <file>
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

check=
if [[ ${1-} == --check ]]; then
  check=yes
  shift
fi
binary=$(realpath "$1") file=$(realpath -m "$2")
[[ -n $check ]] || go -C "$here/tools/sbom" run . -o "$file" "$binary"

modules=$(go version -m "$binary" | awk '
  $1 == "dep" { if (module) print module; module = $2 "@" $3 }
  $1 == "=>" { module = $2 "@" $3 }
  END { if (module) print module }' | sort)
listed=$(jq -r '.components[] | select(.name != "stdlib") | .name + "@" + .version' "$file" | sort)
release=$(jq -r '.components[] | select(.name == "stdlib") | "go" + .version' "$file")
if [[ -z $modules || $modules != "$listed" || $release != "$(go version "$binary" | awk '{ print $2 }')" ]]; then
  echo "sbom: $file is not the bill of $binary:" >&2
  diff <(echo "$modules") <(echo "$listed") >&2 || true
  exit 1
fi
echo "sbom: $file lists $release and all $(wc -l <<<"$modules") modules of $binary"
