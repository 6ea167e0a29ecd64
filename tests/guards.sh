#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Takes one guard out, on a copy, and sees its test fail: tests/guards.sh tests/guards/NAME.patch
# Before the diff stand "Guard:" (what is taken out) and "Test:": `unit PROGRAM TEST` (a meson test and the check in it) or
# `scenario EXPRESSION` (pytest -k). The test must pass as it is, which the other runs show, and fail here by itself: not
# because something does not build.
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
[ -f "$copy/build/build.ninja" ] || meson setup "$copy/build" "$copy/tree" -Dfault_points=true >"$log" 2>&1 || fail "meson"
patch -d "$copy/tree" -p1 --no-backup-if-mismatch -s <"$patch" >"$log" 2>&1 || fail "does not apply"
case $kind in
unit) built=(tests/test_"${what/\//_}") ;;
scenario) built=(router/usherd client/agent/usher-agent client/ctl/usherctl) ;;
*) fail "Test: must be unit or scenario" ;;
esac
ninja -C "$copy/build" "${built[@]}" >"$log" 2>&1 || fail "does not build"

case $kind in
unit)
	"$copy/build/${built[0]}" >"$log" 2>&1
	grep -qE ":[FE]:[^:]*:$check:" "$log" || fail "$what $check passes without its guard"
	;;
scenario)
	USHER_BUILD=$copy/build USHER_TEST_DEADLINE=10 /usr/bin/python3 -m pytest -p no:cacheprovider -q --tb=line \
		--ignore="$copy/tree/tests/scenario/chaos" "$copy/tree/tests/scenario" -k "$what${check:+ $check}" >"$log" 2>&1
	[ $? = 1 ] && grep -qE '[0-9]+ failed' "$log" || fail "$what does not fail without its guard"
	;;
esac
echo "$(basename "$patch" .patch): its test fails without it"
