#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The peers, from Debian; ioredis by npm into build-release/, which Git ignores. A node that is there (of any origin) is used.
set -eu
cd "$(dirname "$0")/../.."
tests/install.sh
packages="wrk gnuplot-nox nginx-light libnginx-mod-http-lua lua-nginx-redis haproxy redis-server redis-tools"
command -v node >/dev/null || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] || {
	policy=/usr/sbin/policy-rc.d made=
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
		$sudo chmod +x $policy
		made=yes
	fi
	$sudo apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
	[ -z "$made" ] || $sudo rm -f $policy
}
peers=build-release/peers
[ -d $peers/node_modules/ioredis ] || {
	mkdir -p $peers
	cp tests/bench/peers/package.json $peers/
	npm install --prefix $peers --silent --no-audit --no-fund --no-package-lock
}
