#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# usher beside what people use instead, in turns: run.sh [ROUNDS [SECONDS [WORK…]]]. Installs the peers, writes docs/benchmarks.md.
set -eu
cd "$(dirname "$0")/../.."
tests/bench/install.sh
[ -f build-release/build.ninja ] || meson setup build-release --buildtype=release -Dtests=false >/dev/null
ninja -C build-release >/dev/null
export PYTHONPATH=tests/bench
exec /usr/bin/python3 -m compare "$@"
