#!/usr/bin/env bash
# Builds the extension in release mode and installs it into the server of PG_CONFIG.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ensure_packages build
ensure_rust
ensure_cargo_pgrx
build_install --release
say "installed; add pg_workflow to shared_preload_libraries, restart the server, then CREATE EXTENSION pg_workflow"
