#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian packages that building and testing need; does nothing when all are there. Root, or a user with sudo.
set -eu
packages="gcc libc6-dev meson ninja-build pkg-config libuv1-dev libmicrohttpd-dev libhiredis-dev libcurl4-openssl-dev
	libcjson-dev libinih-dev libssl-dev check redis-server python3 python3-pytest python3-pytest-xdist python3-websockets python3-redis python3-jwt python3-cryptography
	clang libclang-rt-dev afl++
	iproute2 iptables faketime spin devscripts slowhttptest strace valgrind systemd haproxy nginx-light"
# Debian 13 has no janus: its scenarios are skipped there.
if apt-cache policy janus 2>/dev/null | grep -q 'Candidate: [0-9]' || grep -q 'VERSION_ID="12"' /etc/os-release; then
	packages="$packages janus"
fi
missing=""
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$missing"
# The packages' own services are not wanted: this script starts what it needs on ports of its own.
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
	$sudo chmod +x $policy
	made=yes
fi
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -z "$made" ] || $sudo rm -f $policy
