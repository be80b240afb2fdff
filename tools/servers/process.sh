# What every server script shares: where things lie, one process by its pid file, waiting with a limit.
# A script sets NAME, defines install_, launch (starts the server, prints its pid) and ready, then calls
# `dispatch "$@"`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=versions.env
source versions.env

CACHE=${NEARFEED_CACHE:-$HOME/.cache/nearfeed}
HOME_DIR=$CACHE/$NAME DATA=$CACHE/$NAME/data LOG_FILE=$CACHE/$NAME/$NAME.log PID_FILE=$CACHE/$NAME/$NAME.pid
START_SECONDS=${NEARFEED_START_SECONDS:-120}
STOP_SECONDS=${NEARFEED_STOP_SECONDS:-60}

say() { echo "$NAME: $*"; }
fail() { echo "$NAME: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing; $2"; }

# A pid may have been given to another process since: it counts only while its command names our folder.
running() { [ -s "$PID_FILE" ] && tr '\0' ' ' <"/proc/$(cat "$PID_FILE")/cmdline" 2>/dev/null | grep -qF "$HOME_DIR"; }

start() {
  running && { say "runs already (pid $(cat "$PID_FILE"), port $PORT)"; return; }
  install_
  if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
    fail "port $PORT is in use by another process; set $PORT_SETTING to a free one."
  fi
  mkdir -p "$DATA" && : >"$LOG_FILE"
  launch
  local began=$SECONDS
  until ready; do
    kill -0 "$(cat "$PID_FILE")" 2>/dev/null || { tail -20 "$LOG_FILE" >&2; fail "it ended while starting; its log is $LOG_FILE."; }
    ((SECONDS - began < START_SECONDS)) || { tail -20 "$LOG_FILE" >&2
      fail "not ready within $START_SECONDS s; its log is $LOG_FILE (NEARFEED_START_SECONDS sets the limit)."; }
    sleep 0.1
  done
  say "ready on 127.0.0.1:$PORT after $((SECONDS - began)) s"
}

stop() {
  running || { rm -f "$PID_FILE"; say "does not run"; return; }
  local pid began=$SECONDS
  pid=$(cat "$PID_FILE")
  kill "$pid"
  while running; do
    ((SECONDS - began < STOP_SECONDS)) || { say "did not end within $STOP_SECONDS s; killed"; kill -9 "$pid"; sleep 1; }
    sleep 0.1
  done
  rm -f "$PID_FILE"
  say "stopped"
}

status() {
  running || { say "does not run"; return 3; }
  ready || { say "runs (pid $(cat "$PID_FILE")) but is not ready"; return 4; }
  say "ready on 127.0.0.1:$PORT (pid $(cat "$PID_FILE"))"
}

dispatch() {
  case ${1:-} in
    install) install_ ;;
    start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    status) status ;;
    *) echo "usage: $NAME.sh install|start|stop|restart|status" >&2; exit 2 ;;
  esac
}
