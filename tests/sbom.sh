#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The list of what the programs are linked with has every library once, in a form that tools read. Argument: the build directory.
set -u
cd "$(dirname "$0")/.." || exit 1
programs="$1/router/usherd $1/client/agent/usher-agent $1/client/ctl/usherctl"
list=$(mktemp)
trap 'rm -f "$list"' EXIT
# shellcheck disable=SC2086 # several words
deploy/sbom.sh $programs >"$list" || exit 1
# shellcheck disable=SC2086
deploy/sbom.sh $programs | cmp - "$list" || { echo "two runs differ"; exit 1; }
deploy/sbom.sh tests/sbom.sh >/dev/null 2>&1 && { echo "a script has no libraries, and an empty list was made"; exit 1; }
# shellcheck disable=SC2086
ldd $programs | /usr/bin/python3 -c '
import json, os, re, sys
text = json.load(open(sys.argv[1]))
assert (text["bomFormat"], text["specVersion"], text["version"]) == ("CycloneDX", "1.5", 1), text
assert set(text) == {"bomFormat", "specVersion", "version", "metadata", "components"}, set(text)
assert text["metadata"]["component"]["version"], "no version of usher"
loaded = {os.path.basename(path) for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", sys.stdin.read(), re.M)}
assert "libcurl.so.4" in loaded and len(loaded) > 8, loaded
listed = [p["value"] for c in text["components"] for p in c["properties"] if p["name"] == "usher:library"]
assert sorted(listed) == sorted(loaded), set(listed) ^ loaded
for c in text["components"]:
    assert c["type"] == "library" and c["name"] and c["version"], c
    assert re.fullmatch(r"pkg:deb/debian/[a-z0-9.+-]+@[A-Za-z0-9.+~%-]+\?arch=[a-z0-9]+", c["purl"]), c
    assert all(entry["license"]["name"] for entry in c.get("licenses", [])), c
assert sum("licenses" in c for c in text["components"]) > len(text["components"]) / 3, "hardly a licence is known"
' "$list"
