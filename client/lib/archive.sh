#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# archive.sh OUT LIBRARY BASE OBJCOPY AR CC…: one object of the library and the members of base/ that it needs, all names but
# usher_* made local, so that a program linked statically may have a loop_new() of its own.
set -eu
out=$1 library=$2 base=$3 objcopy=$4 ar=$5
shift 5
"$@" -r -nostdlib -o "$out.o" -Wl,--whole-archive "$library" -Wl,--no-whole-archive "$base"
"$objcopy" --wildcard --keep-global-symbol='usher_*' "$out.o"
rm -f "$out"
"$ar" rcs "$out" "$out.o"
rm -f "$out.o"
