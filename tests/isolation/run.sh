#!/usr/bin/env bash
# Interleaved sessions: run.sh [NAME...]. Each specs/NAME.spec goes through Postgres' isolationtester, in a database of
# its own; UPDATE=1 rewrites expected/. The library is not preloaded: no worker interferes, a session that wants work
# done does CALL wf_run_pending().
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/golden.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/golden.sh"

pgxs=$("$PG_CONFIG" --pgxs)
tester=${pgxs%/makefiles/pgxs.mk}/test/isolation/isolationtester
[[ -x $tester ]] || die "no isolationtester at $tester"

SETTINGS=(
    'fsync = off'
    "timezone = 'UTC'"
)
COMMAND=("$tester" 'dbname=isolation')
golden_main isolation specs spec "$@"
