#!/usr/bin/env bash
# Where the time of a one-step workflow goes, in microseconds by part: perf looks at the executor that drains a backlog.
#   BACKLOG=100000   workflows
#   SKIP_BUILD=1     looks at what is installed, which may be a debug build
# Needs perf (Debian: linux-perf) and the right to use it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

OUT=$REPO/target/bench
: "${BACKLOG:=100000}"
command -v perf >/dev/null || die 'no perf here: apt-get install linux-perf'
mkdir -p "$OUT"

install_library
dir=$(private_dir target/bench/profile)
trap finish EXIT
cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" 'pg_workflow.max_executors = 1' \
    'shared_buffers = 512MB' 'max_wal_size = 4GB' "timezone = 'UTC'"
cluster_start "$dir"
cluster_env "$dir"
ask postgres 'CREATE ROLE bench LOGIN'
ask postgres 'CREATE DATABASE bench OWNER bench'
ask bench 'CREATE EXTENSION pg_workflow'
psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -f "$REPO/bench/product.sql"

done_so_far() { ask bench 'SELECT count(*) FROM effects'; }
start() {
    psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -c \
        "SELECT count(wf_start('one_step', jsonb_build_object('n', g))) FROM generate_series(1, $1) AS g" >/dev/null
}

# Plans and caches first.
start 1000
until [[ $(done_so_far) == 1000 ]]; do sleep 0.1; done
executor=$(ask postgres "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_workflow executor'")
start "$BACKLOG"
sleep 0.5
# How long, from a time when perf does not look: it slows down what it looks at. CPU time, so that others do not count.
executor_us() { awk -v tick="$TICK_US" '{ print ($14 + $15) * tick }' "/proc/$executor/stat"; }
before=$(done_so_far) cpu0=$(executor_us)
sleep 1.5
us=$(calc "($(executor_us) - $cpu0) / ($(done_so_far) - $before)")
# DWARF: Postgres is built without frame pointers.
perf record -q -F 499 --call-graph dwarf,16384 -o "$OUT/perf.data" -p "$executor" -- sleep 2 >/dev/null 2>&1 || die 'perf failed'
say 'reading the profile'
perf report -i "$OUT/perf.data" --children --no-inline -g none 2>/dev/null | awk -v us="$us" '
    # A symbol is shown with what is called below it. Generic ones come several times: the first is the outermost.
    $2 ~ /%/ { name = $NF; if (!(name in part)) part[name] = $1 + 0 }
    function of(name) { return part[name] * us / 100 }
    function line(text, value) { printf "%-52s %6.1f us\n", text, value; listed += value }
    END {
        turn = "pg_workflow::engine::turn::"
        for (name in part) {
            if (name ~ /Turn>::attempt$/) step = of(name)
            if (name ~ /Turn>::record_done$/) record = of(name)
            # What is left of it under its own name differs from build to build.
            if (name ~ /Turn::replay/ && of(name) > calls) calls = of(name)
        }
        printf "CPU time of a one-step workflow, drained by one executor: %.1f us\n", us
        line("claim: rows of ready", of("pg_workflow::store::ready::claim"))
        line("lock its row of runs", of("pg_workflow::store::runs::lock"))
        line("two calls of its function, in subtransactions", calls)
        line("the step, in a subtransaction, with its insert", step)
        line("record the step", record)
        line("close the run", of(turn "end"))
        line("delete the claimed rows", of("pg_workflow::engine::batch::Batcher::finish"))
        line("commit, shared by a batch", of("CommitTransactionCommand"))
        line("all else", us - listed)
    }'
