#!/usr/bin/env bash
# Builds the image without a registry, twice, and looks at what is in it; then
# starts it beside an app and a Redis, and signs somebody in and out. All of it
# happens below .cache/image, which is gone afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ $(uname -s) != Linux ]] || ((EUID != 0)) || ! command -v buildah >/dev/null; then
  echo "image: not tested: that takes buildah and root on Linux: sudo apt-get install buildah && sudo make image-test" >&2
  [[ ${CI-} != true ]] || exit 1
  exit 0
fi

work=$PWD/.cache/image
rm -rf "$work"
mkdir -p "$work/tmp"
# A storage of its own: no image of yours is touched, and nothing is left.
cat >"$work/storage.conf" <<CONF
[storage]
driver = "vfs"
graphroot = "$work/store"
runroot = "$work/run"
CONF
export CONTAINERS_STORAGE_CONF=$work/storage.conf TMPDIR=$work/tmp
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  buildah rm --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
  echo "image: FAILED: $*" >&2
  tail -n 20 "$work"/*.log >&2 || true
  exit 1
}

# The same source in another folder, from somebody with another umask. What git
# does not know yet is in it, what was deleted is not.
elsewhere=$work/elsewhere/of/another/name
mkdir -p "$elsewhere"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
  tar --null --no-recursion -T - -cf - | tar --no-same-permissions -C "$elsewhere" -xf -
chmod -R go-rwx "$elsewhere"
find "$elsewhere" -exec touch -d @1 {} +

export SOURCE_DATE_EPOCH VERSION=test
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
IMAGE=caddy-logout:one scripts/image.sh --stand-in >"$work/build-one.log" 2>&1 || fail "it does not build"
(umask 077 && IMAGE=caddy-logout:two "$elsewhere/scripts/image.sh" --stand-in >"$work/build-two.log" 2>&1) ||
  fail "it does not build in another folder"
layers() { buildah inspect --type image "caddy-logout:$1" | jq -c .Docker.rootfs.diff_ids; }
[[ $(layers one) == "$(layers two)" ]] || fail "two builds, two images: $(layers one) and $(layers two)"
echo "image: built from two folders, the layers are the same: $(layers one)"

# In the image's own build the source is always in the same place.
flags=$(sed -nE 's/^ENV .*GOFLAGS="([^"]*)"$/\1/p' Dockerfile)
CGO_ENABLED=0 GOFLAGS=$flags go -C "$elsewhere" build -ldflags '-w -s -buildid=' -o "$work/caddy" ./cmd/caddy

config=$(buildah inspect --type image caddy-logout:one | jq .Docker.config)
jq -e '.User == "65532:65532" and .Volumes == {"/data": {}} and .ExposedPorts == {"8080/tcp": {}}
  and .Healthcheck.Test == ["CMD", "/usr/bin/caddy", "sessions", "ready", "--live"]
  and .Labels["org.opencontainers.image.version"] == "test"
  and (.Labels["org.opencontainers.image.revision"] | length) == 40' <<<"$config" >/dev/null || fail "configured otherwise: $config"
command=()
while IFS= read -r word; do command+=("$word"); done < <(jq -r '(.Entrypoint + .Cmd)[]' <<<"$config")

container=$(buildah from caddy-logout:one)
root=$(buildah mount "$container")
cmp "$root/usr/bin/caddy" "$work/caddy" || fail "built in another folder, another binary"
writable=$(cd "$root" && find . -mindepth 1 \( -uid 65532 -o -perm /022 \) | sort)
[[ $writable == ./data ]] || fail "writable for the user: $writable"
[[ -z $(find "$root" -perm /6000) ]] || fail "setuid: $(find "$root" -perm /6000)"
[[ ! -e $root/bin && $(ls "$root/usr/bin") == caddy ]] || fail "more programs than caddy"
size=$(du -sm "$root" | cut -f 1)
((size < 80)) || fail "$size MB"

scripts/sbom.sh --check "$root/usr/bin/caddy" "$root/usr/share/sbom/caddy-logout.cdx.json"
echo "image: $size MB, one program, nothing but /data to write to"

# Ports below those that the system hands out by itself, each from its own range.
free_port() { # <first>
  local port
  while true; do
    port=$(($1 + RANDOM % 4000))
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}
eventually() { # <what> <command…>
  local what=$1 deadline=$((SECONDS + 60))
  shift
  until ("$@") >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "waited in vain: $what"
    sleep 0.1
  done
}

redis_port=$(free_port 20000) app_port=$(free_port 24000) port=$(free_port 28000)
password=$RANDOM$RANDOM$RANDOM
redis() { REDISCLI_AUTH=$password redis-cli -p "$redis_port" "$@"; }
start_redis() {
  redis-server - >"$work/redis.log" 2>&1 <<CONF &
bind 127.0.0.1
port $redis_port
requirepass $password
save ""
dir $work
CONF
  redis_pid=$!
  pids+=("$redis_pid")
  eventually "redis" redis ping
}
start_redis

# The app is the demo, served as compose.yaml does it.
HOME=$work/tmp setpriv --reuid=65532 --regid=65532 --clear-groups \
  "$root/usr/bin/caddy" file-server --root "$PWD/caddyfile-examples/demo" --listen "127.0.0.1:$app_port" --templates >"$work/app.log" 2>&1 &
pids+=($!)
eventually "the app" curl -fs "http://127.0.0.1:$app_port/"

environment=(
  "REDIS_ADDRESS=127.0.0.1:$redis_port" "REDIS_PASSWORD=$password" REDIS_TIMEOUT=10s # on a busy machine
  "UPSTREAM=127.0.0.1:$app_port" "PORT=$port"
  # Whoever deploys it says from where it can be reached; a test, from here alone.
  # The Caddyfile has no variable for that, but a variable can be two lines.
  "LOGOUT_PATHS=/logout"$'\n'"bind 127.0.0.1"
)

# The two ways to run a command of the image. Neither needs a container runtime,
# and both share the network with this machine, as containers of a pod share one.
# They take the place of the shell they are called in: so it is them who is killed.
by_buildah() {
  exec buildah run --isolation chroot --volume "$PWD/caddyfile-examples/accounts.txt:/etc/caddy/accounts:ro" \
    "${environment[@]/#/--env=}" "$container" -- "$@"
}
# What buildah's chroot cannot do: the root is read-only, and no privilege can be
# gained. Nothing is mounted but the volume.
on_read_only_root() {
  local of_image=()
  while IFS= read -r word; do of_image+=("$word"); done < <(jq -r '.Env[]' <<<"$config")
  # shellcheck disable=SC2016 # for the inner shell
  exec unshare --mount sh -euc '
    mount --bind "$1" "$1"
    mount --bind "$2" "$1/data"
    mount -o remount,bind,ro "$1"
    shift 2
    exec "$@"' sh "$root" "$work/data" \
    env -i "${of_image[@]}" "${environment[@]}" ACCOUNTS=/data/accounts \
    setpriv --no-new-privs "$(command -v chroot)" --userspec=65532:65532 "$root" "$@"
}

url=http://127.0.0.1:$port
status() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
want() { # <what> <want> <got>
  [[ $2 == "$3" ]] || fail "$1: $3, want $2"
}
signs_in_and_out() { # <way to run a command>
  local flow token bearer
  eventually "$1: ready" "$1" /usr/bin/caddy sessions ready
  want "anonymous" 401 "$(status -H 'Accept: application/json' "$url/")"
  want "a browser" "303 $url/self-service/login/browser?return_to=$(jq -rn --arg u "$url/" '$u | @uri')" \
    "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -H 'Accept: text/html' "$url/")"
  flow=$(curl -s "$url/self-service/login/api" | jq -r .ui.action)
  token=$(curl -s "$flow" -H 'Content-Type: application/json' \
    --data '{"method":"password","identifier":"demo","password":"demo-password"}' | jq -r .session_token)
  bearer="Authorization: Bearer $token"
  grep -q '<span id="user">demo</span>' < <(curl -s -H "$bearer" "$url/") || fail "signed in, and the app does not greet"
  want "logout" 204 "$(status -X DELETE -H "$bearer" "$url/self-service/logout/api")"
  want "signed out" 401 "$(status -H "$bearer" -H 'Accept: application/json' "$url/")"
  want "whoami" 401 "$(status -H "$bearer" "$url/sessions/whoami")"
}

# The first run makes the folders that buildah mounts over. Of two first runs at once,
# one fails, as the other has just made them.
(by_buildah /usr/bin/caddy version) >/dev/null 2>"$work/version.log" || fail "it does not run"
by_buildah "${command[@]}" >"$work/by_buildah.log" 2>&1 &
pids+=($!)
signs_in_and_out by_buildah
socket=$(find "$work/store/vfs-containers" -name admin.sock)
want "whose process" 65532 "$(stat -c %u "$socket")"
(by_buildah /usr/bin/caddy stop) >/dev/null 2>&1 || fail "it does not stop"
wait "${pids[-1]}" || fail "it did not stop in peace"
echo "image: signed in and out in the container that buildah runs"

install -d -o 65532 -g 65532 -m 0700 "$work/data"
install -o 65532 -g 65532 -m 0400 caddyfile-examples/accounts.txt "$work/data/accounts"
on_read_only_root "${command[@]}" >"$work/read-only.log" 2>&1 &
first=$!
pids+=("$first")
signs_in_and_out on_read_only_root
want "whose process" 65532 "$(stat -c %u "/proc/$first")"
want "the root" ro, "$(awk '$5 == "/" { print substr($6, 1, 3) }' "/proc/$first/mountinfo")"
# What is left of the killed one is in the way of nobody.
kill -KILL "$first"
wait "$first" 2>/dev/null || true
on_read_only_root "${command[@]}" >"$work/read-only.log" 2>&1 &
pids+=($!)
signs_in_and_out on_read_only_root
kill "$redis_pid"
wait "$redis_pid" 2>/dev/null || true
! (on_read_only_root /usr/bin/caddy sessions ready) >/dev/null 2>&1 || fail "ready without Redis"
(on_read_only_root /usr/bin/caddy sessions ready --live) >/dev/null || fail "without Redis it is dead"
start_redis
signs_in_and_out on_read_only_root
echo "image: signed in and out on a read-only root, after a kill -9, and after Redis was away"
