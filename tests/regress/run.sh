#!/usr/bin/env bash
# Golden SQL tests: run.sh [NAME...]. Each sql/NAME.sql runs in a database of its own; UPDATE=1 rewrites expected/.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/golden.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/golden.sh"

SETTINGS=(
    "shared_preload_libraries = 'pg_workflow'"
    'fsync = off'
    'max_worker_processes = 16'
    "timezone = 'UTC'"
)
# psql reads standard input, not -f: messages then carry no line numbers, which every edit would move.
COMMAND=(psql -X -a -q -v ON_ERROR_STOP=0 -v VERBOSITY=default -d regress)
golden_main regress sql sql "$@"
