#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Takes one guard out, on a copy, and sees its test fail: tests/guards.sh tests/guards/NAME.patch
# Before the diff stand "Guard:" (what is taken out) and "Test:": `unit PROGRAM TEST` (a meson test and the check in it) or
# `scenario EXPRESSION` (pytest -k). The test must pass as it is, which the other runs show, and fail here by itself: not
# because something does not build. All the tests of its program, or file of scenarios, run with it: of those only the ones that
# stand under "Also:" (names, with blanks between) may fail as well.
set -u
cd "$(dirname "$0")/.." || exit 1
patch=$PWD/$1
copy=$PWD/build-guards
word() { sed -nE "s/^$1: *//p" "$patch" | head -1; }
read -r kind what check <<<"$(word Test)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
fail() { tail -30 "$log"; echo "guards: $(basename "$patch"): $*"; exit 1; }

# Only what differs is written, and only what the test runs is built, so that the next guard builds little.
mkdir -p "$copy/tree"
git ls-files -co --exclude-standard | while read -r file; do
	[ -f "$file" ] || continue
	cmp -s "$file" "$copy/tree/$file" || { mkdir -p "$copy/tree/$(dirname "$file")" && cp -p "$file" "$copy/tree/$file" && touch "$copy/tree/$file"; }
done
(cd "$copy/tree" && find . -type f ! -name '*.pyc') | sed 's|^\./||' | while read -r file; do
	[ -f "$file" ] || rm "$copy/tree/$file" # gone since the run before
done
[ -f "$copy/build/build.ninja" ] || meson setup "$copy/build" "$copy/tree" -Dfault_points=true >"$log" 2>&1 || fail "meson"
patch -d "$copy/tree" -p1 --no-backup-if-mismatch -s <"$patch" >"$log" 2>&1 || fail "does not apply"
case $kind in
unit) built=(tests/test_"${what/\//_}") ;;
scenario) built=(router/usherd client/agent/usher-agent client/ctl/usherctl) ;;
*) fail "Test: must be unit or scenario" ;;
esac
ninja -C "$copy/build" "${built[@]}" >"$log" 2>&1 || fail "does not build"

# The names of the tests that failed, one a line: of a program of check, of a file of pytest.
failed_checks() { sed -nE 's/.*:[FE]:[^:]*:([A-Za-z0-9_]+):.*/\1/p' "$log" | sort -u; }
failed_scenarios() { sed -nE 's/^(FAILED|ERROR) [^:]*::([A-Za-z0-9_]+).*/\2/p' "$log" | sort -u; }
scenarios() { USHER_BUILD=$copy/build USHER_TEST_DEADLINE=10 /usr/bin/python3 -m pytest -p no:cacheprovider -q "$@" 2>&1; }

case $kind in
unit)
	"$copy/build/${built[0]}" >"$log" 2>&1
	named=$check failed=$(failed_checks)
	;;
scenario)
	found=$(cd "$copy/tree" && scenarios --collect-only --ignore=tests/scenario/chaos tests/scenario -k "$what${check:+ $check}" | grep ::)
	[ -n "$found" ] || fail "there is no test $what"
	named=$(sed -E 's/.*::([A-Za-z0-9_]+).*/\1/' <<<"$found" | sort -u)
	(cd "$copy/tree" && scenarios -n 3 --tb=line -rfE $(cut -d: -f1 <<<"$found" | sort -u)) >"$log"
	failed=$(failed_scenarios)
	;;
esac
[ -n "$(comm -12 <(echo "$named") <(echo "$failed"))" ] || fail "$what $check passes without its guard"
others=$(comm -13 <(tr ' ' '\n' <<<"$named $(word Also)" | sort -u) <(echo "$failed") | xargs)
[ -z "$others" ] || fail "fails as well, and stands not under Also: $others"
echo "$(basename "$patch" .patch): its test fails without it"
