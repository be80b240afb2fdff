#!/usr/bin/env bash
# The real servers that the tests marked `server` need: servers.sh install|start|stop|restart|status [NAME…]
set -uo pipefail
cd "$(dirname "$0")"
verb=${1:-}
case $verb in install|start|stop|restart|status) shift ;; *) echo "usage: $0 install|start|stop|restart|status [NAME…]" >&2; exit 2 ;; esac

names=("$@")
[ ${#names[@]} -gt 0 ] || for name in mariadb kafka milvus opensearch; do
  [ ! -e "$name.sh" ] || names+=("$name")
done

failed=()
for name in "${names[@]}"; do
  bash "$name.sh" "$verb" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "servers: $verb failed for ${failed[*]}" >&2; exit 1; }
