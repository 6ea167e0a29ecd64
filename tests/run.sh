#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, runs the tests, and ends with one line: N passed, N failed, N skipped.
#   tests/run.sh             everything but what follows: checks of the tree, the model in short, instructions of what a router does
#                            most, unit tests, scenarios, the fault bench in short; unit tests and scenarios again under
#                            ASan+UBSan+LSan, and under TSan where threads meet; each fuzz target for 10 s
#   tests/run.sh quick       one build: checks, unit tests and the short scenarios (a few minutes on 2 cores)
#   tests/run.sh scenario X  only the scenarios whose name matches X (pytest -k)
#   tests/run.sh guards      takes each guard out and sees exactly its test fail
#   tests/run.sh chaos       the fault bench at the size of its figures (about half an hour; USHER_CHAOS_RUNS=3 for three runs of
#                            each), or with `chaos short` in seconds for each
#   tests/run.sh fuzz [H]    the fuzz targets for H hours in all, 1 unless said, by libFuzzer and by afl++
#   tests/run.sh model       the protocol's model: every configuration and every fault put into it (15 minutes of one core)
set -u
cd "$(dirname "$0")/.." || exit 1
mode=${1:-all}
filter=${2:-}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
passed=0 failed=0 skipped=0
jobs=3

case $mode in all | quick | scenario | guards | chaos | fuzz | model) ;; *) sed -n '3,14s/^# \?//p' "$0"; exit 2 ;; esac

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
	exit
}

say() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

tests/install.sh || { failed=1; finish; }

build() { # directory, meson options
	local dir=$1
	shift
	say "building $dir"
	[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >"$results/meson.log" 2>&1 || { cat "$results/meson.log"; failed=$((failed + 1)); finish; }
	ninja -C "$dir" >"$results/ninja.log" 2>&1 || { grep -E -A6 'FAILED|error' "$results/ninja.log" | head -60; failed=$((failed + 1)); finish; }
}

# A script that says what is wrong and exits 0 or 1 is one test; 77: it says why it was skipped.
check() {
	say "$1"
	"$@" >"$results/check.log" 2>&1
	case $? in
	0) passed=$((passed + 1)) ;;
	77) cat "$results/check.log"; skipped=$((skipped + 1)) ;;
	*) cat "$results/check.log"; failed=$((failed + 1)) ;;
	esac
}

# libcheck's own count of checks, so that the closing line counts tests and not programs.
count_unit() { # log
	local all bad errors
	while read -r all bad errors; do
		passed=$((passed + all - bad - errors))
		failed=$((failed + bad + errors))
	done < <(sed -nE 's/.*Checks: ([0-9]+), Failures: ([0-9]+), Errors: ([0-9]+).*/\1 \2 \3/p' "$1")
}

unit() { # build directory, options of meson test
	say "unit tests in $*"
	local log="$1/meson-logs/testlog.txt"
	rm -f "$log"
	# Most of the time of the slow ones is waiting, too. Limits of time are there for what hangs; on a machine under load all takes longer.
	if ! CK_TIMEOUT_MULTIPLIER=5 meson test -C "$1" --no-rebuild --num-processes 4 --timeout-multiplier 5 --print-errorlogs -q "${@:2}" >"$results/unit.log" 2>&1; then
		cat "$results/unit.log"
		# The program's exit is one failure more than its checks: one that died before it could count has only this.
		failed=$((failed + 1))
	fi
	[ -f "$log" ] || { echo "no unit test ran"; failed=$((failed + 1)); return; }
	count_unit "$log"
}

# Most of a scenario is waiting, so three go at a time.
scenario() { # build directory, what -k selects, deadline in seconds of each wait, where
	say "scenarios against $1${2:+ ($2)}"
	USHER_BUILD=$PWD/$1 USHER_TEST_DEADLINE=$3 /usr/bin/python3 -m pytest -p no:cacheprovider -q --tb=short --maxfail=10 -n $jobs \
		${4:-tests/scenario --ignore=tests/scenario/chaos} ${2:+-k "$2"} --junitxml="$results/scenario.xml" 2>&1 | grep -vE '^[.sFE]+ *\[|^$'
	local all bad errors skips
	read -r all bad errors skips <<<"$(/usr/bin/python3 - "$results/scenario.xml" <<'PY'
import sys
import xml.etree.ElementTree as tree
suite = next(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
print(*(suite.get(k, "0") for k in ("tests", "failures", "errors", "skipped")))
PY
)"
	rm -f "$results/scenario.xml"
	[ -n "$all" ] || { failed=$((failed + 1)); return; }
	passed=$((passed + all - bad - errors - skips)) failed=$((failed + bad + errors)) skipped=$((skipped + skips))
}

# That each patch still fits; whether its test fails without the guard, tests/run.sh guards sees.
guards_fit() {
	local patch
	for patch in tests/guards/*.patch; do
		patch --dry-run -s -f -F0 -p1 <"$patch" || { echo "$patch does not apply"; return 1; }
	done
}

guards() {
	local patch
	for patch in tests/guards/*.patch; do
		check tests/guards.sh "$patch"
	done
}

# Each target is one test.
fuzz() {
	say "fuzz targets ($*)"
	tests/fuzz/run.sh "$@" | tee "$results/fuzz.log"
	local good bad
	read -r good bad < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$results/fuzz.log" | tail -1)
	passed=$((passed + ${good:-0})) failed=$((failed + ${bad:-1}))
}

export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=0:exitcode=98:suppressions=$PWD/tests/tsan.supp

if [ "$mode" = model ]; then
	check tests/model/run.sh
	finish
fi
if [ "$mode" = fuzz ]; then
	fuzz long "${filter:-1}"
	finish
fi
build build -Dfault_points=true
case $mode in
quick)
	check tests/includes.sh
	check tests/reference.sh build
	check tests/hardening.sh build
	unit build --no-suite long
	scenario build "not 100_mb and not janus and not notice and not term and not sentinel and not cluster and not drain and not stories and not silent_tunnel and not proxies and not tls_out and not undisturbed" 20
	;;
scenario)
	scenario build "$filter" 20
	;;
guards)
	guards
	;;
chaos)
	jobs=0 # figures: nothing beside them
	scenario build "chaos and ${filter:-full}" 20 tests/scenario/chaos
	;;
all)
	check tests/includes.sh
	check tests/reference.sh build
	check tests/pkgconfig.sh build
	check tests/hardening.sh build
	check tests/sbom.sh build
	check tests/model/run.sh quick
	check tests/bench/instructions.sh
	check tests/sim/run.sh quick
	unit build
	check guards_fit
	scenario build "not undisturbed" 20 # -k knows marks, too
	jobs=0
	scenario build undisturbed 20
	jobs=2 # its limits are times: not too much beside them
	scenario build "short or checker" 20 tests/scenario/chaos
	jobs=3
	build build-asan -Dfault_points=true -Db_sanitize=address,undefined
	unit build-asan
	scenario build-asan "not notice and not janus and not sandbox and not undisturbed" 40
	jobs=0
	scenario build-asan undisturbed 40
	jobs=3
	fuzz short 10
	build build-tsan -Dfault_points=true -Db_sanitize=thread
	unit build-tsan
	scenario build-tsan "term or 1000_concurrent or failing_node or 500_rooms or never_answers" 60
	;;
esac
finish
