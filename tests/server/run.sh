#!/usr/bin/env bash
# Tests against real servers: run.sh [PART...] runs those of whose FILE::NAME one of the parts is a part (default: all).
# Each test is a process of its own, so that several files run at once and none keeps the others waiting for its last.
#   JOBS=4             how many at a time (default: one more than there are processors)
#   TEST_TIMEOUT=600   seconds after which a test counts as one that hangs
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/flaky.sh
source "$REPO/scripts/flaky.sh"
cd "$REPO"

# Tests mostly wait; a few at a time find each other's processes on the same cores, as in real life.
JOBS=${JOBS:-$(($(nproc) + 1))}
results=target/test/server-$(server_name)

# The files that take longest are begun first, so that they are not what the end waits for.
LONG=(faults docs examples crash load procedures)

build() {
    CARGO_TARGET_DIR=$REPO/target cargo test --no-run --manifest-path tests/server/Cargo.toml 2>&1 | tee >(cat >&2) |
        sed -nE 's/^ *Executable .*\((.*)\)$/\1/p'
}

# select_tests EXECUTABLE...: "FILE::NAME EXECUTABLE" of those wanted, one a line.
select_tests() {
    local executable file
    for executable in "$@"; do
        file=${executable##*/}
        file=${file%-*}
        "$executable" --list --format terse | sed -nE "s|^(.*): test\$|$file::\1 $executable|p"
    done | if [[ ${#PARTS[@]} -gt 0 ]]; then
        awk 'BEGIN { for (i = 1; i < ARGC; i++) part[i] = ARGV[i]; ARGC = 1 }
            { for (i in part) if (index($1, part[i])) { print; next } }' "${PARTS[@]}"
    else
        cat
    fi
}

# in_order: the lines of standard input, those of LONG first.
in_order() { awk 'BEGIN { for (i = 1; i < ARGC; i++) rank[ARGV[i]] = i; ARGC = 1 }
    { split($1, name, "::"); print (name[1] in rank ? rank[name[1]] : 99), $0 }' "${LONG[@]}" | sort -s -n -k 1,1 | cut -d ' ' -f 2-; }

log_of() { echo "$results/${1//::/.}.log"; }

# run_test NAME EXECUTABLE
run_test() {
    timeout -k 20 "${TEST_TIMEOUT:-600}" "$2" --exact "${1#*::}" --nocapture >"$(log_of "$1")" 2>&1 </dev/null
}

# report NAME EXECUTABLE: runs it and says how it went; whoever failed is in the file "failed".
report() {
    local begun=${EPOCHREALTIME/[^0-9]/} status=0 word=ok took stat
    run_test "$@" || status=$?
    took=$(((${EPOCHREALTIME/[^0-9]/} - begun) / 100000))
    # What all processes have computed that ended behind it: not those that were killed.
    read -ra stat </proc/"$BASHPID"/stat
    if [[ $status -ne 0 ]]; then
        word=FAILED
        echo "$1 $2" >>"$results/failed"
    elif grep -q '^not tested: ' "$(log_of "$1")"; then
        word=skipped
        echo "$1" >>"$results/skipped"
    fi
    echo "$took $(((stat[15] + stat[16]) / 10)) $1" >>"$results/times"
    printf '%-7s %s (%d.%d s)\n' "$word" "$1" "$((took / 10))" "$((took % 10))"
}

PARTS=("$@")
executables=$(build)
rm -rf "$results"
mkdir -p "$results"
touch "$results/failed" "$results/skipped"
# shellcheck disable=SC2086 # a list of paths without spaces
select_tests $executables | in_order >"$results/tests"
[[ -s $results/tests ]] || die "no such test: ${PARTS[*]}"

begun=$SECONDS
while read -r name executable; do
    while [[ $(jobs -rp | wc -l) -ge $JOBS ]]; do wait -n || true; done
    report "$name" "$executable" &
done <"$results/tests"
wait

failed=0
while read -r name executable; do
    log=$(log_of "$name")
    if tries_again "$failed"; then
        mv "$log" "$log.first"
        echo "again   $name, alone"
        if run_test "$name" "$executable"; then
            echo "flaky   $name"
            note_flaky server "${name//::/.}" "$log.first"
            continue
        fi
    fi
    failed=$((failed + 1))
    echo "---- $name"
    sed 's/^/    /' "$log" # so that its own counts are not taken for ours
done <"$results/failed"
all=$(wc -l <"$results/tests") skipped=$(wc -l <"$results/skipped")
echo 'longest, in seconds, and what of it was computing:'
sort -rn "$results/times" | awk 'NR <= 10 { printf "  %5.1f %5.1f  %s\n", $1 / 10, $2 / 10, $3 }'
grep -h '^not tested: ' "$results"/*.log | sort | uniq -c || true
echo "$((all - failed - skipped)) passed, $failed failed, $skipped skipped, in $((SECONDS - begun)) s"
[[ $failed -eq 0 ]]
