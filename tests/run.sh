#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs the tests, and ends with one line: N passed, N failed, N skipped.
#   tests/run.sh            everything: unit, scenarios, and both again under ASan+UBSan+LSan, TSan where threads meet
#   tests/run.sh quick      unit tests and the short scenarios, one build (under 2 minutes on 2 cores)
#   tests/run.sh scenario X only scenarios whose name matches X (pytest -k)
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-all}
filter=${2:-}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
passed=0 failed=0 skipped=0

tests/install.sh || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }

build() { # directory, meson options
	local dir=$1
	shift
	[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$results/meson.log" 2>&1 || { cat "$results/meson.log"; return 1; }
	ninja -C "$dir" >"$results/ninja.log" 2>&1 || { tail -40 "$results/ninja.log"; return 1; }
}

# libcheck's own count of checks, so that the closing line counts tests and not programs.
count_unit() { # log
	local row
	while read -r row; do
		read -r all bad errors <<<"$(echo "$row" | sed -E 's/.*Checks: ([0-9]+), Failures: ([0-9]+), Errors: ([0-9]+).*/\1 \2 \3/')"
		passed=$((passed + all - bad - errors))
		failed=$((failed + bad + errors))
	done < <(grep -aE 'Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$1")
}

unit() { # build directory
	echo "== unit tests in $1"
	if ! meson test -C "$1" --no-rebuild --print-errorlogs -q >"$results/unit.log" 2>&1; then
		cat "$results/unit.log"
		# A program that died before it could count is one failure.
		failed=$((failed + $(grep -cE ' (TIMEOUT|FAIL|ERROR) ' "$results/unit.log" | head -1)))
	fi
	local log="$1/meson-logs/testlog.txt"
	count_unit "$log"
}

scenario() { # build directory, what -k selects, deadline
	echo "== scenarios against $1${2:+ ($2)}"
	USHER_BUILD=$PWD/$1 USHER_TEST_DEADLINE=$3 /usr/bin/python3 -m pytest -p no:cacheprovider -q --tb=short -x --maxfail=10 \
		tests/scenario ${2:+-k "$2"} --junitxml="$results/scenario.xml" 2>&1 | tee "$results/scenario.log" | grep -vE '^\.+ *\[|^$'
	read -r all bad errors skips <<<"$(/usr/bin/python3 - "$results/scenario.xml" <<'PY'
import sys
import xml.etree.ElementTree as tree
suite = next(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
print(*(suite.get(k, "0") for k in ("tests", "failures", "errors", "skipped")))
PY
)"
	passed=$((passed + all - bad - errors - skips)) failed=$((failed + bad + errors)) skipped=$((skipped + skips))
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=0:exitcode=98:suppressions=$PWD/tests/tsan.supp

build build -Dfault_points=true || { failed=1; finish; }
tests/includes.sh && passed=$((passed + 1)) || failed=$((failed + 1))
case $mode in
quick)
	unit build
	scenario build "not 100_mb and not janus and not notice and not term" 20
	;;
scenario)
	scenario build "$filter" 20
	;;
all)
	unit build
	scenario build "" 20
	build build-asan -Dfault_points=true -Db_sanitize=address,undefined || failed=$((failed + 1))
	unit build-asan
	scenario build-asan "not notice and not janus" 40
	build build-tsan -Dfault_points=true -Db_sanitize=thread || failed=$((failed + 1))
	unit build-tsan
	scenario build-tsan "term or 1000_concurrent or failing_node" 60
	;;
*)
	sed -n '3,6s/^# \?//p' "$0"
	exit 2
	;;
esac
finish
