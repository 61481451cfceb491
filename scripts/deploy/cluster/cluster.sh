#!/usr/bin/env bash
# Three NATS servers, three Holdline nodes on them, and haproxy in front, on this machine.
#
#   ./cluster.sh start    starts what does not run, and waits until haproxy has three nodes
#   ./cluster.sh roll     restarts node after node: no client misses anything
#   ./cluster.sh status   what runs, and what haproxy sees
#   ./cluster.sh stop     ends all of it; what was published stays in the folder of NATS
#
# BASE_PORT (8000): that of haproxy; the nodes have the three behind it, then NATS and its routes.
# RUN_DIR (./run): processes, their words, the publish key, the data of NATS.
# DRAIN (10s): time in which a node ends its lines.
# HOLDLINE: how a node is started; dist/main.js of this checkout, or the `holdline` that is installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${BASE_PORT:-8000}
drain=${DRAIN:-10s}
run=${RUN_DIR:-$here/run}
main=$here/../../../dist/main.js
if [[ -n "${HOLDLINE:-}" ]]; then read -ra holdline <<< "$HOLDLINE"
elif [[ -f "$main" ]]; then holdline=(node "$main")
else holdline=(holdline); fi
nodes=(1 2 3)

node_port() { echo $((base + $1)); }
nats_port() { echo $((base + 10 + $1)); }
route_port() { echo $((base + 20 + $1)); }

say() { echo "cluster: $*"; }
fail() {
  say "$*" >&2
  exit 1
}
[[ "$drain" =~ ^([0-9]+)(\.[0-9]+)?(ms|s|min)$ ]] || fail "DRAIN must be a time such as 500ms, 30s or 2min (got \"$drain\")"
# Seconds that a node may take to end: its drain, rounded up, and what is left to do then.
case "${BASH_REMATCH[3]}" in
  ms) node_end=$((10#${BASH_REMATCH[1]} / 1000 + 11)) ;;
  s) node_end=$((10#${BASH_REMATCH[1]} + 11)) ;;
  *) node_end=$(((10#${BASH_REMATCH[1]} + 1) * 60 + 10)) ;;
esac
# All ports are from BASE_PORT to 23 above it.
[[ "$base" =~ ^[1-9][0-9]{0,4}$ && "$base" -le 65512 ]] || fail "BASE_PORT must be a port from 1 to 65512 (got \"$base\")"

is_running() {
  local pid stat
  [[ -s "$run/$1.pid" ]] || return 1
  pid=$(< "$run/$1.pid")
  kill -0 "$pid" 2> /dev/null || return 1
  # One that has ended may stay for a while, until somebody has taken note of it.
  stat=$(cat "/proc/$pid/stat" 2> /dev/null) || return 1
  [[ "${stat##*) }" != Z* ]]
}

# spawn NAME COMMAND…: in the background, with a pid file and a file of its words.
spawn() {
  local name=$1
  shift
  setsid "$@" >> "$run/$name.log" 2>&1 < /dev/null &
  echo $! > "$run/$name.pid"
}

# until_true SECONDS WHAT COMMAND…
until_true() {
  local seconds=$1 what=$2 until=$((SECONDS + $1))
  shift 2
  while ((SECONDS <= until)); do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "not in $seconds s: $what (see $run/*.log)"
}

# until_serving SECONDS WHAT NAME COMMAND…: the same, but not for longer than the process NAME runs.
until_serving() {
  local name=$3
  until_true "$1" "$2" serves_or_ended "${@:3}"
  if is_running "$name"; then return; fi
  tail -n 3 "$run/$name.log" >&2
  fail "$name has ended, see above and $run/$name.log; a port of BASE_PORT=$base may be taken by another program"
}
serves_or_ended() {
  if is_running "$1"; then "${@:2}"; fi
}

end() {
  is_running "$1" || return 0
  kill -TERM "$(< "$run/$1.pid")" 2> /dev/null || true
  until_true "$2" "the end of $1" has_ended "$1"
  rm -f "$run/$1.pid"
}
has_ended() { ! is_running "$1"; }

start_nats() {
  local n routes=()
  for n in "${nodes[@]}"; do routes+=("nats://127.0.0.1:$(route_port "$n")"); done
  for n in "${nodes[@]}"; do
    is_running "nats$n" && continue
    NATS_NAME=nats$n NATS_PORT=$(nats_port "$n") NATS_ROUTE_PORT=$(route_port "$n") NATS_DIR=$run/nats$n \
      spawn "nats$n" nats-server -c "$here/nats.conf" --routes "$(IFS=,; echo "${routes[*]}")"
  done
}

start_node() {
  local n servers=()
  for n in "${nodes[@]}"; do servers+=("127.0.0.1:$(nats_port "$n")"); done
  spawn "node$1" "${holdline[@]}" serve --host 127.0.0.1 --port "$(node_port "$1")" \
    --log "nats:$(IFS=,; echo "${servers[*]}")" --nats-replicas 3 \
    --publish-key-file "$run/publish-key" --trusted-proxies 127.0.0.1 --drain "$drain"
}

# A node answers before it has opened its log, or not at all: only this says that it serves.
is_ready() { curl -fsS --max-time 2 -o "$run/ready.json" "http://127.0.0.1:$(node_port "$1")/-/ready" 2> /dev/null; }

# haproxy_says COMMAND: its answer, by the stats socket.
haproxy_says() {
  exec 3<> "/dev/tcp/127.0.0.1/$((base + 9))"
  echo "$1" >&3
  cat <&3
  exec 3>&-
}
sees_up() { haproxy_says 'show stat' 2> /dev/null | grep -q "^holdline,node$1,.*,UP,"; }

start() {
  local n command
  for command in nats-server haproxy curl; do
    command -v "$command" > /dev/null || fail "$command is not installed"
  done
  mkdir -p "$run"
  if [[ ! -s "$run/publish-key" ]]; then
    (umask 077 && head -c 32 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' > "$run/publish-key")
  fi
  start_nats
  for n in "${nodes[@]}"; do is_running "node$n" || start_node "$n"; done
  for n in "${nodes[@]}"; do until_serving 45 "node $n is ready" "node$n" is_ready "$n"; done
  if ! is_running haproxy; then
    PUBLIC_PORT=$base STATS_PORT=$((base + 9)) NODE1_PORT=$(node_port 1) NODE2_PORT=$(node_port 2) NODE3_PORT=$(node_port 3) \
      spawn haproxy haproxy -f "$here/haproxy.cfg"
  else
    # A roll that was broken off has left a node out.
    for n in "${nodes[@]}"; do haproxy_says "set server holdline/node$n state ready" > /dev/null; done
  fi
  for n in "${nodes[@]}"; do until_serving 10 "haproxy has node $n" haproxy sees_up "$n"; done
  say "http://127.0.0.1:$base, publish key in $run/publish-key"
}

# One node at a time. haproxy sends it nothing new, then it ends its lines, which come back to the others with their last ids.
roll() {
  local n name
  for name in node1 node2 node3 haproxy; do is_running "$name" || fail "$name does not run: ./cluster.sh start"; done
  for n in "${nodes[@]}"; do
    haproxy_says "set server holdline/node$n state drain" > /dev/null
    end "node$n" "$node_end"
    start_node "$n"
    until_serving 45 "node $n is ready" "node$n" is_ready "$n"
    haproxy_says "set server holdline/node$n state ready" > /dev/null
    until_true 10 "haproxy has node $n" sees_up "$n"
    say "node $n was restarted"
  done
}

status() {
  local name
  for name in nats1 nats2 nats3 node1 node2 node3 haproxy; do
    if is_running "$name"; then say "$name runs ($(< "$run/$name.pid"))"; else say "$name does not run"; fi
  done
  if is_running haproxy; then haproxy_says 'show stat' | grep '^holdline,' | cut -d, -f1,2,5,18; fi
}

stop() {
  local name
  # NATS last, so that the nodes can end what they have begun.
  end haproxy 20
  for name in node1 node2 node3; do is_running "$name" && kill -TERM "$(< "$run/$name.pid")"; done
  for name in node1 node2 node3; do end "$name" "$node_end"; done
  for name in nats1 nats2 nats3; do is_running "$name" && kill -TERM "$(< "$run/$name.pid")"; done
  for name in nats1 nats2 nats3; do end "$name" 20; done
}

case "${1:-}" in
  start | roll | status | stop) "$1" ;;
  *) fail 'say start, roll, status or stop' ;;
esac
