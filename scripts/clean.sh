#!/usr/bin/env bash
# Removes everything that building, testing and the demo have made in the repository.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$REPO"
mapfile -t clients < <(find target/clients -mindepth 1 -maxdepth 1 -exec test -d '{}/data' ';' -print 2>/dev/null)
clean_clusters .demo target/regress/cluster target/isolation/cluster target/package-test-cluster "${clients[@]}"
rm -rf "${REPO:?}/target" clients/typescript/{node_modules,dist,build}
