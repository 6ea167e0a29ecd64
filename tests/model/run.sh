#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks the lease and epoch protocol (usher.pml) with spin, and that each fault put into it is found. Exit 0: all as it must be.
#   tests/model/run.sh              every configuration, every fault (about 15 minutes on one core, below 4 GB)
#   tests/model/run.sh quick        the small ones (half a minute of one core)
#   tests/model/run.sh NAME …       only these
#   tests/model/run.sh trail NAME   the same, and what happened, step by step, in the shortest way there is
set -u
cd "$(dirname "$0")" || exit 1
source=$PWD/usher.pml
memory_mb=3900
optimize=-O1 # more costs more time to compile than it saves
[ "${1:-all}" = quick ] && optimize=-O0

# What must hold. Each is searched to its end: every interleaving, every moment at which its faults may come.
#   name, quick?, defines
correct='
start              q -DCOLD
one_pause          - -DPAUSES=1
two_pauses         - -DPAUSES=2 -DPLACERS=1 -DONE_WAY
open_unknown       q -DOPENS_LOST=1
late_heartbeats    - -DPAUSES=1 -DSTUCK=1 -DCUTS=1 -DPLACERS=1 -DONE_WAY
observers          - -DSTALLS=1 -DUNLINKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
unacknowledged     - -DUNACKED=2 -DPAUSES=1 -DPLACERS=1
outage             - -DUNLINKS=2 -DPLACERS=1 -DONE_WAY
outage_restart     - -DUNLINKS=2 -DROUTER_RESTARTS=1 -DPLACERS=1 -DONE_WAY
half_outage_restart - -DDEAFS=2 -DROUTER_RESTARTS=1 -DPLACERS=1 -DONE_WAY
outage_cut         - -DUNLINKS=2 -DCUTS=1 -DPLACERS=1 -DONE_WAY
half_an_outage     q -DDEAFS=2 -DPLACERS=1
late_router        q -DLATE_ROUTER -DUNLINKS=1 -DPLACERS=1
late_router_pause  - -DLATE_ROUTER -DUNLINKS=1 -DPAUSES=1 -DPLACERS=1
router_and_agent   - -DROUTER_RESTARTS=1 -DAGENT_RESTARTS=1 -DPLACERS=1 -DONE_WAY
dead_router        - -DROUTER_DEATHS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
sfu_restart        - -DSFU_RESTARTS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
both_restart       - -DBOTH_RESTART=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
one_name_twice     q -DTWIN -DLATE_REGISTERS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
close              - -DCLOSES=1 -DAGENT_RESTARTS=1 -DONE_WAY
close_late_open    - -DCLOSES=1 -DPAUSES=1 -DOPENS_LOST=1 -DPLACERS=1
move               - -DMOVES=1 -DPAUSES=1 -DCUTS=1 -DPLACERS=1 -DONE_WAY
move_race          - -DMOVES=1 -DONE_WAY
all_lost           - -DWIPES=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
all_lost_restart   - -DWIPES=1 -DROUTER_RESTARTS=1 -DPLACERS=1 -DONE_WAY
all_lost_cut       - -DWIPES=1 -DCUTS=1 -DPLACERS=1 -DONE_WAY
last_lost          - -DROLLBACKS=1 -DROUTER_RESTARTS=1 -DPLACERS=1 -DONE_WAY
last_lost_pause    - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY
'
# What must be found: a guard is left out.
faults='
no_grace                   q -DPAUSES=1 -DPLACERS=1 -DFAULT_NO_GRACE
no_margin                  - -DPAUSES=1 -DPLACERS=1 -DFAULT_NO_MARGIN
lease_from_receipt         q -DSTUCK=1 -DCUTS=1 -DPLACERS=1 -DFAULT_LEASE_FROM_RECEIPT
renewal_without_store      q -DUNLINKS=1 -DPLACERS=1 -DFAULT_RENEWAL_WITHOUT_STORE
rescue_without_opening     q -DOPENS_LOST=1 -DPLACERS=1 -DFAULT_RESCUE_WITHOUT_OPENING
silence_over_outage        q -DUNLINKS=2 -DPLACERS=1 -DFAULT_SILENCE_OVER_OUTAGE
resume_unregistered        q -DPAUSES=1 -DPLACERS=1 -DFAULT_RESUME_UNREGISTERED
replaces_unchecked         q -DTWIN -DPLACERS=1 -DFAULT_REPLACES_UNCHECKED
fresh_router_no_hold       q -DWIPES=1 -DROUTER_RESTARTS=1 -DPLACERS=1 -DNO_RECOVERY -DFAULT_FRESH_ROUTER_NO_HOLD
claim_from_open            q -DOPENS_LOST=1 -DFAULT_CLAIM_FROM_OPEN
claim_by_epoch_only        q -DPAUSES=1 -DPLACERS=1 -DFAULT_CLAIM_EPOCH_ONLY
claim_without_mark         - -DWIPES=1 -DPLACERS=1 -DFAULT_CLAIM_WITHOUT_MARK
lost_without_cas           - -DPAUSES=1 -DPLACERS=1 -DPRUNE -DFAULT_LOST_WITHOUT_CAS
lost_by_an_old_view        - -DPAUSES=1 -DPLACERS=1 -DFAULT_OLD_VIEW
confirm_from_table         - -DPAUSES=1 -DPLACERS=1 -DFAULT_CONFIRM_FROM_TABLE
admit_before_confirm       - -DPAUSES=1 -DPLACERS=1 -DFAULT_ADMIT_BEFORE_CONFIRM
take_back_late             - -DPAUSES=1 -DSTUCK=1 -DPLACERS=1 -DFAULT_TAKE_BACK_LATE
degraded_but_watching      - -DDEAFS=2 -DPLACERS=1 -DFAULT_DEGRADED_BUT_WATCHING
degraded_for_ever          - -DUNLINKS=2 -DCUTS=1 -DPLACERS=1 -DFAULT_DEGRADED_FOR_EVER
node_forgets_evictions     - -DOPENS_LOST=1 -DCLOSES=1 -DONE_WAY -DFAULT_NODE_FORGETS_EVICTIONS
no_tombstone               - -DPAUSES=1 -DCLOSES=1 -DPLACERS=1 -DFAULT_NO_TOMBSTONE
move_without_ack           - -DMOVES=1 -DCUTS=1 -DPLACERS=1 -DFAULT_MOVE_WITHOUT_ACK
confirm_unlisted           - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DFAULT_CONFIRM_UNLISTED
unmarked_is_whole          - -DWIPES=1 -DROUTER_RESTARTS=2 -DAGENT_RESTARTS=1 -DPLACERS=1 -DONE_WAY -DFAULT_UNMARKED_IS_WHOLE
no_help                    - -DROUTER_RESTARTS=1 -DFAULT_NO_HELP
'
# What must be found, too: protocol.md to the letter, where that is not enough.
letters='
restore                    - -DWIPES=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_RESTORE
whole                      q -DWIPES=1 -DROUTER_RESTARTS=1 -DPLACERS=1 -DCUTS=1 -DAS_WRITTEN_WHOLE
mark                       - -DROLLBACKS=1 -DROUTER_RESTARTS=2 -DPLACERS=1 -DAS_WRITTEN_MARK
lost                       q -DLATE_ROUTER -DUNLINKS=1 -DPLACERS=1 -DAS_WRITTEN_LOST
open                       - -DCLOSES=1 -DAGENT_RESTARTS=1 -DONE_WAY -DNO_RECOVERY -DAS_WRITTEN_OPEN
confirm                    - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_CONFIRM
generation                 - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_GENERATION
higher                     - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_HIGHER
help                       - -DROLLBACKS=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_HELP
release                    - -DMOVES=1 -DSTUCK=1 -DPAUSES=1 -DPLACERS=1 -DONE_WAY -DAS_WRITTEN_RELEASE_BY_REPORT
'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

build() { # compiler options; then defines of the model
	local compiler=$1
	shift
	(cd "$dir" && rm -f pan* ./*.trail && spin -a "$@" "$source" >spin.log 2>&1 &&
		gcc $optimize -w -DSAFETY -DNOREDUCE -DMEMLIM=$memory_mb $compiler -o pan pan.c) || { cat "$dir/spin.log"; exit 1; }
}

search() { # defines
	build '' "$@"
	(cd "$dir" && ./pan -m1000000 -w24 >pan.log 2>&1)
}

found() { # what the search came upon
	if grep -q 'pan: out of memory\|max search depth too small\|Search not completed' "$dir/pan.log" && ! grep -q 'assertion violated\|invalid end' <(grep '^pan:1' "$dir/pan.log"); then
		echo unfinished
	elif grep -q '^pan:1.*assertion violated joinable\|^pan:1.*joinable||' "$dir/pan.log"; then
		echo 'not joinable'
	elif grep -q '^pan:1.*lost_data' "$dir/pan.log"; then
		echo 'closed room back'
	elif grep -q '^pan:1.*passing' "$dir/pan.log"; then
		echo 'two accept'
	elif grep -q '^pan:1' "$dir/pan.log"; then
		sed -n 's/^pan:1: //p' "$dir/pan.log" | cut -c1-60
	else
		echo nothing
	fi
}

complete() {
	case $(found) in
	nothing) case "$*" in *PRUNE*) echo 'bounded: epochs' ;; *) echo complete ;; esac ;;
	unfinished) echo 'bounded: memory' ;;
	*) echo 'to the first error' ;;
	esac
}

row() { # kind, name, expected (nothing or something), defines
	local kind=$1 name=$2 expected=$3 what verdict
	shift 3
	search "$@"
	what=$(found)
	verdict=ok
	case $expected,$what in
	nothing,nothing) ;;
	nothing,* | *,nothing | *,unfinished) verdict=BAD bad=1 ;;
	something,assertion*) verdict=BAD bad=1 ;;
	esac
	printf '| %-9s | %-26s | %-16s | %11s | %6s | %7s | %-18s | %-3s | %s |\n' "$kind" "$name" "$what" \
		"$(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' "$dir/pan.log")" "$(sed -nE 's/.*depth reached ([0-9]+).*/\1/p' "$dir/pan.log")" \
		"$(sed -nE 's/.*elapsed time ([0-9.e+-]+) seconds/\1/p' "$dir/pan.log")" "$(complete "$@")" "$verdict" "$(echo "$@" | sed 's/-D//g')"
}

rows() { # kind, expected, table, what is asked for
	local kind=$1 expected=$2 table=$3 name quick defines
	shift 3
	while read -r name quick defines; do
		[ -n "$name" ] || continue
		case " $* " in *' all '* | *" $name "*) ;; *' quick '*) [ "$quick" = q ] || continue ;; *) continue ;; esac
		# shellcheck disable=SC2086
		row "$kind" "$name" "$expected" $defines
	done <<<"$table"
}

trail() { # name
	local defines
	defines=$(printf '%s' "$correct$faults$letters" | awk -v name="$1" '$1 == name { $1 = $2 = ""; print }')
	[ -n "$defines" ] || { echo "no such row: $1"; exit 2; }
	# shellcheck disable=SC2086
	build -DBFS -DSHORTEST $defines
	(cd "$dir" && ./pan -w24 >pan.log 2>&1)
	[ -f "$dir/usher.pml.trail" ] || { echo "nothing found"; exit 0; }
	# shellcheck disable=SC2086
	(cd "$dir" && spin -t -T -k usher.pml.trail -DSHORTEST $defines "$source" | sed '/^spin: trail ends/,$d; s/^ *//')
	found
}

command -v spin >/dev/null || { echo "spin is not installed (Debian: spin)"; exit 1; }
[ "${1:-all}" = trail ] && { trail "${2:?name}"; exit 0; }
printf '| %-9s | %-26s | %-16s | %11s | %6s | %7s | %-18s | %-3s | %s |\n' kind name found states depth seconds search '' defines
echo '|---|---|---|---|---|---|---|---|---|'
rows correct nothing "$correct" "${@:-all}"
rows fault something "$faults" "${@:-all}"
rows letter something "$letters" "${@:-all}"
[ $bad = 0 ] && echo 'model: as it must be' || echo 'model: NOT as it must be'
exit $bad
