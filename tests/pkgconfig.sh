#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libusher as its users get it: installed into a directory, found by pkg-config, linked shared and static by the programs of
# docs/libusher.md, which are run against a router of a few lines.
#   tests/pkgconfig.sh BUILD_DIR
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
work=$(mktemp -d)
router=
trap '[ -z "$router" ] || kill "$router"; rm -rf "$work"' EXIT
fail() { echo "pkgconfig: $*"; exit 1; }

ninja -C "$build" $(grep -oE '^build client/lib/libusher\.(a|so[.0-9]*[0-9])' "$build/build.ninja" | cut -d' ' -f2) >"$work/log" 2>&1 || { tail -20 "$work/log"; fail "does not build"; }
meson install -C "$build" --no-rebuild --destdir "$work/to" --tags devel,libusher >"$work/log" 2>&1 || { tail -5 "$work/log"; fail "does not install"; }
pc=$(find "$work/to" -name usher.pc)
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$work/to LD_LIBRARY_PATH=$lib
[ -e "$lib/libusher.so.0" ] && [ -e "$lib/libusher.so" ] && [ -e "$lib/libusher.a" ] || fail "libraries are missing"

# Other people's programs have names like loop_new and http_fetch of their own.
for names in "nm -D --defined-only $lib/libusher.so" "nm -g --defined-only $lib/libusher.a"; do
	others=$($names | awk 'NF == 3 && $2 != "A" && $3 !~ /^usher_/ { print $3 }')
	[ -z "$others" ] || fail "shows more than usher_*:" $others
done
for name in $(grep -oE '\busher_(node|join)[a-z_]*\(' "$root/client/lib/usher/usher.h" | tr -d '(' | sort -u); do
	nm -D --defined-only "$lib/libusher.so" | grep -qE " $name(@|$)" || fail "declared and not there: $name"
done

cat >"$work/router.py" <<'PY'
import http.server
import json

class Router(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/join" in self.path:
            assert json.loads(body) == {"participant": "ann", "require": {"gpu": "yes"}}
            say = {"room": "standup", "epoch": 7, "node": {"id": "sfu-1"}, "signal": {"mode": "proxy", "url": "ws://h/s"}}
        else:
            say = {"registration": 5, "renewed": True, "lease_ms": 4000, "heartbeat_ms": 50}
        text = json.dumps(say).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_PUT = do_POST = do_DELETE = do_any

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Router)
print(server.server_port, flush=True)
server.serve_forever()
PY
mkfifo "$work/port"
python3 "$work/router.py" >"$work/port" &
router=$!
read -r port <"$work/port"

# A sanitized build's library needs its runtime in the program as well.
sanitize=$(sed -nE "s/.*-fsanitize=([a-z,]+).*/-fsanitize=\1/p" "$build/compile_commands.json" | head -1)
check() { # how it is linked, pkg-config and cc flags
	local how=$1
	shift
	for name in sfu join; do
		awk -v open="^\`\`\`c file=$name.c" '$0 ~ open { on = 1; next } /^```/ { on = 0 } on' "$root/docs/libusher.md" >"$work/$name.c"
		# shellcheck disable=SC2046
		${CC:-cc} -Wall -Wextra -Werror $sanitize "$work/$name.c" -o "$work/$name-$how" $(pkg-config --cflags usher) "$@" || fail "$name.c does not build ($how)"
	done
	[ "$(timeout 20 "$work/join-$how" standup "http://127.0.0.1:$port")" = "standup is on sfu-1: ws://h/s" ] || fail "join ($how)"
	# Once it admits, its input ends, and it leaves.
	mkfifo "$work/in-$how"
	timeout 20 "$work/sfu-$how" "http://127.0.0.1:$port" <"$work/in-$how" 2>&1 | {
		exec 9>"$work/in-$how"
		read -r first || true
		exec 9>&-
		read -r last || true
		[ "$first $last" = "admits: lease renewed left: deregistered" ] || fail "sfu ($how): $first, $last"
	} || exit 1
	! "$work/sfu-$how" ftp://x </dev/null 2>"$work/why" || fail "sfu took ftp:// ($how)"
	grep -q '^routers: ' "$work/why" || fail "sfu says: $(cat "$work/why")"
}
check shared $(pkg-config --libs usher)
ldd "$work/join-shared" | grep -q 'libusher.so.0 ' || fail "not linked with libusher.so.0"
check static "$lib/libusher.a" $(pkg-config --libs $(pkg-config --print-requires-private usher)) -pthread -lm
! ldd "$work/join-static" | grep -q libusher || fail "linked with the shared library"
if command -v c++ >/dev/null; then
	echo '#include <usher/usher.h>
	int main() { return usher_node_phase_name(USHER_NODE_ADMITS) == nullptr; }' >"$work/plus.cc"
	c++ -Wall -Wextra -Werror $sanitize "$work/plus.cc" -o "$work/plus" $(pkg-config --cflags --libs usher) && "$work/plus" || fail "not for C++"
fi
echo "pkgconfig: ok"
