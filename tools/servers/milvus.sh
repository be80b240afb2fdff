#!/usr/bin/env bash
# Milvus standalone with its embedded etcd and log, from its PyPI package.
NAME=milvus PORT_SETTING=NEARFEED_MILVUS_PORT PORT=${NEARFEED_MILVUS_PORT:-19530}
source "$(dirname "$0")/process.sh"
: "${MILVUS_VERSION:=2.3.5}"
METRICS_PORT=${NEARFEED_MILVUS_METRICS_PORT:-19091}
# An environment of its own: the project's pymilvus never meets this package.
VENV=$HOME_DIR/venv-$MILVUS_VERSION
STOP_SECONDS=${NEARFEED_STOP_SECONDS:-15} # a graceful stop may wait half an hour for a client

install_() {
  need python3.11 "install it (Debian: python3.11 and python3.11-venv)."
  [ -e "$VENV/.complete" ] && return
  say "fetches version $MILVUS_VERSION from PyPI"
  mkdir -p "$HOME_DIR"
  { python3.11 -m venv --clear "$VENV" &&
    "$VENV/bin/pip" install --disable-pip-version-check --no-deps "milvus==$MILVUS_VERSION"; } \
    >"$HOME_DIR/install.log" 2>&1 ||
    { tail -5 "$HOME_DIR/install.log" >&2; fail "pip failed; its output is $HOME_DIR/install.log."; }
  touch "$VENV/.complete"
}

# The package unpacks the server and writes its configuration; the server then takes this Python's place.
launcher() {
  cat <<'PYTHON'
import os, socket, sys
from milvus import MilvusServerConfig, _initialize_data_files

class Socket(socket.socket):
    """Binds a port that a killed server has left, as the server itself does."""
    def bind(self, address):
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().bind(address)

socket.socket = Socket
folder, port, metrics_port = sys.argv[1:]
config = MilvusServerConfig(data_dir=folder, proxy_port=int(port))
config.resolve()
_initialize_data_files(folder)
os.chdir(folder)
server = os.path.join(folder, "bin", "milvus")
os.environ.update(
    DEPLOY_MODE="STANDALONE",
    METRICS_PORT=metrics_port,
    MILVUS_RUN_DIR=os.path.join(folder, "run"),
    LD_LIBRARY_PATH=os.path.dirname(server),
)
os.execv(server, [server, "run", "standalone"])
PYTHON
}

launch() {
  nohup "$VENV/bin/python" -c "$(launcher)" "$DATA" "$PORT" "$METRICS_PORT" >>"$LOG_FILE" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
}

# Its health page is green before it answers clients.
ready() { curl -sf -m 2 "http://127.0.0.1:$PORT/v1/vector/collections" | grep -q '"code":200'; }

dispatch "$@"
