#!/usr/bin/env bash
# A private cluster for the tests of the clients: cluster.sh new|start|stop|kill|drop NAME
#   new    makes it, with the extension, in place of one of that name; prints the directory of its socket
#   kill   SIGKILL to every process of the server
# It runs the server of PG_CONFIG, with the extension that is installed there. Its superuser is postgres, on port 5432.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

[[ $# -eq 2 ]] || die "usage: cluster.sh new|start|stop|kill|drop NAME"
dir=$(private_dir "target/clients/$2")
case $1 in
    new)
        cluster_init "$dir" "shared_preload_libraries = 'pg_workflow'" 'fsync = off' 'max_worker_processes = 16' "timezone = 'UTC'"
        cluster_start "$dir"
        cluster_env "$dir"
        psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_workflow'
        cluster_socket "$dir"
        ;;
    start) cluster_start "$dir" ;;
    stop) cluster_stop "$dir" ;;
    kill) cluster_kill "$dir" ;;
    drop) cluster_drop "$dir" ;;
    *) die "no such command: $1" ;;
esac
