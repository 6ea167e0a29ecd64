#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the reference pages from the program's own tables.
cd "$(dirname "$0")" || exit 1
usherd=${1:-../../build/router/usherd}
for page in config metrics errors routes; do
	"$usherd" --print $page >$page.md || exit 1
done
