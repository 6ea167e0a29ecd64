#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usher on one machine, to try it out: installs what is missing (Debian 12 and 13), builds, starts one router and a few
# SFUs each with its agent, and stops exactly what it started on Ctrl-C. Everything listens on loopback; configurations,
# secrets and logs live in a private directory that goes away with it. Nothing waits by sleeping a fixed time: readiness is
# polled up to a deadline.
set -u
umask 077

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$ROOT/build
NODES=2
SFU=janus
REDIS=no
ONCE=no
READY_S=30
STOP_S=25 # usherd: server.lame_duck_ms + server.drain_ms are 15 s at most, here much less

DIR=
POLICY=
PIDS=()  # what we started, in order
NAMES=()

usage() {
	cat <<'END'
deploy/run.sh: try usher on this machine

  deploy/run.sh [--nodes N] [--echo] [--redis] [--build DIR] [--once]

  --nodes N    so many SFUs (2; at most 16)
  --echo       usher's own echo SFU instead of Janus: no media, enough for joins and tunnels
  --redis      a private redis-server as the store, instead of the router's own memory
  --build DIR  where to build (build/)
  --once       stop as soon as all is up: checks that everything works here
  --help       this text

Missing packages are installed with apt-get (as root, or by sudo); no service is started by that. Ctrl-C stops all.
END
}

say() { printf '%s\n' "$*"; }
fail() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 1
}

read_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--nodes) [ $# -gt 1 ] || fail "--nodes needs a number"; NODES=$2; shift ;;
		--build) [ $# -gt 1 ] || fail "--build needs a directory"; BUILD=$2; shift ;;
		--echo) SFU=echo ;;
		--redis) REDIS=yes ;;
		--once) ONCE=yes ;;
		--help | -h) usage; exit 0 ;;
		*) usage >&2; exit 2 ;;
		esac
		shift
	done
	case $NODES in '' | *[!0-9]* | ???*) fail "--nodes must be 1 to 16" ;; esac
	[ "$NODES" -ge 1 ] && [ "$NODES" -le 16 ] || fail "--nodes must be 1 to 16"
}

# -- packages ----------------------------------------------------------------------------------------------------------
has_package() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
can_install() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

wanted_packages() {
	echo gcc libc6-dev pkg-config meson ninja-build curl libuv1-dev libmicrohttpd-dev libhiredis-dev
	echo libcurl4-openssl-dev libcjson-dev libinih-dev libssl-dev
	[ $REDIS = yes ] && echo redis-server
	[ $SFU = janus ] && echo janus
	return 0
}

missing_packages() {
	local package
	for package in $(wanted_packages); do
		# Any compiler, pkg-config or curl will do, wherever it came from.
		case $package in
		gcc | curl | meson | pkg-config | janus | redis-server) command -v "$package" >/dev/null && continue ;;
		ninja-build) command -v ninja >/dev/null && continue ;;
		esac
		has_package "$package" || echo "$package"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Packages start their services when they are installed, unless this file says no. It is ours only if none was there.
forbid_services() {
	[ -e /usr/sbin/policy-rc.d ] && return
	POLICY=/usr/sbin/policy-rc.d
	as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$POLICY && chmod 755 $POLICY"
}

allow_services() {
	[ -z "$POLICY" ] || as_root rm -f "$POLICY"
	POLICY=
}

apt() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null >>"$DIR/apt.log" 2>&1; }

install_packages() {
	local missing
	missing=$(missing_packages | tr '\n' ' ')
	[ -n "$missing" ] || return 0
	command -v apt-get >/dev/null || fail "missing: $missing(this script installs them on Debian only)"
	[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "missing: $missing; run as root, or install them with: apt-get install $missing"
	say "packages  updating the list"
	apt update || fail "apt-get update failed: $(tail -n 3 "$DIR/apt.log")"
	if [ $SFU = janus ] && ! command -v janus >/dev/null && ! can_install janus; then
		say "sfu       this Debian has no package janus: using usher's echo SFU"
		SFU=echo
		missing=$(missing_packages | tr '\n' ' ')
		[ -n "$missing" ] || return 0
	fi
	say "packages  installing $missing"
	forbid_services
	# shellcheck disable=SC2086 # a list of words
	apt install -y --no-install-recommends $missing || fail "apt-get install failed: $(tail -n 5 "$DIR/apt.log")"
	allow_services
}

build() {
	say "build     $BUILD"
	if [ ! -f "$BUILD/build.ninja" ]; then
		meson setup "$BUILD" "$ROOT" -Dtests=false >"$DIR/build.log" 2>&1 || fail "meson failed: $(tail -n 20 "$DIR/build.log")"
	fi
	ninja -C "$BUILD" router/usherd client/agent/usher-agent client/ctl/usherctl >>"$DIR/build.log" 2>&1 ||
		fail "the build failed: $(tail -n 20 "$DIR/build.log")"
}

# -- processes ---------------------------------------------------------------------------------------------------------
# A session of its own each: Ctrl-C reaches this script only, which then stops them in the right order.
start() { # NAME COMMAND...
	local name=$1
	shift
	setsid "$@" </dev/null >"$DIR/$name.log" 2>&1 &
	PIDS+=($!)
	NAMES+=("$name")
}

alive() { kill -0 "$1" 2>/dev/null; }

# Polls until the command succeeds, the process just started ends, or the time is over.
await() { # NAME COMMAND...
	local name=$1 pid=${PIDS[-1]} end=$((SECONDS + READY_S))
	shift
	until "$@" >/dev/null 2>&1; do
		alive "$pid" || return 1
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

show_log() {
	say "last lines of $1's log:" >&2
	tail -n 15 "$DIR/$1.log" >&2
}

stop_one() { # INDEX
	local pid=${PIDS[$1]} end=$((SECONDS + STOP_S))
	alive "$pid" || return 0
	kill -TERM "$pid" 2>/dev/null
	while alive "$pid" && [ $SECONDS -lt $end ]; do
		sleep 0.05
	done
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

# Last started, first stopped: agents leave while the router is still there to hear it.
stop_all() {
	local i code=$?
	trap '' INT TERM HUP
	trap - EXIT
	allow_services
	[ ${#PIDS[@]} = 0 ] || say "stopping"
	for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
		stop_one "$i"
	done
	[ -z "$DIR" ] || rm -rf "$DIR"
	exit "$code"
}

# Free ports, as the kernel gives them; a wish first, if it is free. Another process may take one before it is used:
# who starts something on them tries again.
free_ports() { # COUNT [WISH]
	python3 - "$@" <<'END'
import socket, sys
count, wishes = int(sys.argv[1]), [int(w) for w in sys.argv[2:]]
held = []
def take(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", port))
        s.listen()
    except OSError:
        return False
    held.append(s)
    return True
for wish in wishes:
    take(wish)
while len(held) < count:
    take(0)
print(*(s.getsockname()[1] for s in held[:count]))
END
}

new_secret() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
forget_last() {
	unset 'PIDS[-1]' 'NAMES[-1]'
}

start_redis() {
	local port
	for _ in 1 2 3; do
		port=$(free_ports 1)
		start redis redis-server --bind 127.0.0.1 --port "$port" --dir "$DIR" --save '' --appendonly no --daemonize no
		if await redis redis-cli -h 127.0.0.1 -p "$port" ping; then
			STORE=redis://127.0.0.1:$port
			return
		fi
		stop_one $((${#PIDS[@]} - 1))
		forget_last
	done
	show_log redis
	fail "redis-server does not start"
}

start_router() {
	local port
	for _ in 1 2 3; do
		port=$(free_ports 1 8080)
		URL=http://127.0.0.1:$port
		start usherd "$BUILD/router/usherd" --set "server.listen=127.0.0.1:$port" --set "registry.url=$STORE" \
			--set server.lame_duck_ms=0 --set server.drain_ms=1000
		await usherd curl -fsS -m 1 "$URL/livez" && return
		stop_one $((${#PIDS[@]} - 1))
		forget_last
	done
	show_log usherd
	fail "usherd does not start"
}

render() { # DIRECTORY NAME=VALUE...
	local out=$1 file script=
	shift
	for pair in "$@"; do
		script+="s|@${pair%%=*}@|${pair#*=}|g;"
	done
	mkdir -p "$out"
	for file in "$ROOT"/deploy/janus/*.jcfg.in; do
		sed "$script" "$file" >"$out/$(basename "$file" .in)"
	done
}

start_janus() { # INDEX
	local name=janus-$1 width=$((10000 / NODES)) first
	first=$((20000 + ($1 - 1) * width))
	ADMIN_SECRET=$(new_secret)
	ADMIN_KEY=$(new_secret)
	for _ in 1 2 3; do
		read -r HTTP_PORT WS_PORT ADMIN_PORT < <(free_ports 3)
		render "$DIR/$name" "NAME=$name" "HTTP_PORT=$HTTP_PORT" "WS_PORT=$WS_PORT" "ADMIN_PORT=$ADMIN_PORT" \
			"RTP_RANGE=$first-$((first + width - 1))" "ADMIN_SECRET=$ADMIN_SECRET" "ADMIN_KEY=$ADMIN_KEY"
		start "$name" janus -F "$DIR/$name" --disable-colors
		await "$name" curl -fsS -m 1 "http://127.0.0.1:$HTTP_PORT/janus/info" && return
		stop_one $((${#PIDS[@]} - 1))
		forget_last
	done
	show_log "$name"
	fail "Janus does not start"
}

write_agent_conf() { # NODE
	cat <<END
[agent]
node = $1
routers = $URL
adapter = $SFU
listen = 127.0.0.1:0
control_listen = 127.0.0.1:0
END
	[ $SFU = janus ] || return 0
	cat <<END
sfu_url = ws://127.0.0.1:$WS_PORT
sfu_http_url = http://127.0.0.1:$HTTP_PORT/janus
sfu_admin_url = http://127.0.0.1:$ADMIN_PORT/admin
admin_secret = $ADMIN_SECRET
admin_key = $ADMIN_KEY
END
}

start_agent() { # INDEX
	local name=agent-$1 node=sfu-$1
	[ $SFU = echo ] || start_janus "$1"
	write_agent_conf "$node" >"$DIR/$name.ini"
	start "$name" "$BUILD/client/agent/usher-agent" -c "$DIR/$name.ini"
	await "$name" node_ready "$node" && return
	show_log "$name"
	fail "the agent of $node does not come up"
}

usherctl() { "$BUILD/client/ctl/usherctl" --url "$URL" "$@"; }
node_ready() { usherctl node "$1" | grep -q '^new rooms  *yes'; }

say_what_next() {
	cat <<END

usher is up: $URL, $NODES ${SFU} SFU(s), store ${STORE%%//*}
logs and configurations: $DIR

Try:
  curl -s -X POST $URL/v1/rooms/standup/join
  $BUILD/client/ctl/usherctl --url $URL nodes
  $BUILD/client/ctl/usherctl --url $URL rooms
  curl -s $URL/metrics | grep usher_rooms
Signaling of the room goes through ${URL/http:/ws:}/v1/rooms/standup/signal${JANUS_HINT}

Ctrl-C stops everything and removes $DIR.
END
}

# Until a signal comes, or something that should run has ended.
watch_over() {
	wait -n "${PIDS[@]}"
	for i in "${!PIDS[@]}"; do
		alive "${PIDS[$i]}" && continue
		show_log "${NAMES[$i]}"
		fail "${NAMES[$i]} has ended"
	done
}

main() {
	read_options "$@"
	DIR=$(mktemp -d "${TMPDIR:-/tmp}/usher.XXXXXXXX") || exit 1
	trap stop_all EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	install_packages
	build
	STORE=memory:
	[ $REDIS = no ] || start_redis
	start_router
	for ((n = 1; n <= NODES; n++)); do
		start_agent "$n"
		say "node      sfu-$n is ready"
	done
	JANUS_HINT=
	[ $SFU = echo ] || JANUS_HINT=" (subprotocol janus-protocol)"
	say_what_next
	[ $ONCE = yes ] || watch_over
}

main "$@"
