#!/usr/bin/env bash
# Removes everything that building, testing and the demo have made in the repository.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

clean_clusters .demo target/regress/cluster target/isolation/cluster
rm -rf "${REPO:?}/target"
