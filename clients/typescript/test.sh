#!/usr/bin/env bash
# Tests of the TypeScript client, in a private cluster of the server of PG_CONFIG with the extension that is installed
# there: test.sh [FILE...], such as test/client.test.ts. Ends with the counts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
source "$here/../../scripts/lib.sh"

ensure_node() {
    command -v node >/dev/null && command -v npm >/dev/null || apt_install nodejs npm
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
# The tests use the package as others do, by its name and its declarations.
node_modules/.bin/tsc
node_modules/.bin/tsc --project test

CLUSTER=$here/../cluster.sh
PGHOST=$("$CLUSTER" new typescript)
trap '"$CLUSTER" drop typescript' EXIT
export CLUSTER PGHOST PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

files=("${@:-test/*.test.ts}")
files=("${files[@]//test\//build/}")
# One file after the other: one of them kills the server. The second report is for the counts.
results=build/results.tap
status=0
# shellcheck disable=SC2068 # a pattern, if none was named
timeout 300 node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=tap --test-reporter-destination="$results" ${files[@]/%.ts/.js} || status=$?
passed=$(sed -nE 's/^# pass ([0-9]+)$/\1/p' "$results")
failed=$(sed -nE 's/^# (fail|cancelled) ([0-9]+)$/\2/p' "$results" | awk '{ n += $1 } END { print n + 0 }')
[[ $status -eq 0 || $failed -gt 0 ]] || failed=1
echo "${passed:-0} passed, $failed failed"
[[ $failed -eq 0 ]]
