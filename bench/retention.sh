#!/usr/bin/env bash
# Do the tables come to a steady size? A constant load of one-step workflows, each kept for WINDOW seconds; every SAMPLE seconds
# the size of the tables, and how far behind the background purge is. Then how fast that is: everything at once.
#   WINDOW=60        seconds that an instance is kept
#   RATE=1000        starts a second, in one bulk
#   LENGTH=420       seconds of load
#   SAMPLE=30
#   SKIP_BUILD=1     measures what is installed, which may be a debug build
#   KEEP=1           leaves the cluster, stopped, in target/retention/cluster
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$REPO/bench/lib.sh"

: "${WINDOW:=60}" "${RATE:=1000}" "${LENGTH:=420}" "${SAMPLE:=30}"

prepare() {
    install_library
    dir=$(private_dir target/retention/cluster)
    trap finish EXIT
    # A week that lasts minutes: autovacuum looks as often, measured by it, as it does by default.
    cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" "pg_workflow.retention = ${WINDOW}s" 'autovacuum_naptime = 1s' \
        'shared_buffers = 256MB' 'max_wal_size = 2GB' "timezone = 'UTC'"
    cluster_start "$dir"
    cluster_env "$dir"
    ask postgres 'CREATE DATABASE bench'
    ask bench 'CREATE EXTENSION pg_workflow'
    psql -Xq -v ON_ERROR_STOP=1 -d bench -f "$REPO/bench/product.sql" >/dev/null
}

# One bulk a second, late or not.
run_load() {
    local second begun=$SECONDS
    for ((second = 0; second < LENGTH; second++)); do
        while ((SECONDS - begun < second)); do sleep 0.05; done
        echo "SELECT count(wf_start('one_step', jsonb_build_object('n', i))) FROM generate_series(1, $RATE) i;"
    done | psql -XqAt -v ON_ERROR_STOP=1 -d bench >/dev/null
}

size() { echo "pg_size_pretty(pg_total_relation_size('wf_internal.$1'))"; }

prepare
say "$library; $RATE starts a second, kept for $WINDOW s"
run_load &
loading=$!
format='%8s %10s %10s %10s %10s %10s %10s %10s\n'
# shellcheck disable=SC2059
printf "$format" second open kept removed behind runs steps ready
for ((second = SAMPLE; second <= LENGTH; second += SAMPLE)); do
    sleep "$SAMPLE"
    # shellcheck disable=SC2059,SC2046
    printf "$format" "$second" $(ask bench "
        SELECT count(*) FILTER (WHERE finished_at IS NULL), count(finished_at),
               (SELECT removed FROM wf.retention), (SELECT coalesce(extract(epoch FROM behind)::integer, 0) FROM wf.retention),
               replace($(size runs), ' ', ''), replace($(size steps), ' ', ''), replace($(size ready), ' ', '')
        FROM wf_internal.runs")
done
wait "$loading"
until [[ $(ask bench 'SELECT count(*) FROM wf_internal.runs WHERE finished_at IS NULL') == 0 ]]; do sleep 0.2; done
kept=$(ask bench 'SELECT count(*) FROM wf_internal.runs')
begun=$(date +%s%N)
set_server "pg_workflow.retention = 0"
until [[ $(ask bench 'SELECT count(*) FROM wf_internal.runs') == 0 ]]; do sleep 0.1; done
say "$kept at once: $(calc "int($kept / (($(date +%s%N) - $begun) / 1e9))") a second"
