#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What looking at a credential costs, as instructions of a join: the same on every run and machine.
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
command -v valgrind >/dev/null || {
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends valgrind >/dev/null
}
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
exec /usr/bin/python3 tests/bench/credentials.py "$@"
