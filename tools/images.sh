#!/usr/bin/env bash
# Builds the services' images without a Docker engine, and proves what they promise.
#   tools/images.sh [SERVICE...]     recommender and indexer where none is named
# The base image is a stand-in from Debian's own packages under the name that the Dockerfiles give,
# so that no registry of images is needed. It runs as root, for it makes name spaces and mounts.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/nearfeed/images
services=("${@:-recommender}")
[ $# -gt 0 ] || services=(recommender indexer)
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
export BUILDAH_FORMAT=docker # the OCI format has no HEALTHCHECK
python=$(sed -n 's/^ARG PYTHON=//p' services/recommender/Dockerfile)
base=docker.io/library/$python

fail() { echo "images: $*" >&2; exit 1; }

install_tools() {
    command -v buildah debootstrap unshare curl >/dev/null && return
    [ "$(id -u)" = 0 ] || fail "buildah and debootstrap are missing; run as root: apt-get install --no-install-recommends buildah debootstrap"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah debootstrap util-linux curl >/dev/null
}

make_base() {
    buildah inspect --type image "$base" >/dev/null 2>&1 && return
    mkdir -p "$cache"
    if [ ! -s "$cache/root.tar" ]; then
        debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$cache/root" \
            >"$cache/debootstrap.log" 2>&1 || fail "debootstrap failed; see $cache/debootstrap.log"
        tar -C "$cache/root" -cf "$cache/root.tar.part" . && mv "$cache/root.tar.part" "$cache/root.tar"
        rm -rf "$cache/root"
    fi
    printf 'FROM scratch\nADD root.tar /\n' | buildah bud --quiet --tag "$base" --file - "$cache" >/dev/null
}

build() { # SERVICE
    local mounts=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
    [ ! -e /etc/pip.conf ] || mounts+=(--volume /etc/pip.conf:/etc/pip.conf:ro)
    buildah bud --pull-never --network host "${mounts[@]}" --quiet \
        --file "services/$1/Dockerfile" --tag "nearfeed-$1" . >"$cache/$1.log" 2>&1 \
        || { tail -20 "$cache/$1.log" >&2; fail "nearfeed-$1 does not build; see $cache/$1.log"; }
}

# Runs a command in an image as its user, on a read-only root with /tmp and /data alone to write to.
inside() { # ROOT ENV... -- COMMAND...
    local root=$1; shift
    local settings=()
    while [ "$1" != -- ]; do settings+=("$1"); shift; done; shift
    exec unshare --mount --propagation private bash -c '
        set -e; root=$1; shift
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp" && chmod 1777 "$root/tmp"
        mount -t tmpfs -o uid=10001,gid=10001 tmpfs "$root/data"
        mount -o remount,bind,ro "$root"
        exec chroot --userspec=10001:10001 "$root" "$@"
    ' inside "$root" /usr/bin/env -i PATH=/opt/nearfeed/bin:/usr/bin:/bin HOME=/tmp LANG=C.UTF-8 \
        PYTHONDONTWRITEBYTECODE=1 NEARFEED_DATA_DIR=/data "${settings[@]}" "$@"
}

port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

expect() { # WHAT COMMAND...
    local what=$1; shift
    "$@" >"$cache/last.log" 2>&1 || { cat "$cache/last.log" >&2; fail "$what: no"; }
    echo "  $what: yes"
}

refuse() { # WHAT COMMAND...
    local what=$1; shift
    ! "$@" >/dev/null 2>&1 || fail "$what: no"
    echo "  $what: yes"
}

answers() { # URL PID
    for _ in $(seq 1 300); do
        curl --silent --fail --max-time 5 "$1" >/dev/null && return
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}

serves() { # ROOT SERVICE COMMAND PORT
    local root=$1 service=$2 command=$3 at=$4 pid
    (inside "$root" NEARFEED_VECTORS_URL=memory:// NEARFEED_HOST=127.0.0.1 NEARFEED_PORT="$at" NEARFEED_HEALTH_PORT="$at" \
        -- "nearfeed-$service" "$command") >"$cache/$service.run.log" 2>&1 &
    pid=$!
    trap 'kill '"$pid"' 2>/dev/null || true' EXIT
    answers "http://127.0.0.1:$at/healthz" "$pid" || { cat "$cache/$service.run.log" >&2; fail "$service $command answers no /healthz"; }
    expect "$service $command answers /healthz" answers "http://127.0.0.1:$at/healthz" "$pid"
    expect "$service $command answers /readyz" answers "http://127.0.0.1:$at/readyz" "$pid"
    expect "$service $command runs as 10001" grep -q '^Uid:[[:space:]]10001' "/proc/$pid/status"
    kill "$pid"
    expect "$service $command stops in order" wait "$pid"
    trap - EXIT
}

check() { # SERVICE
    local container root config
    container=$(buildah from --pull-never "localhost/nearfeed-$1")
    root=$(buildah mount "$container")
    config=$(buildah inspect --type image "localhost/nearfeed-$1")
    expect "its user is not root" grep -q '"User": "10001:10001"' <<<"$config"
    expect "it has a health check" grep -qi '"Healthcheck"' <<<"$config"
    expect "--help is answered" run_in "$root" "nearfeed-$1" --help
    expect "its root is read-only" run_in "$root" sh -c 'touch /opt/nearfeed/x 2>&1 | grep "Read-only file system"'
    expect "/data can be written" run_in "$root" touch /data/x
    [ "$1" = embedder ] || refuse "torch is absent" run_in "$root" python -c 'import torch'
    case $1 in
        recommender) serves "$root" recommender api "$(port)"; serves "$root" recommender consume "$(port)" ;;
        *) serves "$root" "$1" run "$(port)" ;;
    esac
    echo "  size: $(du -sh "$root" | cut -f1), of which the service $(du -sh "$root/opt/nearfeed" | cut -f1)"
    buildah umount "$container" >/dev/null && buildah rm "$container" >/dev/null
}

run_in() { local root=$1; shift; (inside "$root" -- "$@"); }

install_tools
make_base
for service in "${services[@]}"; do
    echo "nearfeed-$service"
    build "$service"
    check "$service"
done
