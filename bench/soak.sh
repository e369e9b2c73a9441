#!/usr/bin/env bash
# A mixed load for an hour, and then: has everything been done, and once? Two roles, clients that start, signal, cancel, ask,
# hold transactions open and take them back, and that lock the rows that steps lock. See soak/workflows.sql and, for what is
# checked, soak/check.sql. Exits with an error if a check finds something.
#   SOAK_MINUTES=60  how long
#   RATE=300         client transactions a second, of which about half start a workflow
#   SLOW=1           starts a second of what keeps an executor occupied for a second
#   EXECUTORS=4      of each role
#   PROCEDURES=0     no procedures among the workflows
#   SETTLE=120       seconds for what is open at the end of the load
#   SKIP_BUILD=1     takes what is installed, which may be a debug build
#   KEEP=1           leaves the cluster, stopped, in target/soak/cluster
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

HERE=$REPO/bench/soak
OUT=$REPO/target/soak
ROLES=(soak_a soak_b)
: "${SOAK_MINUTES:=60}" "${RATE:=300}" "${SLOW:=1}" "${EXECUTORS:=4}" "${PROCEDURES:=1}" "${SETTLE:=120}"
LENGTH=$(calc "int($SOAK_MINUTES * 60)")

prepare() {
    local role
    install_library
    dir=$(private_dir target/soak/cluster)
    trap finish EXIT
    # Deadlocks are looked for soon, so that there are some; each that is found is logged, also one that a step gets over.
    cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" "pg_workflow.max_executors = $EXECUTORS" \
        'shared_buffers = 256MB' 'max_wal_size = 2GB' 'max_worker_processes = 32' "timezone = 'UTC'" \
        'deadlock_timeout = 200ms' 'log_lock_waits = on' \
        'logging_collector = on' 'log_destination = csvlog' "log_filename = 'soak.log'" \
        'log_rotation_age = 0' 'log_rotation_size = 0'
    cluster_start "$dir"
    cluster_env "$dir"
    for role in "${ROLES[@]}"; do ask postgres "CREATE ROLE $role LOGIN"; done
    ask postgres 'CREATE DATABASE soak'
    ask soak 'CREATE EXTENSION pg_workflow'
    psql -Xq -v ON_ERROR_STOP=1 -d soak -f "$HERE/workflows.sql" >/dev/null
    rm -f "$OUT"/*.tsv "$OUT"/*.txt
}

# load NAME ROLE RATE CLIENTS SCRIPT@WEIGHT...: in the background, for as long as the load lasts.
load() {
    local name=$1 role=$2 rate=$3 clients=$4 script scripts=()
    shift 4
    for script in "$@"; do scripts+=(-f "$HERE/$script"); done
    pgbench -n -M prepared -T "$LENGTH" -R "$rate" -c "$clients" -j 1 -D "procedures=$PROCEDURES" -U "$role" "${scripts[@]}" soak \
        >"$OUT/$name.$role.txt" 2>&1 &
    loads+=($!)
}

# memory SAMPLE: of each of our processes, resident and of that its own.
memory() {
    local pid what
    while read -r pid what; do
        awk -v sample="$1" -v at="$(date -Is)" -v pid="$pid" -v what="$what" \
            '/^VmRSS:/ { rss = $2 } /^RssAnon:/ { own = $2 } END { if (rss) print sample "\t" at "\t" pid "\t" what "\t" rss "\t" own }' \
            "/proc/$pid/status" 2>/dev/null || true
    done < <(ask postgres "SELECT pid, substr(backend_type, 13) FROM pg_stat_activity WHERE backend_type LIKE 'pg_workflow %'") \
        >>"$OUT/memory.tsv"
}

# progress SECONDS: what has been done since the last look, so many seconds ago.
progress() {
    local cpu=$cpu_before
    cpu_before=$(cpu_us)
    ask soak "
        SELECT format('   %s  %s started, %s open, %s ready, CPU %s of $(nproc), quick: p50 %s ms, p99 %s ms',
                      to_char(now(), 'HH24:MI:SS'), count(*), count(*) FILTER (WHERE r.finished_at IS NULL), (SELECT count(*) FROM wf_internal.ready),
                      round(($cpu_before - $cpu) / 1e6 / $1, 2),
                      round((percentile_cont(0.5) WITHIN GROUP (ORDER BY q.ms))::numeric, 1),
                      round((percentile_cont(0.99) WITHIN GROUP (ORDER BY q.ms))::numeric, 1))
        FROM started s
        JOIN wf_internal.runs r ON r.id = s.id
        LEFT JOIN LATERAL (SELECT extract(epoch FROM r.finished_at - r.created_at) * 1000 AS ms
                           WHERE s.kind = 'quick' AND NOT s.held) AS q ON true
        WHERE s.at > clock_timestamp() - interval '$1 s' AND s.kind <> 'long'"
}

# settle: what is still to be sent is sent; returns once nothing is open but long sleepers, or after SETTLE seconds.
settle() {
    local role deadline=$((SECONDS + SETTLE)) open="
        SELECT (SELECT count(*) FROM wf_internal.runs WHERE status IN ('pending', 'running', 'waiting') AND id NOT LIKE 'long-%')
               + (SELECT count(*) FROM wf_internal.ready) + (SELECT count(*) FROM todo)"
    while [[ $(ask soak "$open") != 0 ]]; do
        if [[ $SECONDS -ge $deadline ]]; then
            say "after $SETTLE s not all has come to an end"
            psql -X -d soak -c "SELECT * FROM wf.workers" -c "SELECT * FROM wf_health()" -c "
                SELECT r.run_id, id, status, waiting_for, started_at, h.hints
                FROM wf_internal.runs r
                LEFT JOIN (SELECT run_id, count(*) AS hints FROM wf_internal.ready GROUP BY run_id) AS h USING (run_id)
                WHERE h.hints > 0 OR status IN ('pending', 'running', 'waiting') AND id NOT LIKE 'long-%' LIMIT 30"
            return 0
        fi
        for role in "${ROLES[@]}"; do
            psql -Xq -v ON_ERROR_STOP=1 -U "$role" -d soak -c 'SELECT deliver(everything => true)' >/dev/null
        done
        sleep 0.5
    done
}

soak() {
    local role pid every next at span loads=()
    failed_clients=0
    for role in "${ROLES[@]}"; do
        psql -Xq -v ON_ERROR_STOP=1 -U "$role" -d soak \
            -c "SELECT count(launch('long', ends => 'waiting', effects => 1)) FROM generate_series(1, 50)" >/dev/null
        load clients "$role" "$(calc "$RATE / ${#ROLES[@]}")" 8 \
            act.sql@60 deliver.sql@16 ask.sql@10 race.sql@8 move.sql@2 take_back.sql@3 hold.sql@1
        load slow "$role" "$(calc "$SLOW / ${#ROLES[@]}")" 2 act_slowly.sql
    done
    cpu_before=$(cpu_us)
    every=$((LENGTH / 20 > 10 ? LENGTH / 20 : 10))
    # Not at the very start: caches fill.
    at=0
    for next in $((LENGTH / 6)) $((LENGTH / 2)) $((LENGTH - 2)); do
        while [[ $at -lt $next ]]; do
            span=$((next - at < every ? next - at : every))
            sleep "$span"
            at=$((at + span))
            progress "$span"
        done
        case $next in
            $((LENGTH / 6))) memory start ;;
            $((LENGTH / 2))) memory middle ;;
            *) memory end ;;
        esac
    done
    for pid in "${loads[@]}"; do wait "$pid" || failed_clients=$((failed_clients + 1)); done
    # A client that meets an error ends; the others go on.
    failed_clients=$((failed_clients + $(cat "$OUT"/*.txt | grep -c 'aborted in command' || true)))
    cat "$OUT"/*.txt | grep -B 1 -A 2 'aborted in command' | head -n 20 || true
    say 'waiting for what is open'
    settle
}

prepare
say "$SOAK_MINUTES minutes of $RATE client transactions a second; $library"
soak
sed -nE 's/^(number of transactions actually processed|rate limit schedule lag).*/   &/p' "$OUT"/clients.*.txt
psql -Xq -v ON_ERROR_STOP=1 -d soak -v log="$dir/data/log/soak.csv" -v failed_clients="$failed_clients" \
    -v deadlocks="$(ask postgres "SELECT deadlocks FROM pg_stat_database WHERE datname = 'soak'")" \
    -f "$HERE/check.sql" <"$OUT/memory.tsv" || die 'the soak test has found something'
say 'nothing found'
