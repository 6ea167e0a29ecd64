#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Requests a second and CPU a request of `route` for a known room, beside a bare responder and nginx with Lua and Redis.
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
packages="wrk nginx-light libnginx-mod-http-lua lua-nginx-redis"
# shellcheck disable=SC2086 # a list of words
dpkg-query -W $packages >/dev/null 2>&1 || {
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	printf '#!/bin/sh\nexit 101\n' | $sudo tee /usr/sbin/policy-rc.d >/dev/null && $sudo chmod +x /usr/sbin/policy-rc.d
	$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >/dev/null
	$sudo rm -f /usr/sbin/policy-rc.d
}
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
exec /usr/bin/python3 tests/bench/route.py "$@"
