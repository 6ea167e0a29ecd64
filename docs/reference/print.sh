#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Prints the reference pages from the programs' own tables.  print.sh [BUILD [DIRECTORY]]
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:-build}
to=${2:-docs/reference}
for page in config metrics errors routes redis-errors; do
	"$build/router/usherd" --print $page >"$to/$page.md" || exit 1
done
"$build/client/agent/usher-agent" --print config >"$to/agent.md" || exit 1
{
	printf '# usherctl\n\n```\n'
	"$build/client/ctl/usherctl" --help || exit 1
	printf '```\n'
} >"$to/usherctl.md"
