#!/usr/bin/env bash
# The demo: a workflow loads real data; half way the whole server is killed; it goes on and nothing is lost or done twice.
#   scripts/demo.sh         builds, makes a fresh cluster in .demo/, runs; leaves the server running
#   scripts/demo.sh stop    stops that server
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LIMIT=120 # seconds that anything here may take

# In one line, unaligned, as the ordinary role that the workflow belongs to.
ask() { psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -U etl -d demo -c "$1"; }
# For the reader.
show() { psql -Xq -P footer=off -P pager=off -v ON_ERROR_STOP=1 -U etl -d demo -c "$1"; }

# bar DONE OF TEXT: one line, rewritten on a terminal.
bar() {
    local filled=$(($1 * 40 / ($2 > 0 ? $2 : 1))) blocks
    printf -v blocks '%*s' "$filled" ''
    printf -v blocks '%-40s' "${blocks// /#}"
    if [[ -t 1 ]]; then
        printf '\r\033[K   [%s] %3d/%d %s' "$blocks" "$1" "$2" "$3"
    else
        printf '   [%s] %3d/%d %s\n' "$blocks" "$1" "$2" "$3"
    fi
}
end_bar() { [[ ! -t 1 ]] || echo; }

# follow CONDITION: shows progress until the condition, an expression over status, done and all_of, is true. The
# condition is looked at about every 0.3 s.
follow() {
    local status=- reached=f n=0 of=0 at='' before='' deadline=$((SECONDS + LIMIT))
    while [[ $reached != t ]]; do
        if [[ $status == failed || $status == cancelled ]]; then
            end_bar
            show "SELECT name, status, error FROM wf.steps WHERE id = 'iso-etl' AND status = 'failed'"
            die "the workflow has $status"
        fi
        [[ $SECONDS -lt $deadline ]] || die "no progress for $LIMIT s; log: $dir/log"
        [[ $status == - ]] || sleep 0.3
        read -r status reached n of at < <(ask "
            SELECT status, coalesce($1, false), done, all_of, at
            FROM (SELECT wf_status('iso-etl') AS status, coalesce((p->>'done')::int, 0) AS done,
                         coalesce((p->>'of')::int, 0) AS all_of, coalesce(p->>'at', '-') AS at
                  FROM wf_get('iso-etl', 'progress') AS p) AS now_") || die 'the server does not answer'
        if [[ $of -gt 0 && "$n $of" != "$before" ]]; then
            bar "$n" "$of" "countries loaded, at $at"
            before="$n $of" deadline=$((SECONDS + LIMIT))
        fi
    done
    end_bar
}

prepare() {
    ensure_packages build demo
    ensure_rust
    ensure_cargo_pgrx
    dir=$(private_dir .demo)
    cluster_stop "$dir" # a server that has the old library loaded
    say 'building pg_workflow and installing it'
    build_install --release

    say "making a cluster in .demo/, run by user $(cluster_user)"
    cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'"
    cluster_start "$dir"
    cluster_env "$dir"
    psql -Xq -c 'CREATE DATABASE demo'
    psql -Xq -d demo -c 'CREATE EXTENSION pg_workflow'
    psql -Xq -d demo -f "$REPO/demo/etl.sql"
}

run() {
    say "SELECT wf_start('iso_etl', id => 'iso-etl'): one step for each country"
    ask "SELECT wf_start('iso_etl', id => 'iso-etl')" >/dev/null
    follow 'done * 2 >= all_of AND all_of > 0'

    cluster_kill "$dir"
    say "kill -9: the server is gone, all $KILLED processes of it"
    cluster_start "$dir"
    # Not a count of steps: the workers are already at it again.
    say "started again: $(ask 'SELECT count(*) FROM loaded WHERE server_started < pg_postmaster_start_time()') countries are there, and it goes on"
    follow "status = 'waiting'"

    say "the workflow waits: $(ask "SELECT waiting_for FROM wf.workflows WHERE id = 'iso-etl'")"
    say "SELECT wf_signal('iso-etl', 'approval', '{\"by\": \"etl\"}')"
    ask "SELECT wf_signal('iso-etl', 'approval', '{\"by\": \"etl\"}')" >/dev/null
    say "result: $(ask "SELECT wf_result('iso-etl', wait => '60 s')")"
}

prove() {
    say 'what the files say against what is in the tables'
    show 'SELECT * FROM proof'
    say 'who loaded it'
    show 'SELECT * FROM work_by_server'
    [[ $(ask 'SELECT bool_and("exactly once") FROM proof') == t ]] || die 'NOT exactly once'
    say 'exactly once: nothing lost, nothing done twice'
}

farewell() {
    cat <<END

The server is still running. Look around:
  $(pg_bin)/psql -h $PGHOST -U etl demo
  SELECT * FROM wf.workflows;
  SELECT n, name, status, duration, result FROM wf.steps ORDER BY n;
Stop it:
  make demo-stop
END
}

case ${1:-run} in
    run)
        prepare
        run
        prove
        farewell
        ;;
    stop)
        cluster_stop "$(private_dir .demo)"
        say 'the server of the demo is stopped'
        ;;
    *) die "usage: scripts/demo.sh [run|stop]" ;;
esac
