# SPDX-License-Identifier: Apache-2.0
# gnuplot -e "data='DIRECTORY'; to='DIRECTORY'" plots.gp: what one seed's balance is over time, and p99 of each policy.
set terminal svg size 900,420 dynamic font "sans,12" background "white"
set grid ytics
set xlabel "seconds after the warm-up"
set ylabel "max / mean expected load"
set key outside right
policies = "scalelite jicofo livekit-lowest livekit-twochoice round-robin usher oracle"
do for [workload in "burst restarts"] {
	set output to."/placement-".workload.".svg"
	set yrange [1:workload eq "burst" ? 2.2 : 2]
	set title workload
	plot for [p in policies] data."/series.".workload.".".p.".tsv" using 1:4 every 5 with lines lw (p eq "usher" ? 3 : 1.3) title p
}
