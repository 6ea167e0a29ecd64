#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the programs are linked with, as CycloneDX 1.5: deploy/sbom.sh PROGRAM... >usher.cdx.json
# A component for each Debian package, with the libraries of it that are loaded as its properties. The versions are those of this
# machine: run it where the programs run, or where they are packed. The same machine gives the same text: no time and no number is in it.
set -eu
[ $# -gt 0 ] || { sed -n '3,5s/^# \?//p' "$0" >&2; exit 2; }

quoted() { printf '"%s"' "$(sed 's/[\\"]/\\&/g' <<<"$1" | tr -d '\000-\037')"; }

libraries() { # the files that the loader would take
	ldd "$@" | sed -nE 's/^[[:space:]]+(.* => )?(\/[^ ]+) \(0x.*/\2/p' | sort -u
}

# A library is listed by its package where it was unpacked, which with a merged /usr is not where the loader finds it.
package_of() { # path
	local path
	for path in "$1" "$(readlink -f "$1")" "/usr$1" "$(readlink -f "$1" | sed 's|^/usr||')"; do
		dpkg-query -S "$path" 2>/dev/null | sed -n '1s/: .*//p' | grep . && return
	done
	echo "sbom: $1 is of no package" >&2
	return 1
}

# The licence of the most of the source package (DEP 5: the paragraph of all files), by Debian's short name; nothing where that is
# not said. A library in it may have a freer one.
licence_of() { # package
	awk '/^Files: \*[[:space:]]*$/ { all = 1 } /^[[:space:]]*$/ { all = 0 }
		all && /^License:/ { sub(/^License:[[:space:]]*/, ""); print; exit }' "/usr/share/doc/${1%%:*}/copyright" 2>/dev/null || true
}

component() { # package, its libraries
	local package=$1 name version arch licence separator=
	shift
	read -r name version arch < <(dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' "$package")
	licence=$(licence_of "$package")
	printf '    {"type": "library", "name": %s, "version": %s, "purl": %s, ' "$(quoted "$name")" "$(quoted "$version")" \
		"$(quoted "pkg:deb/debian/$name@$(sed 's/:/%3A/g; s/+/%2B/g' <<<"$version")?arch=$arch")"
	[ -z "$licence" ] || printf '"licenses": [{"license": {"name": %s}}], ' "$(quoted "$licence")"
	printf '"properties": ['
	for library; do
		printf '%s{"name": "usher:library", "value": %s}' "$separator" "$(quoted "$(basename "$library")")"
		separator=', '
	done
	printf ']}'
}

declare -A of=()
found=$(libraries "$@")
[ -n "$found" ] || { echo "sbom: nothing is linked" >&2; exit 1; }
for library in $found; do
	package=$(package_of "$library")
	of[$package]="${of[$package]:-} $library"
done
printf '{\n  "bomFormat": "CycloneDX",\n  "specVersion": "1.5",\n  "version": 1,\n'
printf '  "metadata": {"component": {"type": "application", "name": "usher", "version": %s}},\n  "components": [\n' \
	"$(quoted "$("$1" --version | sed 's/.* //')")"
separator=
for package in $(printf '%s\n' "${!of[@]}" | sort); do
	printf '%s' "$separator"
	# shellcheck disable=SC2086 # several words
	component "$package" ${of[$package]}
	separator=$',\n'
done
printf '\n  ]\n}\n'
