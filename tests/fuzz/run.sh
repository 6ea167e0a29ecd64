#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the targets: each its corpus, then new inputs. Ends with "N passed, N failed"; a target is one test.
#   tests/fuzz/run.sh build            only builds build-fuzz
#   tests/fuzz/run.sh short [SECONDS]  10 s of libFuzzer each, two at a time, from one seed (FUZZ_SEED, 1), so that a change is judged alike
#                                      wherever it runs; new ground is for the long form, which takes seeds at random
#   tests/fuzz/run.sh long [HOURS]     one hour in all unless said: half of it libFuzzer, half of it afl++; what is new stays in
#                                      build-fuzz/found/TARGET (run `merge` to put it into the tree, minimised)
#   tests/fuzz/run.sh merge            corpus/TARGET becomes the least set of inputs that reaches all that was reached
# Only the targets of FUZZ_TARGETS, if that is set: FUZZ_TARGETS="json url" tests/fuzz/run.sh short 60
set -u
cd "$(dirname "$0")/../.." || exit 1
mode=${1:-short}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
found=$PWD/build-fuzz/found
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

build() { # directory, compiler, more options of meson
	local dir=$1 compiler=$2
	shift 2
	[ -f "$dir/build.ninja" ] || CC=$compiler meson setup "$dir" -Dfuzz=true -Dwerror=false "$@" >"$results/build.log" 2>&1 ||
		{ tail -30 "$results/build.log"; return 1; }
	ninja -C "$dir" fuzz >"$results/build.log" 2>&1 || { grep -A6 'error' "$results/build.log" | head -40; return 1; }
}

build_libfuzzer() { build build-fuzz clang -Db_sanitize=address,undefined; }
build_afl() { AFL_QUIET=1 build build-afl afl-clang-fast; }

targets() {
	local program
	for program in build-fuzz/tests/fuzz/fuzz_*; do
		[ -f "$program" ] && [ -x "$program" ] && echo "${program##*/fuzz_}"
	done | if [ -n "${FUZZ_TARGETS:-}" ]; then grep -xF "${FUZZ_TARGETS// /$'\n'}"; else cat; fi
}

options() { # target
	local dict=tests/fuzz/$1.dict
	echo -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/crash-$1-" ${dict:+$([ -f "$dict" ] && echo "-dict=$dict")}
}

# One target for so many seconds. A line of it goes to $results/TARGET.line, and to TARGET.bad if something was found.
run_one() { # target, seconds
	local target=$1 seed=${FUZZ_SEED:-1} log=$results/$1.log begun=$SECONDS
	local into=$results/new-$target # the short form begins with what the tree has
	[ "$mode" = long ] && into=$found/$target seed=$((RANDOM * 32768 + RANDOM + 1))
	mkdir -p "$into"
	if timeout -k 5 $(($2 + 120)) "build-fuzz/tests/fuzz/fuzz_$target" $(options "$target") -seed=$seed -max_total_time="$2" \
		"$into" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
		echo "$target: $(sed -nE 's/^stat::number_of_executed_units: *//p' "$log") inputs in $((SECONDS - begun)) s, seed $seed" >"$results/$target.line"
		rm -f "$found/$target.log"
	else
		cp "$log" "$found/$target.log"
		{
			grep -vE '^#|NEW_FUNC|^INFO' "$log" | tail -60
			echo "$target: FAILED with seed $seed, all of it in $found/$target.log"
			sed -nE 's/.*Test unit written to (.*)/to see it again: build-fuzz\/tests\/fuzz\/fuzz_'"$target"' \1/p' "$log"
		} >"$results/$target.line"
		touch "$results/$target.bad"
	fi
}

# The line that counts; a target with anything bad has failed.
finish() {
	cat "$results"/*.line
	local all bad
	all=$(targets | wc -l) bad=$(find "$results" -name '*.bad' | wc -l)
	[ "$all" -gt 0 ] || bad=1 all=1
	echo "$((all - bad)) passed, $bad failed"
	[ "$bad" = 0 ]
}

run_all() { # seconds
	export found results mode
	export -f run_one options
	targets | xargs -P 2 -I{} bash -c 'run_one {} '"$1"
}

# afl++ for so many seconds, without sanitizers; the line to see a find again runs it with them.
run_afl() { # target, seconds
	local target=$1 out=$PWD/build-afl/out/$1 dict=tests/fuzz/$1.dict
	rm -rf "$out"
	mkdir -p "$out"
	env -u ASAN_OPTIONS -u UBSAN_OPTIONS AFL_SKIP_CPUFREQ=1 AFL_NO_UI=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 \
		AFL_IGNORE_PROBLEMS=1 afl-fuzz -V "$2" -t 5000 -m none -i "tests/fuzz/corpus/$target" -o "$out" $([ -f "$dict" ] && echo "-x $dict") \
		-- "build-afl/tests/fuzz/fuzz_$target" >"$results/$target.log" 2>&1
	local stats=$out/default/fuzzer_stats
	if [ ! -f "$stats" ]; then
		{ tail -20 "$results/$target.log"; echo "$target: afl-fuzz did not run"; } >>"$results/$target.line"
		touch "$results/$target.bad"
		return
	fi
	echo "$target: $(sed -nE 's/^execs_done *: *//p' "$stats") inputs of afl++" >>"$results/$target.line"
	local bad
	for bad in "$out"/default/crashes/id* "$out"/default/hangs/id*; do
		[ -f "$bad" ] || continue
		echo "$target: to see it again: build-fuzz/tests/fuzz/fuzz_$target $bad" >>"$results/$target.line"
		touch "$results/$target.bad"
	done
	mkdir -p "$found/$target"
	cp "$out"/default/queue/id* "$found/$target" 2>/dev/null
}

run_long() { # hours: half of each target's share libFuzzer, half afl++
	local share=$(($(echo "$1" | awk '{ print int($1 * 3600) }') / $(targets | wc -l)))
	run_all "$share"
	export -f run_afl
	targets | xargs -P 2 -I{} bash -c 'run_afl {} '"$share"
	finish
}

merge() {
	local target kept
	for target in $(targets); do
		kept=$results/kept-$target
		mkdir -p "$kept"
		"build-fuzz/tests/fuzz/fuzz_$target" $(options "$target") -merge=1 "$kept" "tests/fuzz/corpus/$target" "$found/$target" >"$results/merge.log" 2>&1 ||
			{ tail -20 "$results/merge.log"; return 1; }
		echo "$target: $(find "$kept" -type f | wc -l) inputs"
		cp "$kept"/* "tests/fuzz/corpus/$target/"
	done
}

mkdir -p "$found"
build_libfuzzer || { echo "0 passed, 1 failed"; exit 1; }
case $mode in
build) build_afl ;;
short) run_all "${2:-10}"; finish ;;
long) { build_afl && run_long "${2:-1}"; } || { [ -n "$(ls "$results"/*.line 2>/dev/null)" ] || echo "0 passed, 1 failed"; exit 1; } ;;
merge) merge ;;
*) sed -n '3,10s/^# \?//p' "$0"; exit 2 ;;
esac
