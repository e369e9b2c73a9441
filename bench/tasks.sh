#!/usr/bin/env bash
# Tasks and queues. How many tasks a second WORKERS sessions claim and complete, beside a queue of messages in plain SQL
# (tasks/plain.sql); whether ten tenants of very unequal backlog are served by turns; whether a rate is held; and whether each
# task is done, and once, while workers are killed and the server is killed and restarted. Prints tables; all numbers are in
# target/bench/tasks.json. Exits with an error if a promise is not kept.
#   QUICK=1          smaller and once, to try it
#   ROUNDS=3         medians over this many rounds, of the throughput
#   WORKERS=4        sessions
#   MAX=100          tasks in each claim
#   DRAIN=20000      tasks of each measurement of the throughput; a tenth of them one at a time
#   DONE=200000      done ones, and as many waiting, of the measurement beside these
#   TENANT=10000     backlog of the largest tenant; the smallest has a ten-thousandth
#   RATE_SECONDS=20  length of the look at a rate
#   TASKS=100000     tasks of the soak
#   SKIP_BUILD=1     measures what is installed, which may be a debug build
#   KEEP=1           leaves the cluster, stopped, in target/bench/tasks
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

if [[ ${QUICK:-} ]]; then
    : "${ROUNDS:=1}" "${DRAIN:=4000}" "${DONE:=4000}" "${RATE_SECONDS:=5}" "${TASKS:=10000}"
fi
: "${ROUNDS:=3}" "${WORKERS:=4}" "${MAX:=100}" "${DRAIN:=20000}" "${DONE:=200000}" "${TENANT:=10000}" "${RATE_SECONDS:=20}" "${TASKS:=100000}"
HERE=$REPO/bench/tasks
OUT=$REPO/target/bench
RAW=$OUT/tasks.tsv
RATE=100  # of the queue whose rate is looked at
LIMIT=900 # seconds that anything here may take: beyond that it hangs

# record NAME VALUE: one number of this round.
record() { printf '%s\t%s\t%s\n' "$round" "$1" "$2" >>"$RAW"; }

# until_is VALUE SQL WHAT: waits until the query says so.
until_is() {
    local deadline=$((SECONDS + LIMIT))
    until [[ $(ask tasks "$2") == "$1" ]]; do
        [[ $SECONDS -lt $deadline ]] || die "$3; log: $dir/log"
        sleep 0.2
    done
}

# settled: nothing is to be done but by workers.
settled() {
    until_is f 'SELECT EXISTS (SELECT FROM wf_internal.ready)' 'executors do not come to an end'
    [[ ! $(ask tasks "SELECT error FROM wf.workflows WHERE status = 'failed' LIMIT 1" | tee "$OUT/tasks.failed.txt") ]] ||
        die "a workflow has failed: $(cat "$OUT/tasks.failed.txt")"
}

# fill QUEUE TASKS [TENANT]
fill() { ask tasks "SELECT fill('$1', $2${3:+, $3})" >/dev/null; }

# clients NAME COUNT SCRIPT OPTION...: as many sessions; prints what pgbench says.
clients() {
    local name=$1 count=$2 script=$3
    shift 3
    timeout "$LIMIT" pgbench -n -M prepared -c "$count" -j "$count" -f "$HERE/$script" "$@" tasks 2>"$OUT/tasks.$name.txt" ||
        die "$name: $(tail -n 5 "$OUT/tasks.$name.txt")"
}
tps() { sed -nE 's/^tps = ([0-9.]+).*/\1/p'; }

# --- throughput -------------------------------------------------------------------------------------------------------

# drain NAME SCRIPT TASKS MAX LEFT: the sessions claim and complete so many; LEFT counts what waits.
drain() {
    local each=$(($3 / $4 / WORKERS)) before after per_s
    before=$(ask tasks "$5")
    per_s=$(clients "$1" "$WORKERS" "$2" -t "$each" -D "max=$4" | tps)
    after=$(ask tasks "$5")
    # What was done counts, not what was asked for.
    per_s=$(calc "$per_s * ($before - $after) / ($each * $WORKERS)")
    record "$1.per_s" "$per_s"
    printf '   %-28s %10.0f /s\n' "$1" "$per_s"
}
IN_QUEUE="SELECT count(*) FROM wf_internal.task_queue p JOIN wf_internal.queues q USING (queue_id) WHERE q.name = 'bench'"
IN_PLAIN='SELECT count(*) FROM plain.queue'

# throughput SUFFIX: product and yardsticks, each with what it needs put in before, and the same in its way.
throughput() {
    fill bench $((DRAIN + DRAIN / 10))
    settled
    ask tasks "SELECT plain.fill(2 * $((DRAIN + DRAIN / 10)))" >/dev/null
    ask tasks 'VACUUM (ANALYZE)'
    drain "tasks_max$1" complete.sql "$DRAIN" "$MAX" "$IN_QUEUE"
    settled
    drain "delete_max$1" plain_delete.sql "$DRAIN" "$MAX" "$IN_PLAIN"
    drain "archive_max$1" plain_archive.sql "$DRAIN" "$MAX" "$IN_PLAIN"
    drain "tasks_1$1" complete.sql $((DRAIN / 10)) 1 "$IN_QUEUE"
    settled
    drain "delete_1$1" plain_delete.sql $((DRAIN / 10)) 1 "$IN_PLAIN"
    drain "archive_1$1" plain_archive.sql $((DRAIN / 10)) 1 "$IN_PLAIN"
}

# behind: as many done and waiting, in the same queue.
behind() {
    fill bench "$DONE"
    settled
    clients behind "$WORKERS" complete.sql -t $((DONE / MAX / WORKERS)) -D "max=$MAX" >/dev/null
    settled
    fill bench "$DONE"
    ask tasks "SELECT plain.fill($DONE)" >/dev/null
    clients behind "$WORKERS" plain_archive.sql -t $((DONE / MAX / WORKERS)) -D "max=$MAX" >/dev/null
    ask tasks "SELECT plain.fill($DONE)" >/dev/null
    settled
    throughput _behind
}

# --- fairness ---------------------------------------------------------------------------------------------------------

fairness() {
    local tenant=0 share total
    for share in 1 2 5 10 20 50 100 200 1000 10000; do
        tenant=$((tenant + 1))
        ask tasks "INSERT INTO tenants VALUES ($tenant, greatest(1, $TENANT / $share))"
    done
    ask tasks "SELECT fill('fair', backlog, tenant) FROM tenants ORDER BY tenant" >/dev/null
    settled
    total=$(ask tasks 'SELECT sum(backlog) FROM tenants')
    record fair.per_s "$(calc "10 * $(clients fair "$WORKERS" fair.sql -t $((total / 10 / WORKERS)) | tps)")"
    # What does not divide by all sessions.
    clients fair 1 fair.sql -t "$WORKERS" >/dev/null
    until_is "$total" 'SELECT count(*) FROM claims' 'not all tasks of the tenants were claimed'
    psql -Xq -v ON_ERROR_STOP=1 -d tasks -v raw="$OUT/tasks.part" -v first=1000 -f "$HERE/fairness.sql"
    cat "$OUT/tasks.part" >>"$RAW"
}

# --- a rate -----------------------------------------------------------------------------------------------------------

rated() {
    ask tasks "SELECT wf_queue('rated', rate => $RATE)" >/dev/null
    # The bucket is full at first, for which there are two seconds; and some more, since sessions wait before they end.
    fill rated $((RATE * (RATE_SECONDS + 12)))
    settled
    clients rated "$WORKERS" rated.sql -T $((RATE_SECONDS + 4)) >/dev/null
    psql -Xq -v ON_ERROR_STOP=1 -d tasks -v rate="$RATE" -v seconds="$RATE_SECONDS" -f "$HERE/rate.sql" >>"$RAW"
}

# --- soak -------------------------------------------------------------------------------------------------------------

# work SLOT: a worker begins, in the background; it goes on until it is killed or loses the server.
work() {
    pgbench -n -M prepared -c 1 -T "$LIMIT" -D "who=worker $1" -D "max=$MAX" -D work=10 -f "$HERE/worker.sql" tasks \
        >/dev/null 2>>"$OUT/tasks.workers.txt" &
    pids[$1]=$!
    # Else the shell tells of each that is killed.
    disown
}

works() { is_alive "$1" && grep -qs "^PPid:[[:space:]]*$$\$" "/proc/$1/status"; }

# restart HOW: kill, or stop and start.
restart() {
    say "the server is $1"
    if [[ $1 == killed ]]; then cluster_kill "$dir"; else cluster_stop "$dir" fast; fi
    cluster_start "$dir"
    restarts=$((restarts + 1))
}

soak() {
    local slot pid finished open errors logged killed=0 restarts=0 pids=() began deadline=$((SECONDS + LIMIT))
    : >"$OUT/tasks.workers.txt"
    began=$(ask tasks 'SELECT extract(epoch FROM clock_timestamp())')
    fill soak "$TASKS"
    while :; do
        for ((slot = 0; slot < WORKERS; slot++)); do
            works "${pids[slot]:-0}" || work "$slot"
        done
        sleep 0.3
        read -r finished open < <(ask tasks "SELECT (SELECT count(*) FROM effects),
            EXISTS (SELECT FROM wf_internal.runs WHERE input->>'queue' = 'soak' AND finished_at IS NULL)")
        [[ $open == t ]] || break
        [[ $SECONDS -lt $deadline ]] || { say "after $LIMIT s $finished of $TASKS tasks are done" && break; }
        if [[ $restarts == 0 && $finished -ge $((TASKS / 3)) ]]; then
            restart killed
        elif [[ $restarts == 1 && $finished -ge $((TASKS * 2 / 3)) ]]; then
            restart restarted
        elif [[ $((RANDOM % 2)) == 0 ]]; then
            pid=${pids[RANDOM % WORKERS]}
            if works "$pid" && kill -KILL "$pid"; then killed=$((killed + 1)); fi
        fi
    done
    for pid in "${pids[@]}"; do ! works "$pid" || kill -TERM "$pid"; done
    record soak.per_s "$(calc "$finished / ($(ask tasks 'SELECT extract(epoch FROM max(at)) FROM effects') - $began)")"
    record soak.tasks "$finished"
    record soak.killed "$killed"
    record soak.restarts "$restarts"
    record soak.lost "$(ask tasks "SELECT count(*) FROM wf_internal.tasks JOIN wf_internal.queues q USING (queue_id)
                                   WHERE q.name = 'soak' AND attempt > 1")"
    errors=$(grep -c 'ERROR: ' "$OUT/tasks.workers.txt" || true)
    # SQLSTATEs stand before the level.
    logged=$(grep -cE ' (XX...|40P01) +[A-Z]+: |PANIC: ' "$dir/log" || true)
    psql -Xq -v ON_ERROR_STOP=1 -d tasks -v tasks="$TASKS" -v errors="$errors" -v logged="$logged" -f "$HERE/check.sql" ||
        die "the soak has found something; workers: $OUT/tasks.workers.txt, server: $dir/log"
}

# --- the run ----------------------------------------------------------------------------------------------------------

mkdir -p "$OUT"
install_library
dir=$(private_dir target/bench/tasks)
trap finish EXIT
cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" 'max_worker_processes = 16' 'shared_buffers = 512MB' \
    'max_wal_size = 4GB' 'checkpoint_timeout = 30min' "log_line_prefix = '%m [%p] %e '"
cluster_start "$dir"
cluster_env "$dir"
ask postgres 'CREATE DATABASE tasks' && ask tasks 'CREATE EXTENSION pg_workflow'
psql -Xq -v ON_ERROR_STOP=1 -d tasks -f "$HERE/workflows.sql" -f "$HERE/plain.sql"
rm -f "$RAW"

for ((round = 1; round <= ROUNDS; round++)); do
    say "throughput, round $round of $ROUNDS"
    throughput ''
done
round=1
say "beside $DONE that are done, and as many that wait"
behind
say 'fairness'
fairness
say "a rate of $RATE/s, for $RATE_SECONDS s"
rated
say "soak: $TASKS tasks, $WORKERS workers"
soak
psql -Xq -P pager=off -v ON_ERROR_STOP=1 -d tasks -v max="$MAX" -v 'done'="$DONE" -v rate="$RATE" -v rounds="$ROUNDS" -v workers="$WORKERS" \
    -v json="$OUT/tasks.json" -v machine="$(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)" \
    -v library="$library" -v load="$(cut -d ' ' -f 1-3 /proc/loadavg)" -f "$HERE/report.sql" <"$RAW"
say "all numbers: ${OUT#"$REPO"/}/tasks.json, each round's in tasks.tsv"
