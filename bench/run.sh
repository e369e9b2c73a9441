#!/usr/bin/env bash
# Measures throughput, latency and what a workflow costs, beside two yardsticks in the same run: one-row commits, and a
# hand-written queue (queue.sql). Prints one table; all numbers are in target/bench/. Behind it comes tasks.sh: tasks and queues.
#   QUICK=1          smaller and once, to try it
#   FULL=1           also, once: beside many that sleep or have finished, under an old snapshot, many due at once
#   SLEEPERS=1000000, FINISHED=5000000, DUE=100000, OLD_SECONDS=60   of FULL: how many, and how old the snapshot gets
#   ROUNDS=3         medians over this many rounds
#   BACKLOG=20000    workflows drained in each measurement
#   UNITS=10000      workflows that one starts and waits for
#   SECONDS_EACH=5   length of a pgbench run
#   IDLE_SECONDS=30  length of the look at an idle server
#   TASKS=0          without tasks.sh; else how many tasks its soak has
#   SKIP_BUILD=1     measures what is installed, which may be a debug build
#   KEEP=1           leaves the cluster, stopped, in target/bench/cluster
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

HERE=$REPO/bench
OUT=$REPO/target/bench
LIMIT=${LIMIT:-300} # seconds that anything here may take: beyond that it hangs

if [[ ${QUICK:-} ]]; then
    : "${ROUNDS:=1}" "${BACKLOG:=3000}" "${SECONDS_EACH:=2}" "${IDLE_SECONDS:=5}" "${STARTS:=100}" "${UNITS:=1000}"
    : "${SLEEPERS:=20000}" "${FINISHED:=50000}" "${DUE:=3000}" "${OLD_SECONDS:=5}"
fi
: "${ROUNDS:=3}" "${BACKLOG:=20000}" "${SECONDS_EACH:=5}" "${IDLE_SECONDS:=30}" "${STARTS:=300}" "${UNITS:=10000}"
: "${SLEEPERS:=1000000}" "${FINISHED:=5000000}" "${DUE:=100000}" "${OLD_SECONDS:=60}"

# --- talking to the server --------------------------------------------------------------------------------------------

# A session that stays open between two statements of ours.
open_session() {
    coproc SESSION { exec psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -U bench -d bench 2>&1; }
    session_pid=$!
    exec {to_session}>&"${SESSION[1]}" {from_session}<&"${SESSION[0]}"
}

# tell SQL: runs it in the open session; its last line of output is in REPLY.
tell() {
    local line
    REPLY=
    printf '%s\n' "$1" '\echo done.' >&"$to_session"
    while read -r -t "$LIMIT" line <&"$from_session"; do
        [[ $line != done. ]] || return 0
        REPLY=$line
    done
    die "the session says: ${REPLY:-nothing}"
}

close_session() {
    exec {to_session}>&- {from_session}<&-
    eval "exec ${SESSION[1]}>&- ${SESSION[0]}<&-"
    wait "$session_pid" || true
}

# --- what is measured -------------------------------------------------------------------------------------------------

# record NAME VALUE: one number of this round.
record() { printf '%s\t%s\t%s\n' "$round" "$1" "$2" >>"$OUT/raw.tsv"; }

# processes_cpu_us PID...; processes_wakeups PID...
processes_cpu_us() {
    local pid stat fields ticks=0
    for pid in "$@"; do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        read -ra fields <<<"${stat##*) }"
        ticks=$((ticks + fields[11] + fields[12]))
    done
    echo $((ticks * TICK_US))
}
processes_wakeups() {
    local pid
    for pid in "$@"; do
        cat "/proc/$pid/status" 2>/dev/null || true
    done | awk '/^voluntary_ctxt_switches:/ { sum += $2 } END { print sum + 0 }'
}

# percentile P: of the numbers on standard input, one a line.
percentile() {
    sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p); if (i < NR * p) i++; print v[i < 1 ? 1 : i] }'
}

# run_pgbench NAME CLIENTS SCRIPT [OPTION...]: records transactions a second and, in microseconds, mean, p50 and p99.
run_pgbench() {
    local name=$1 clients=$2 script=$3 out
    shift 3
    rm -f "$OUT"/pgbench_log.*
    out=$(cd "$OUT" && pgbench -n -M prepared -l -c "$clients" -j 1 -U bench -f "$HERE/$script" "$@" bench 2>&1) ||
        die "pgbench: $out"
    record "$name.per_s" "$(sed -nE 's/^tps = ([0-9.]+).*/\1/p' <<<"$out")"
    cut -d ' ' -f 3 "$OUT"/pgbench_log.* >"$OUT/latencies"
    record "$name.mean_us" "$(awk '{ s += $1 } END { printf "%.1f", s / NR }' "$OUT/latencies")"
    record "$name.p50_us" "$(percentile 0.5 <"$OUT/latencies")"
    record "$name.p99_us" "$(percentile 0.99 <"$OUT/latencies")"
    printf '   %-28s %10.0f /s   %8.1f us at p50\n' "$name" "$(sed -nE 's/^tps = ([0-9.]+).*/\1/p' <<<"$out")" \
        "$(percentile 0.5 <"$OUT/latencies")"
    rm -f "$OUT"/pgbench_log.* "$OUT/latencies"
}

# wait_drained: returns once nothing is ready and the executors have gone to sleep. One session looks, in another database: new
# processes would take the time that is measured, and an open snapshot would keep what is deleted.
wait_drained() {
    local deadline=$((SECONDS + LIMIT))
    while :; do
        ask postgres "DO \$\$
            BEGIN
                WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_workflow executor' AND state <> 'idle')
                      AND clock_timestamp() < now() + interval '$LIMIT s' LOOP
                    PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
                END LOOP;
            END \$\$"
        [[ $(ask bench 'SELECT EXISTS (SELECT FROM wf_internal.ready)') != f ]] || return 0
        if [[ $SECONDS -ge $deadline ]]; then
            psql -X -d bench -c 'SELECT * FROM wf.workers' -c 'SELECT status, count(*) FROM wf_internal.runs GROUP BY 1' >&2
            tail -n 20 "$dir/log" >&2
            die "workflows do not come to an end; log: $dir/log"
        fi
        sleep 0.05
    done
}

# wait_drainers N: returns once N sessions wait for the one that fills the queue.
wait_drainers() {
    local deadline=$((SECONDS + 60))
    until [[ $(ask postgres "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "$1" ]]; do
        [[ $SECONDS -lt $deadline ]] || die 'the sessions that drain the queue do not come'
        sleep 0.02
    done
}

counters() { psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -v schema="$1" -d bench -f "$HERE/counters.sql"; }

tidy() {
    ask bench "TRUNCATE effects" >/dev/null
    psql -XqAt -v ON_ERROR_STOP=1 -d bench -v schema="$1" >/dev/null <<'SQL'
SELECT format('VACUUM (ANALYZE) %I.%I', schemaname, relname) FROM pg_stat_user_tables WHERE schemaname = :'schema' \gexec
SQL
}

# drain NAME SCHEMA JOBS STEPS WORKERS FILL [DRAIN]: FILL makes the backlog in one transaction; from its commit on
# WORKERS sessions run DRAIN, or executors do the work. Records, each for one job: time and CPU of filling and of draining,
# WAL, rows, transactions, transaction ids.
drain() {
    local name=$1 schema=$2 jobs=$3 steps=$4 workers=$5 fill=$6 drain=${7:-}
    local before after i began lsn0 filled_us committed cpu0 cpu1 cpu2 completed took effects pids=()
    tidy "$schema"
    mapfile -t before < <(counters "$schema" | tr ' ' '\n')
    open_session
    tell 'SELECT clock_timestamp();' && began=$REPLY
    cpu0=$(cpu_us)
    tell 'BEGIN;'
    tell 'SELECT pg_advisory_xact_lock(1);'
    tell "$fill"
    tell "SELECT round(extract(epoch FROM clock_timestamp() - now()) * 1e6);" && filled_us=$REPLY
    tell "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0');" && lsn0=$REPLY
    cpu1=$(cpu_us)
    if [[ $drain ]]; then
        for ((i = 0; i < workers; i++)); do
            # Called once on nothing: what a session reads at first is not what is measured.
            psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -c "$drain" -c 'SELECT pg_advisory_lock_shared(1)' -c "$drain" >/dev/null &
            pids+=($!)
        done
        wait_drainers "$workers"
        cpu1=$(cpu_us)
    fi
    # Before the commit, whose own time so counts.
    tell 'SELECT clock_timestamp();' && committed=$REPLY
    tell 'COMMIT;'
    close_session
    if [[ $drain ]]; then
        wait "${pids[@]}" || die "a session that drains the queue has failed"
    else
        wait_drained
    fi
    cpu2=$(cpu_us)
    read -r completed took < <(ask bench "
        SELECT count(*) FILTER (WHERE status = 'completed'), extract(epoch FROM max(finished_at) - '$committed')
        FROM $schema.runs WHERE created_at >= '$began'")
    effects=$(ask bench 'SELECT count(*) FROM effects')
    [[ $completed == "$jobs" && $effects == $((jobs * steps)) ]] ||
        die "$name: of $jobs jobs $completed have completed, and $effects of $((jobs * steps)) rows are there; log: $dir/log"
    mapfile -t after < <(counters "$schema" | tr ' ' '\n')

    record "$name.per_s" "$(calc "$jobs / $took")"
    record "$name.us" "$(calc "$took * 1e6 / $jobs")"
    record "$name.cpu_us" "$(calc "($cpu2 - $cpu1) / $jobs")"
    record "$name.start_us" "$(calc "$filled_us / $jobs")"
    record "$name.start_cpu_us" "$(calc "($cpu1 - $cpu0) / $jobs")"
    record "$name.start_wal" "$(calc "($lsn0 - ${before[0]}) / $jobs")"
    i=0
    for counter in wal fpi tx xid ins upd hot del; do
        record "$name.$counter" "$(calc "(${after[i]} - ${before[i]}) / $jobs")"
        i=$((i + 1))
    done
    printf '   %-28s %10.0f /s   %8.1f us   CPU %8.1f us\n' "$name" "$(calc "$jobs / $took")" \
        "$(calc "$took * 1e6 / $jobs")" "$(calc "($cpu2 - $cpu1) / $jobs")"
}

# workflows NAME WORKFLOW COUNT STEPS
workflows() {
    local input="'n', g"
    [[ $4 == 1 ]] || input+=", 'steps', $4"
    drain "$1" wf_internal "$3" "$4" "$executors" \
        "SELECT count(wf_start('$2', jsonb_build_object($input))) FROM generate_series(1, $3) AS g;"
}

# queue NAME STEPS SESSIONS [GUARDED]
queue() {
    drain "$1" queue "$BACKLOG" "$2" "$3" "CALL queue.fill($BACKLOG);" "CALL queue.drain($2, 64, ${4:-false})"
}

# fan_out NAME UNITS: one workflow, of this name, that has as many as UNITS steps run side by side and ends when all are done.
fan_out() {
    local id=$1-$round limit=60 cpu0 cpu1 status effects took
    tidy wf_internal
    cpu0=$(cpu_us)
    psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench >/dev/null \
        -c "SELECT wf_start('$1', jsonb_build_object('id', '$id', 'units', $2), id => '$id')"
    # One that takes too long counts with what it has done.
    psql -Xq -U bench -d bench -c "SELECT wf_result('$id', '$limit s')" >/dev/null 2>&1 ||
        ask bench "SELECT wf_cancel('$id', 'takes longer than $limit s')" >/dev/null
    wait_drained
    cpu1=$(cpu_us)
    read -r status took < <(ask bench "
        SELECT p.status, extract(epoch FROM p.finished_at - p.created_at) FROM wf_internal.runs p WHERE p.id = '$id'")
    effects=$(ask bench 'SELECT count(*) FROM effects')
    if [[ $status != completed ]]; then
        say "$1: after $limit s $effects of $2 are done"
    elif [[ $effects != "$2" ]]; then
        die "$1: of $2 units $effects are done; log: $dir/log"
    fi
    record "$1.per_s" "$(calc "$effects / $took")"
    record "$1.cpu_us" "$(calc "($cpu1 - $cpu0) / $effects")"
    printf '   %-28s %10.0f /s   %8.1f us   CPU %8.1f us\n' "$1" "$(calc "$effects / $took")" \
        "$(calc "$took * 1e6 / $effects")" "$(calc "($cpu1 - $cpu0) / $effects")"
}

# use_executors N: from here on there are as many, and they have worked. Each commit of a start may call one more.
use_executors() {
    local there deadline=$((SECONDS + 20))
    executors=$1
    set_server "pg_workflow.max_executors = $1"
    ask postgres "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_workflow executor'" >/dev/null
    while :; do
        psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -v n="$1" >/dev/null <<'SQL'
SELECT 'SELECT wf_start(''occupy'')' FROM generate_series(1, 2 * :n) \gexec
SELECT count(wf_start('one_step', '{"n": 0}')) FROM generate_series(1, 500);
SQL
        wait_drained
        there=$(ask postgres "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_workflow executor'")
        [[ $there != "$1" ]] || return 0
        if [[ $SECONDS -ge $deadline ]]; then
            say "only $there of $1 executors have come"
            return 0
        fi
    done
}

# idle NAME: what a server with nothing to do does. Times of the whole look, not for each second.
idle() {
    local tx0 cpu0 worker_cpu0 wakeups0 workers
    # Vacuum is not ours, and would hide what is.
    set_server 'autovacuum = off'
    ask postgres CHECKPOINT
    wait_drained
    sleep 3
    mapfile -t workers < <(ask postgres "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pg_workflow %'")
    tx0=$(ask postgres "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IS DISTINCT FROM 'postgres'")
    sleep 0.5
    cpu0=$(cpu_us) worker_cpu0=$(processes_cpu_us "${workers[@]}") wakeups0=$(processes_wakeups "${workers[@]}")
    sleep "$IDLE_SECONDS"
    record "$1.wakeups" "$(($(processes_wakeups "${workers[@]}") - wakeups0))"
    record "$1.cpu_ms" "$(calc "($(cpu_us) - $cpu0) / 1000")"
    record "$1.worker_cpu_ms" "$(calc "($(processes_cpu_us "${workers[@]}") - $worker_cpu0) / 1000")"
    record "$1.workers" "${#workers[@]}"
    record "$1.tx" "$(($(ask postgres "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IS DISTINCT FROM 'postgres'") - tx0))"
    set_server 'autovacuum = on'
}

sleepers() {
    local left=$SLEEPERS chunk
    say "$SLEEPERS workflows go to sleep"
    while [[ $left -gt 0 ]]; do
        chunk=$((left < 50000 ? left : 50000))
        psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -c "SELECT count(wf_start('sleeper')) FROM generate_series(1, $chunk)" >/dev/null
        wait_drained
        left=$((left - chunk))
    done
}

# Finished workflows of the last months, one step each, as they would be after them: the older the further to the left
# in the indexes.
finished() {
    local left=$FINISHED chunk
    say "$FINISHED workflows have finished"
    set_server 'autovacuum = off'
    while [[ $left -gt 0 ]]; do
        chunk=$((left < 250000 ? left : 250000))
        psql -Xq -v ON_ERROR_STOP=1 -d bench -v all="$FINISHED" -v done="$((FINISHED - left))" -v chunk="$chunk" \
            -f "$HERE/finished.sql"
        left=$((left - chunk))
    done
    # Inserted at the left of what is there, they have left half of each page empty, which in time they would not.
    ask bench 'REINDEX TABLE wf_internal.runs'
    ask bench 'REINDEX TABLE wf_internal.steps'
    tidy wf_internal
    set_server 'autovacuum = on'
}

# Nothing but the definitions stays.
forget() {
    wait_drained
    ask bench 'TRUNCATE wf_internal.runs, wf_internal.steps, wf_internal.ready, wf_internal.timers, wf_internal.signals'
}

# flat NAME: what a start and a drain cost beside whatever else is there.
flat() {
    # Pages written the first time behind a checkpoint cost more: the same for all.
    ask postgres CHECKPOINT
    for ((round = 1; round <= ROUNDS; round++)); do
        run_pgbench "start_$1" 1 start_later.sql -T "$SECONDS_EACH"
        workflows "one_1_$1" one_step "$BACKLOG" 1
    done
    round=1
}

# Drains under one snapshot, behind which nothing that they delete can be removed: one a round, of which the last counts.
old_snapshot() {
    local hold holder deadline=$((SECONDS + 20))
    local held="SELECT count(*) FROM pg_stat_activity WHERE application_name = 'old snapshot' AND backend_xmin IS NOT NULL"
    say "a snapshot of $OLD_SECONDS s"
    workflows no_snapshot one_step "$BACKLOG" 1
    exec {hold}> >(PGAPPNAME='old snapshot' exec psql -Xq -d bench >/dev/null 2>&1)
    holder=$!
    # Its own end bounds a drain that does not get on: what is left of that is drained without.
    printf '%s\n' "SET idle_in_transaction_session_timeout = '$((2 * OLD_SECONDS)) s';" \
        'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;' >&"$hold"
    until [[ $(ask postgres "$held") == 1 ]]; do
        [[ $SECONDS -lt $deadline ]] || die 'the session that holds a snapshot does not come'
        sleep 0.1
    done
    deadline=$((SECONDS + OLD_SECONDS))
    round=0
    while [[ $SECONDS -lt $deadline && $(ask postgres "$held") == 1 ]]; do
        round=$((round + 1))
        workflows old_snapshot one_step "$BACKLOG" 1
    done
    round=1
    exec {hold}>&-
    wait "$holder" || true
}

# How late a few sleepers among many are woken.
wake() {
    psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench >/dev/null <<'SQL'
SELECT wf_start('nap', jsonb_build_object('until', clock_timestamp() + make_interval(secs => 2 + n * 0.37)), 'nap-' || n)
FROM generate_series(1, 5) AS n;
SELECT wf_result('nap-' || n, '60 s') FROM generate_series(1, 5) AS n;
SQL
    record wake.late_us "$(ask bench "
        SELECT max(extract(epoch FROM r.finished_at - (r.input->>'until')::timestamptz)) * 1e6
        FROM wf_internal.runs r
        WHERE r.id IN (SELECT 'nap-' || n FROM generate_series(1, 5) AS n)")"
}

# Many starts for the same second.
due() {
    local at left completed took effects deadline
    say "$DUE workflows are due at once"
    tidy wf_internal
    at=$(ask postgres "SELECT date_trunc('second', now()) + make_interval(secs => 5 + $DUE / 4000)")
    psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench >/dev/null \
        -c "SELECT count(wf_start('one_step', jsonb_build_object('n', g), start_at => '$at')) FROM generate_series(1, $DUE) AS g"
    left=$(ask postgres "SELECT extract(epoch FROM '$at' - now())")
    [[ $left != -* ]] || die "$DUE starts were not there when they were due"
    sleep "$left"
    deadline=$((SECONDS + LIMIT))
    while [[ $(ask bench "SELECT EXISTS (SELECT FROM wf_internal.timers WHERE due_at <= '$at')") == t ]]; do
        [[ $SECONDS -lt $deadline ]] || die "timers do not fall due; log: $dir/log"
        sleep 0.2
    done
    wait_drained
    read -r completed took < <(ask bench "
        SELECT count(*) FILTER (WHERE status = 'completed'), extract(epoch FROM max(finished_at) - '$at')
        FROM wf_internal.runs WHERE start_at = '$at'")
    effects=$(ask bench 'SELECT count(*) FROM effects')
    [[ $completed == "$DUE" && $effects == "$DUE" ]] ||
        die "of $DUE that were due $completed have completed, and $effects rows are there; log: $dir/log"
    record due.us "$(calc "$took * 1e6")"
    record due.per_s "$(calc "$DUE / $took")"
    printf '   %-28s %10.0f /s   %8.1f us\n' due "$(calc "$DUE / $took")" "$(calc "$took * 1e6 / $DUE")"
}

# --- the run ----------------------------------------------------------------------------------------------------------

prepare() {
    local preload=pg_workflow
    install_library
    [[ ! -e $("$PG_CONFIG" --pkglibdir)/pg_stat_statements.so ]] || preload+=,pg_stat_statements
    dir=$(private_dir target/bench/cluster)
    trap finish EXIT
    cluster_init "$dir" "shared_preload_libraries = '$preload'" \
        'shared_buffers = 512MB' 'max_wal_size = 4GB' 'checkpoint_timeout = 30min' \
        'max_worker_processes = 16' "timezone = 'UTC'"
    # Loaded as on most servers; counting each statement would be charged to the extension only, whose statements are
    # not nested in another one as the queue's are.
    [[ $preload == pg_workflow ]] || echo 'pg_stat_statements.track = none' >>"$dir/data/postgresql.conf"
    cluster_start "$dir"
    cluster_env "$dir"
    ask postgres 'CREATE ROLE bench LOGIN'
    ask postgres 'CREATE DATABASE bench OWNER bench'
    ask bench 'CREATE EXTENSION pg_workflow'
    psql -Xq -v ON_ERROR_STOP=1 -U bench -d bench -f "$HERE/product.sql"
    psql -Xq -v ON_ERROR_STOP=1 -d bench -f "$HERE/queue.sql"
    rm -f "$OUT/raw.tsv"
}

one_round() {
    run_pgbench commit_1 1 commit.sql -T "$SECONDS_EACH"
    run_pgbench start_1 1 start_later.sql -T "$SECONDS_EACH"
    run_pgbench commit_8 8 commit.sql -T "$SECONDS_EACH"
    run_pgbench start_8 8 start_later.sql -T "$SECONDS_EACH"

    use_executors 1
    queue queue_1x1 1 1
    workflows one_1 one_step "$BACKLOG" 1
    workflows one_function_1 one_step_function "$BACKLOG" 1
    queue queue_1x1_guarded 1 1 true
    queue queue_5x1 5 1
    workflows five_1 many_steps "$BACKLOG" 5
    workflows chain_100 many_steps "$((BACKLOG / 500))" 100
    workflows chain_1000 many_steps "$((BACKLOG / 2500))" 1000
    workflows assigned_1000 many_steps_assigned "$((BACKLOG / 2500))" 1000
    workflows proc_1000 many_steps_procedure "$((BACKLOG / 2500))" 1000
    workflows proc_10000 many_steps_procedure "$((BACKLOG / 10000 + 1))" 10000

    use_executors 2
    queue queue_1x2 1 2
    workflows one_2 one_step "$BACKLOG" 1
    queue queue_5x2 5 2
    workflows five_2 many_steps "$BACKLOG" 5
    fan_out fan_out "$UNITS"
    fan_out fan_out_begun "$UNITS"

    use_executors 4
    workflows one_4 one_step "$BACKLOG" 1
    run_pgbench commit_beside 1 commit.sql -T "$SECONDS_EACH"
    run_pgbench latency 1 start_to_done.sql -t "$STARTS"
}

full() {
    forget
    use_executors 1
    flat alone
    old_snapshot
    forget
    use_executors 2
    sleepers
    wake
    due
    use_executors 1
    idle idle_sleepers
    flat sleepers
    finished
    flat finished
}

report() {
    psql -Xq -P pager=off -v ON_ERROR_STOP=1 -v raw="$OUT/raw.tsv" -v idle_seconds="$IDLE_SECONDS" \
        -v backlog="$BACKLOG" -v rounds="$ROUNDS" -v units="$UNITS" -v sleepers="$SLEEPERS" -v finished="$FINISHED" \
        -v due="$DUE" -v old_seconds="$OLD_SECONDS" -v json="$OUT/latest.json" \
        -v machine="$(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" \
        -v library="$library" -v load="$(cut -d ' ' -f 1-3 /proc/loadavg)" -f "$HERE/report.sql" <"$OUT/raw.tsv"
}

mkdir -p "$OUT"
prepare
for ((round = 1; round <= ROUNDS; round++)); do
    say "round $round of $ROUNDS"
    one_round
done
round=1
say "idle for $IDLE_SECONDS s"
idle idle
[[ ! ${FULL:-} ]] || full
report
say "all numbers: ${OUT#"$REPO"/}/latest.json, each round's in raw.tsv"
if [[ ${TASKS:-} != 0 ]]; then
    cluster_stop "$dir"
    SKIP_BUILD=1 "$HERE/tasks.sh"
fi
