#!/usr/bin/env bash
# Tests of the clients: test.sh [NAME...], each against the extension that is installed in the server of PG_CONFIG. Goes
# on after a failure, so that one run shows all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

[[ $# -gt 0 ]] || set -- python typescript
failed=0
for client in "$@"; do
    [[ -x $client/test.sh ]] || continue
    echo "-- $client"
    "$client/test.sh" || failed=$((failed + 1))
done
[[ $failed -eq 0 ]]
