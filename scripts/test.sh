#!/usr/bin/env bash
# All tests, or the tiers named: scripts/test.sh [lint|core|regress|isolation|server|package|clients...]
#   TEST_PROFILE=release   the build that the server tiers test (default: debug)
# A tier is a command whose output ends with its counts; the output is kept in target/test/TIER.log.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"

TIERS=(lint core regress isolation server package clients)
passed=0 failed=0

tier_exists() {
    case $1 in
        lint | core) ;;
        regress) compgen -G 'tests/regress/sql/*.sql' >/dev/null ;;
        isolation) compgen -G 'tests/isolation/specs/*.spec' >/dev/null ;;
        server) [[ -f tests/server/Cargo.toml ]] ;;
        package) [[ -x tests/package/run.sh ]] ;;
        clients) [[ -x clients/test.sh ]] ;;
        *) die "no such tier: $1 (there are: ${TIERS[*]})" ;;
    esac
}

needs_server() { [[ $1 != lint && $1 != core ]]; }

tier_command() {
    case $1 in
        lint) scripts/lint.sh ;;
        core) cargo test --no-fail-fast -p pg_workflow_core ;;
        regress) tests/regress/run.sh ;;
        isolation) tests/isolation/run.sh ;;
        # What the documentation promises is tested here too.
        # Tests mostly wait; a few at a time find each other's processes on the same cores, as in real life.
        server) RUST_TEST_THREADS=3 CARGO_TARGET_DIR=$REPO/target cargo test --no-fail-fast --manifest-path tests/server/Cargo.toml ;;
        # Of the build that the other tiers test.
        package) tests/package/run.sh ;;
        clients) clients/test.sh ;;
    esac
}

# counts LOG: "PASSED FAILED", summed over cargo's lines ("test result: ok. 3 passed; 0 failed; ...") and ours ("3 passed, 0 failed").
counts() {
    sed -nE 's/^(test result: .*[^0-9])?([0-9]+) passed[;,] ([0-9]+) failed.*/\2 \3/p' "$1" |
        awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }'
}

run_tier() {
    local tier=$1 log=$REPO/target/test/$1.log status=0 tier_passed tier_failed
    mkdir -p "${log%/*}"
    say "tier $tier"
    # A process of its own: in a function called like this, set -e would not hold.
    scripts/test.sh --only "$tier" 2>&1 | tee "$log" || status=$?
    read -r tier_passed tier_failed < <(counts "$log")
    # What fails without a count (lint, a build that breaks) is one failure; what succeeds without one is one success.
    if [[ $status -ne 0 && $tier_failed -eq 0 ]]; then
        tier_failed=1
    elif [[ $status -eq 0 && $((tier_passed + tier_failed)) -eq 0 ]]; then
        tier_passed=1
    fi
    passed=$((passed + tier_passed)) failed=$((failed + tier_failed))
    summary+=("$(printf '%-10s %5d passed, %d failed' "$tier" "$tier_passed" "$tier_failed")")
}

if [[ ${1:-} == --only ]]; then
    tier_command "$2"
    exit
fi

chosen=() build=
[[ $# -gt 0 ]] || set -- "${TIERS[@]}"
for tier in "$@"; do
    if tier_exists "$tier"; then
        chosen+=("$tier")
        ! needs_server "$tier" || build=1
    else
        say "tier $tier: nothing there"
    fi
done

ensure_packages
ensure_rust
export PATH
summary=()
if [[ $build ]]; then
    ensure_cargo_pgrx
    say "build (${TEST_PROFILE:=debug})"
    case $TEST_PROFILE in
        debug) build_install ;;
        release) build_install --release ;;
        *) die "TEST_PROFILE is debug or release, not $TEST_PROFILE" ;;
    esac
fi
for tier in "${chosen[@]}"; do run_tier "$tier"; done

say 'summary'
[[ ${#summary[@]} -eq 0 ]] || printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
