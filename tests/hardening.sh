#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The programs are built so that a fault in memory is hard to use, and the units give them no more than they need.
# Argument: the build directory.
set -u
cd "$(dirname "$0")/.." || exit 1
build=$1
bad=0
wrong() { echo "$*"; bad=1; }

# In tenths of systemd's points from 0 to 10, of which it calls 5 and more exposed.
exposure_max=20

# Position-independent, stack protector, checked library calls, tables read-only before main(). Not the mark of control-flow
# protection: the linker sets it only where the C library's own start files have it, and Debian's have not.
for program in router/usherd client/agent/usher-agent client/ctl/usherctl; do
	said=$(hardening-check --nocfprotection "$build/$program") || wrong "$said"
	grep -q 'Immediate binding: yes' <<<"$said" || wrong "$program: $said"
	readelf -lW "$build/$program" | grep -q 'GNU_STACK.* RW ' || wrong "$program: its stack is executable"
done
# So that one is looked for in what we compile ourselves.
if [ "$(uname -m)" = x86_64 ]; then
	for object in "$build"/router/usherd.p/main.c.o "$build"/base/libusher-base.a.p/url.c.o; do
		readelf -nW "$object" 2>/dev/null | grep -q 'IBT, SHSTK' || wrong "$object: built without -fcf-protection"
	done
fi

units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
cp deploy/systemd/*.service deploy/systemd/*.socket "$units"
sed -i "s|/usr/bin/usherd|$PWD/$build/router/usherd|; s|/usr/bin/usher-agent|$PWD/$build/client/agent/usher-agent|" "$units"/*.service
said=$(systemd-analyze verify --man=no "$units"/* 2>&1) && [ -z "$said" ] || wrong "units: $said"
for unit in "$units"/*.service; do
	said=$(systemd-analyze security --offline=true --no-pager --threshold=$exposure_max "$unit" 2>&1) ||
		wrong "$(basename "$unit"): $(tail -1 <<<"$said")"
done
exit $bad
