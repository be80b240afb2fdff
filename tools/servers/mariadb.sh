#!/usr/bin/env bash
# MariaDB from Debian's packages, with a data folder, socket and port of its own.
NAME=mariadb PORT_SETTING=NEARFEED_MARIADB_PORT PORT=${NEARFEED_MARIADB_PORT:-13306}
source "$(dirname "$0")/process.sh"
export PATH=$PATH:/usr/sbin
# These two hold the programs alone: no system service, no system data.
PACKAGES="mariadb-server-core mariadb-client-core"
# A socket's path may have 107 characters at most, which a cache folder may exceed.
SOCKET=/tmp/nearfeed-mariadb-$(id -u)-$PORT.sock

install_() {
  installed && return
  local command="apt-get update && apt-get install --yes --no-install-recommends $PACKAGES"
  [ "$(id -u)" = 0 ] || fail "MariaDB $MARIADB_SERIES is not installed; run as root: $command"
  say "installs $PACKAGES"
  mkdir -p "$HOME_DIR"
  DEBIAN_FRONTEND=noninteractive bash -c "$command" >"$HOME_DIR/install.log" 2>&1 ||
    { tail -5 "$HOME_DIR/install.log" >&2; fail "apt-get failed; its output is $HOME_DIR/install.log."; }
  installed || fail "Debian's package is $(mariadbd --version), but versions.env asks for $MARIADB_SERIES."
}

installed() { command -v mariadbd mariadb >/dev/null && mariadbd --version | grep -qF "Ver $MARIADB_SERIES."; }

launch() {
  [ -d "$DATA/mysql" ] || mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$DATA" \
    --auth-root-authentication-method=socket --skip-test-db >>"$LOG_FILE" 2>&1
  accounts >"$HOME_DIR/accounts.sql"
  nohup mariadbd --no-defaults --user="$(id -un)" --datadir="$DATA" --socket="$SOCKET" \
    --bind-address=127.0.0.1 --port="$PORT" --pid-file="$HOME_DIR/mariadbd.pid" \
    --init-file="$HOME_DIR/accounts.sql" --skip-name-resolve --innodb-buffer-pool-size=128M \
    --innodb-lock-wait-timeout=20 --max-connections=300 >>"$LOG_FILE" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
}

# The tests make databases named nearfeed_…; the account may touch no other.
accounts() {
  echo "CREATE USER IF NOT EXISTS nearfeed@'127.0.0.1' IDENTIFIED BY 'nearfeed';"
  echo "GRANT ALL ON \`nearfeed%\`.* TO nearfeed@'127.0.0.1';"
  echo "CREATE DATABASE IF NOT EXISTS nearfeed CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;"
}

ready() {
  mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --port="$PORT" --user=nearfeed --password=nearfeed \
    --execute='SELECT 1' nearfeed >/dev/null 2>&1
}

dispatch "$@"
