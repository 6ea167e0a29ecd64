#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Instructions of a release build for each of what a router does most, by callgrind: the same however busy the machine is.
#   tests/bench/instructions.sh              beside instructions.json: fails if one grew by more than 10 %, or if a route with four
#                                            workers takes more than 1.02 of one with one; exits 77 where nothing can be compared
#   tests/bench/instructions.sh record       writes instructions.json anew: in the commit that says why
#   tests/bench/instructions.sh spread [N]   N whole runs (5): how far they are apart
#   tests/bench/instructions.sh profile [N]  where they go: by library, and the N functions (5) that take most
#   tests/bench/instructions.sh client       of a proxied request of 1 KiB: all, timers too, and how much of it is libcurl's
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
exec /usr/bin/python3 tests/bench/instructions.py "$@"
