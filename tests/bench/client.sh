#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an HTTP/1.1 client of our own would gain for proxied requests: client.sh [ROUNDS [REQUESTS]]. First libcurl's instructions of a proxied
# request, then CPU time of bare_client.c's two clients and of a router, in turns.
set -eu
cd "$(dirname "$0")/../.."
tests/bench/install.sh
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
cc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wconversion -Werror tests/bench/bare_client.c -o build-release/bare_client -lcurl
/usr/bin/python3 tests/bench/instructions.py client
export PYTHONPATH=tests/bench
exec /usr/bin/python3 tests/bench/client.py "$@"
