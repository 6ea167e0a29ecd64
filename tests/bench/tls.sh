#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tunnels over TLS beside HAProxy: messages a second and CPU a message of 64, memory of 2,000 idle ones. tls.sh [ROUNDS [SECONDS]]
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
exec /usr/bin/python3 tests/bench/tls.py "$@"
