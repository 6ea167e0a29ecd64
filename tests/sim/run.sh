#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Placement by simulation: usher's own code beside what is used instead.
#   tests/sim/run.sh        20 seeds of every workload: tables and plots of docs/placement.md (about half an hour on 2 cores)
#   tests/sim/run.sh quick  4 seeds of short runs, and says what is not as promised (under 30 s)
#   tests/sim/run.sh big    only what a day of 10,000 nodes and a million rooms takes
# USHER_BUILD: where it is built, `build` unless said; USHER_SIM_POLICY: judged in place of usher (usher-uncharged must fail);
# USHER_SIM_SEEDS: in place of 20.
set -eu
cd "$(dirname "$0")/../.."
mode=${1:-all}
build=${USHER_BUILD:-build}
judged=${USHER_SIM_POLICY:-usher}
seeds=${USHER_SIM_SEEDS:-20}
sim=$build/tests/sim/usher-sim
out=$build/sim
peers="random round-robin hashing livekit-lowest livekit-twochoice jicofo scalelite"
workloads="steady hour burst meetings trace restarts reporting pools told told-burst"

tests/install.sh
[ -f "$build/build.ninja" ] || meson setup "$build" -Dfault_points=true >/dev/null
ninja -C "$build" tests/sim/usher-sim >/dev/null
mkdir -p "$out"

# Lines "workload policy options" from stdin, as many at a time as there are cores; the longest first.
runs() { # file
	rm -f "$out"/part.*
	nl -w4 -nrz | xargs -P "$(nproc)" -L1 sh -c 'n=$0 w=$1 p=$2; shift 2; '"$sim"' -w $w -p $p "$@" >'"$out"'/part.$n'
	cat "$out"/part.* >"$1"
	rm -f "$out"/part.*
}

each() { # policies, workloads, options
	for policy in $1; do
		for workload in $2; do echo "$workload $policy $3"; done
	done
}

case $mode in
quick)
	each "$judged $peers" "$workloads" "-q -s 4" | runs "$out/quick.tsv"
	exec /usr/bin/python3 tests/sim/report.py check "$out/quick.tsv" "$judged"
	;;
big)
	exec "$sim" scale 86400
	;;
all) ;;
*)
	sed -n '3,8s/^# \?//p' "$0"
	exit 2
	;;
esac

command -v gnuplot >/dev/null || {
	sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends gnuplot-nox >/dev/null
}
{
	each "usher $peers oracle" "$workloads" "-s $seeds"
	each "usher-cost-0.01 usher-cost-true" "burst meetings pools told" "-s $seeds"
	each usher-untold "told told-burst" "-s $seeds"
	each usher-asks-one reporting "-s $seeds"
	each usher-ramp-20s "hour burst meetings trace restarts" "-s $seeds"
} | runs "$out/runs.tsv"
/usr/bin/python3 tests/sim/report.py nodes "$sim" >"$out/nodes.tsv"
"$sim" cost >"$out/cost.tsv"
"$sim" scale 86400 >"$out/scale.txt"
for policy in usher oracle round-robin livekit-twochoice livekit-lowest jicofo scalelite; do
	for workload in burst restarts; do "$sim" -t -w $workload -p $policy >"$out/series.$workload.$policy.tsv"; done
done
/usr/bin/python3 tests/sim/report.py page "$out" docs/placement.md
gnuplot -e "data='$out'; to='docs/images'" tests/sim/plots.gp
/usr/bin/python3 tests/sim/report.py check "$out/runs.tsv" usher
