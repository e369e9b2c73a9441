#!/usr/bin/env bash
# Tasks a second that WORKERS sessions claim and complete, MAX in each transaction, and one at a time; behind few others, and
# behind DONE that are done with as many waiting in the same queue.
#   WORKERS=4        sessions
#   MAX=100          tasks in each claim
#   TASKS=20000      tasks of each measurement
#   DONE=200000      tasks of the second round that lie there
#   SKIP_BUILD=1     measures what is installed, which may be a debug build
#   KEEP=1           leaves the cluster, stopped, in target/bench/tasks
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

: "${WORKERS:=4}" "${MAX:=100}" "${TASKS:=20000}" "${DONE:=200000}"
OUT=$REPO/target/bench
LIMIT=600 # seconds that anything here may take: beyond that it hangs

# fill NUMBER: puts so many tasks into the queue, by workflows of 100 each.
fill() {
    local before
    before=$(ask tasks "SELECT count(*) FROM wf_internal.task_queue")
    ask tasks "SELECT count(wf_start('hundred')) FROM generate_series(1, $1 / 100)" >/dev/null
    local deadline=$((SECONDS + LIMIT))
    until [[ $(ask tasks "SELECT count(*) FROM wf_internal.task_queue") -ge $((before + $1)) ]]; do
        [[ $SECONDS -lt $deadline ]] || die 'the tasks do not get into their queue'
        sleep 0.2
    done
}

# drain NUMBER MAX: claims and completes so many; prints how many a second.
drain() {
    local each=$(($1 / $2 / WORKERS))
    printf "SELECT count(wf_complete(task, 'true')) FROM wf_poll('bench', max => %s);\n" "$2" >"$OUT/drain.sql"
    timeout "$LIMIT" pgbench -n -M prepared -c "$WORKERS" -j "$WORKERS" -t "$each" -f "$OUT/drain.sql" tasks 2>&1 |
        awk -v max="$2" '/^tps/ { printf "%d", $3 * max }'
}

mkdir -p "$OUT"
install_library
dir=$(private_dir target/bench/tasks)
trap finish EXIT
cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" 'max_worker_processes = 16' 'shared_buffers = 256MB'
cluster_start "$dir"
cluster_env "$dir"
ask postgres 'CREATE DATABASE tasks' && ask tasks 'CREATE EXTENSION pg_workflow'
# shellcheck disable=SC2016 # $$ is SQL's
ask tasks 'CREATE FUNCTION hundred() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN FOR i IN 1..100 LOOP PERFORM wf_begin($t$t$t$, queue => $q$bench$q$); END LOOP; END $$'

say "$WORKERS workers; $library"
fill "$TASKS"
say "$(drain "$TASKS" "$MAX") tasks/s, $MAX at a time"
fill $((TASKS / 10))
say "$(drain $((TASKS / 10)) 1) tasks/s, one at a time"
fill "$DONE"
drain "$DONE" "$MAX" >/dev/null
fill "$DONE"
say "$(drain "$TASKS" "$MAX") tasks/s, $MAX at a time, beside $DONE that are done and as many that wait"
say "$(drain $((TASKS / 10)) 1) tasks/s, one at a time, beside them"
