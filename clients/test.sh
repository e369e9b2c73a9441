#!/usr/bin/env bash
# Tests of the clients: test.sh [NAME...], each against the extension that is installed in the server of PG_CONFIG. Goes
# on after a failure, so that one run shows all.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source-path=SCRIPTDIR source=../scripts/flaky.sh
source "$REPO/scripts/flaky.sh"
cd "$REPO/clients"

[[ $# -gt 0 ]] || set -- python typescript
failed=0
mkdir -p "$REPO/target/clients"
for client in "$@"; do
    [[ -x $client/test.sh ]] || continue
    echo "-- $client"
    log=$REPO/target/clients/$client.out
    if ! tries_again "$failed"; then
        "$client/test.sh" || failed=$((failed + 1))
    elif "$client/test.sh" >"$log" 2>&1; then
        cat "$log"
    else
        # Indented: its counts are not those of this run.
        sed 's/^/  /' "$log"
        echo "-- $client again"
        if "$client/test.sh"; then
            echo "flaky   $client"
            note_flaky clients "$client" "$log"
        else
            failed=$((failed + 1))
        fi
    fi
done
[[ $failed -eq 0 ]]
