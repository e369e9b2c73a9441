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
trap '"$CLUSTER" drop typescript; "$CLUSTER" drop typescript-crash' EXIT
export CLUSTER PGHOST PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

[[ $# -gt 0 ]] || set -- test/*.test.ts
set -- "${@/#test/build}"
# They mostly wait. The second report is for the counts.
status=0 counts=build/counts.tap
timeout 600 node --test --test-concurrency=6 --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$counts" "${@/%.ts/.js}" || status=$?
passed=$(awk '/^# pass / { n += $3 } END { print n + 0 }' "$counts")
failed=$(awk '/^# (fail|cancelled) / { n += $3 } END { print n + 0 }' "$counts")
[[ $status -eq 0 || $failed -gt 0 ]] || failed=1
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
