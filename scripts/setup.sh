#!/usr/bin/env bash
# Installs what building needs and is not there: scripts/setup.sh [build|demo|test...] (default: all).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ensure_packages "$@"
ensure_rust
ensure_cargo_pgrx
