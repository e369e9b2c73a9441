#!/usr/bin/env bash
# Tests of the TypeScript client, in a private cluster of the server of PG_CONFIG with the extension that is installed
# there: test.sh [FILE...], such as test/client.test.ts. Ends with the counts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
source "$here/../../scripts/lib.sh"

ensure_node() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        apt_install nodejs npm
    fi
    node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' || die "Node 18 or newer is needed, found $(node --version)"
}

# Packages as package-lock.json has them; nothing is fetched when they are there.
install_packages() {
    local installed=node_modules/.package-lock.json
    [[ $installed -nt package-lock.json && $installed -nt package.json ]] || npm ci --no-audit --no-fund
}

ensure_node
cd "$here"
install_packages
rm -rf dist build
# The code of the page of the documentation, as one module.
# shellcheck disable=SC2016
awk '/^```ts$/ { on = 1; next }
    /^```/ && on { on = 0; if (!blocks++) print "void worker.run();" }
    on
    END { print "export const end = async () => { await worker.stop(); await client.close(); await shop.end(); };" }' \
    "$REPO/docs/typescript.md" >test/page.ts
# The tests use the package as others do, by its name and its declarations.
node_modules/.bin/tsc
node_modules/.bin/tsc --project test

CLUSTER=$here/../cluster.sh
PGHOST=$("$CLUSTER" new typescript)
trap '"$CLUSTER" drop typescript' EXIT
export CLUSTER PGHOST PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

# run_files CONCURRENCY FILE...: adds to the counts.
passed=0 failed=0
run_files() {
    local concurrency=$1 counts=build/counts.tap status=0 failures
    shift
    timeout 300 node --test --test-concurrency="$concurrency" --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=tap --test-reporter-destination="$counts" "${@/%.ts/.js}" || status=$?
    failures=$(awk '/^# (fail|cancelled) / { n += $3 } END { print n + 0 }' "$counts")
    [[ $status -eq 0 || $failures -gt 0 ]] || failures=1
    passed=$((passed + $(awk '/^# pass / { n += $3 } END { print n + 0 }' "$counts")))
    failed=$((failed + failures))
}

if [[ $# -gt 0 ]]; then
    run_files 1 "${@/#test/build}"
else
    run_files 4 build/{client,docs,package,pooled,worker}.test.js
    # Alone, since it kills the server.
    run_files 1 build/crash.test.js
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
