#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# archive.sh LIBRARY BASE OUT: one object of the library and the members of base/ that it needs, all names but usher_* made
# local, so that a program linked statically may have a loop_new() of its own.
set -eu
ld -r -o "$3.o" --whole-archive "$1" --no-whole-archive "$2"
objcopy --wildcard --keep-global-symbol='usher_*' "$3.o"
rm -f "$3"
ar rcs "$3" "$3.o"
rm -f "$3.o"
