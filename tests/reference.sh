#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The committed pages of docs/reference/ are what the programs print today. Argument: the build directory.
set -u
cd "$(dirname "$0")/.." || exit 1
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
docs/reference/print.sh "$1" "$fresh" || exit 1
bad=0
for page in "$fresh"/*.md; do
	diff -u "docs/reference/$(basename "$page")" "$page" || bad=1
done
[ $bad = 0 ] || echo "docs/reference/ is behind: run docs/reference/print.sh"
exit $bad
