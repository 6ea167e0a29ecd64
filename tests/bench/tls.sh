#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tunnels over TLS beside HAProxy: messages a second and CPU a message of 64, memory of 2,000 idle ones. tls.sh [ROUNDS [SECONDS]]
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
dpkg-query -W haproxy >/dev/null 2>&1 || {
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	printf '#!/bin/sh\nexit 101\n' | $sudo tee /usr/sbin/policy-rc.d >/dev/null && $sudo chmod +x /usr/sbin/policy-rc.d
	$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends haproxy >/dev/null
	$sudo rm -f /usr/sbin/policy-rc.d
}
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
exec /usr/bin/python3 tests/bench/tls.py "$@"
