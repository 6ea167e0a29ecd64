#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The direction of the house: base <- registry <- health <- router, base <- client; and one file for each foreign library.
cd "$(dirname "$0")/.." || exit 1
bad=0
forbid() { # folder, pattern of includes that it must not have, why
	local found
	found=$(grep -rnE "#include [\"<]$2" "$1" --include='*.[ch]') && { echo "$found"; echo "^ $3"; bad=1; }
}
forbid base '(registry|health|router|client)/' 'base knows nothing of the folders above it'
forbid registry '(health|router|client)/' 'registry stands on base alone'
forbid health '(router|client)/' 'health stands on base and registry'
forbid client '(registry|health|router)/' 'client stands on base alone'
forbid router 'client/' 'router knows no client'
only() { # header, files that may include it
	local found
	found=$(grep -rlE "#include <$1" base registry health router client --include='*.[ch]' | grep -vE "^($2)\$")
	[ -z "$found" ] || { echo "<$1> outside its adapter: $found"; bad=1; }
}
only 'uv\.h' 'base/loop[a-z_]*\.[ch]'
only 'microhttpd\.h' 'base/httpd[a-z_]*\.[ch]'
only 'curl/' 'base/(http|forward)[a-z_]*\.[ch]'
only 'hiredis/' 'registry/redis[a-z_]*\.[ch]'
only 'cjson/' 'base/json[a-z_]*\.[ch]'
only 'ini\.h' 'base/conf[a-z_]*\.[ch]'
exit $bad
