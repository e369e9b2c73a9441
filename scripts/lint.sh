#!/usr/bin/env bash
# Format and lints of all that is code here. Goes on after a finding, so that one run shows all.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

ensure_rust
findings=0
check() {
    printf '%s\n' "-- $*"
    "$@" || findings=$((findings + 1))
}

mapfile -t features < <(cargo_features)
check cargo fmt --all --check
check cargo clippy --quiet --workspace --all-targets "${features[@]}" -- -D warnings

# Workspaces of their own, so that the extension's build does not depend on what its tests use.
for manifest in tests/server/Cargo.toml bench/Cargo.toml; do
    [[ -f $manifest ]] || continue
    check cargo fmt --manifest-path "$manifest" --all --check
    CARGO_TARGET_DIR=$REPO/target check cargo clippy --quiet --manifest-path "$manifest" --all-targets -- -D warnings
done

mapfile -t scripts < <(find . .ci -path ./target -prune -o -path ./.demo -prune -o -path './.*' -prune -o \
    -type f \( -name '*.sh' -o -path '.ci/run' \) -print)
if command -v shellcheck >/dev/null; then
    check shellcheck -x "${scripts[@]}"
else
    for script in "${scripts[@]}"; do check bash -n "$script"; done
fi

# Scripts that were released stay as they are; the list has all of them.
check sha256sum --quiet --strict -c sql/releases/SHA256SUMS
check diff <(cut -d ' ' -f 3 sql/releases/SHA256SUMS) <(LC_ALL=C ls sql/releases/*.sql)

check scripts/pgspot.sh

[[ $findings -eq 0 ]] || die "$findings checks found something"
