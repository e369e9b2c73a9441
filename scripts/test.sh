#!/usr/bin/env bash
# All tests, or the tiers named: scripts/test.sh [lint|core|regress|isolation|server|package|clients...]
#   TEST_PROFILE=release   the build that the server tiers test (default: debug)
#   MATRIX='15-assert 16 18'
#                          further servers to run regress, isolation and server on (default: these, behind the one on 15);
#                          17 is there, too. 15-assert is built from source and checks Postgres' assertions
#   MATRIX_SERVER='crash'  of server, what is run on these: the tests that have one of these words in FILE::NAME
#                          (default: all; on 15-assert a part)
# A tier is a command whose output ends with its counts; the output is kept in target/test/TIER.log. A test that fails is
# run again once, alone: see scripts/flaky.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$REPO/scripts/servers.sh"
# shellcheck source-path=SCRIPTDIR source=flaky.sh
source "$REPO/scripts/flaky.sh"
cd "$REPO"

TIERS=(lint core regress isolation server package clients)
# With assertions, which make it several times slower: what has Postgres do most by other ways than its own.
ASSERT_SERVER='ahead:: cancel:: commands:: crash:: parallel:: poison:: procedures::blocks procedures::guards procedures::steps roles:: steps:: transactional::'
# More flaky tests than this fail the run.
FLAKY_LIMIT=2
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
        server) tests/server/run.sh "${@:2}" ;;
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

# run_tier TIER [ARGUMENT...]
run_tier() {
    local tier=$1 log begun=$SECONDS status=0 tier_passed tier_failed
    ! needs_server "$tier" || tier+=" $(server_name)"
    log="$REPO/target/test/${tier/ /-}.log"
    mkdir -p "${log%/*}"
    say "tier $tier"
    # A process of its own: in a function called like this, set -e would not hold.
    RETRY=1 scripts/test.sh --only "$@" 2>&1 | tee "$log" || status=$?
    read -r tier_passed tier_failed < <(counts "$log")
    # What fails without a count (lint, a build that breaks) is one failure; what succeeds without one is one success.
    if [[ $status -ne 0 && $tier_failed -eq 0 ]]; then
        tier_failed=1
    elif [[ $status -eq 0 && $((tier_passed + tier_failed)) -eq 0 ]]; then
        tier_passed=1
    fi
    passed=$((passed + tier_passed)) failed=$((failed + tier_failed))
    summary+=("$(printf '%-17s %5d passed, %d failed, %5d s' "$tier" "$tier_passed" "$tier_failed" "$((SECONDS - begun))")")
}

# build: for the server of PG_CONFIG, and into it.
build() {
    local begun=$SECONDS
    say "build for $("$PG_CONFIG" --version) (${TEST_PROFILE:=debug})"
    case $TEST_PROFILE in
        debug) build_install ;;
        release) build_install --release ;;
        *) die "TEST_PROFILE is debug or release, not $TEST_PROFILE" ;;
    esac
    summary+=("$(printf '%-17s %30s s' "build $(server_name)" "$((SECONDS - begun))")")
}

if [[ ${1:-} == --only ]]; then
    tier_command "${@:2}"
    exit
fi

chosen=() builds='' all=''
[[ $# -gt 0 ]] || { all=1 && set -- "${TIERS[@]}"; }
for tier in "$@"; do
    if tier_exists "$tier"; then
        chosen+=("$tier")
        ! needs_server "$tier" || builds=1
    else
        say "tier $tier: nothing there"
    fi
done

ensure_packages
ensure_rust
export PATH
summary=()
rm -rf "$FLAKY"
[[ ! $builds && ! ${MATRIX:-} ]] || ensure_cargo_pgrx
[[ ! $builds ]] || build
for tier in "${chosen[@]}"; do run_tier "$tier"; done

# What the other tiers test has nothing to do with the server's version.
[[ ! $all || $(pg_major) != 15 ]] || MATRIX=${MATRIX-15-assert 16 18}
for server in ${MATRIX:-}; do
    # The one before it, from which one comes to this.
    export OLDER_PG_CONFIG=$PG_CONFIG
    fetch_server "$server"
    build
    run_tier regress
    run_tier isolation
    parts=${MATRIX_SERVER:-}
    [[ $parts || $server != *-assert ]] || parts=$ASSERT_SERVER
    # shellcheck disable=SC2086 # a list of words
    run_tier server $parts
done

say 'summary'
[[ ${#summary[@]} -eq 0 ]] || printf '%s\n' "${summary[@]}"
flaky=0
if [[ -d $FLAKY ]]; then
    flaky=$(find "$FLAKY" -type f | wc -l)
    echo "flaky: failed, and passed when run again (${FLAKY#"$REPO"/})"
    find "$FLAKY" -type f -printf '  %f\n' | sort
fi
if [[ $flaky -gt $FLAKY_LIMIT ]]; then
    echo "more than $FLAKY_LIMIT flaky tests count as failed"
    passed=$((passed - flaky)) failed=$((failed + flaky))
fi
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
