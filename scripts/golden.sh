# shellcheck shell=bash
# Golden tests: a file goes through a client against a database made for it; what comes out is compared with what is
# written in expected/. To be sourced by a run.sh that then calls golden_main.

# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=flaky.sh
source "$REPO/scripts/flaky.sh"

# A test that takes longer hangs.
GOLDEN_TIMEOUT=${GOLDEN_TIMEOUT:-120}

golden_fresh_database() {
    # After a crash of the server: wait until it accepts connections again.
    local deadline=$((SECONDS + 30))
    until pg_isready -q; do
        if [[ $SECONDS -ge $deadline ]]; then
            echo "the server does not come back; log: $GOLDEN_DIR/log"
            return 1
        fi
        sleep 0.1
    done
    # A worker that does not let go of its database makes this fail: that counts as a failure of the test before.
    timeout 60 psql -Xq -v ON_ERROR_STOP=1 -c "SET client_min_messages = error" \
        -c "DROP DATABASE IF EXISTS $1 WITH (FORCE)" -c "CREATE DATABASE $1" &&
        timeout 60 psql -Xq -v ON_ERROR_STOP=1 -d "$1" -c 'CREATE EXTENSION pg_workflow'
}

# golden_compare EXPECTED ACTUAL; with UPDATE=1 makes ACTUAL the expected.
golden_compare() {
    if [[ ${UPDATE:-} == 1 ]]; then
        mkdir -p "${1%/*}"
        cp "$2" "$1"
    elif [[ ! -f $1 ]]; then
        echo "no $1: read $2, and if it is right, run again with UPDATE=1"
        return 1
    else
        diff -U 3 "$1" "$2"
    fi
}

# golden_run KIND FILE EXPECTED ACTUAL COMMAND...: the command reads FILE from standard input.
golden_run() {
    local kind=$1 file=$2 expected=$3 actual=$4 status=0
    shift 4
    golden_fresh_database "$kind" || return 1
    timeout "$GOLDEN_TIMEOUT" "$@" <"$file" >"$actual" 2>&1 || status=$?
    if [[ $status -ne 0 ]]; then
        echo "$1 ended with status $status (124: not done after $GOLDEN_TIMEOUT s)"
        UPDATE='' golden_compare "$expected" "$actual"
        return 1
    fi
    golden_compare "$expected" "$actual"
}

# golden_missing FILE: the extensions that a first line "-- Needs NAME, NAME." asks for and that the server has not.
golden_missing() {
    local names
    names=$(sed -nE '1s/^(--|#) Needs (.*)\.$/\2/p' "$1")
    [[ -z $names ]] || psql -XqAt -v names="$names" <<<"SELECT string_agg(name, ', ') FROM regexp_split_to_table(:'names', ', ') name
        WHERE name NOT IN (SELECT name FROM pg_available_extensions)"
}

# golden_main KIND FOLDER EXTENSION [NAME...]: runs tests/KIND/FOLDER/*.EXTENSION, or those named, by the command in the
# array COMMAND, in a cluster with the lines of the array SETTINGS.
golden_main() {
    local kind=$1 folder=tests/$1/$2 extension=$3 expected=tests/$1/expected results=target/$1/results
    local name test log missing passed=0 failed=0
    shift 3
    cd "$REPO" || return
    if [[ $# -eq 0 ]]; then
        mapfile -t < <(find "$folder" -maxdepth 1 -name "*.$extension" -printf '%f\n' | LC_ALL=C sort)
        set -- "${MAPFILE[@]%."$extension"}"
    fi

    GOLDEN_DIR=$(private_dir "target/$kind/cluster")
    trap 'cluster_stop "$GOLDEN_DIR" immediate' EXIT
    cluster_init "$GOLDEN_DIR" "${SETTINGS[@]}"
    # With a backtrace asked for, a message that would leak one shows.
    RUST_BACKTRACE=1 cluster_start "$GOLDEN_DIR"
    cluster_env "$GOLDEN_DIR"
    mkdir -p "$results"

    for name in "$@"; do
        test=("$kind" "$folder/$name.$extension" "$expected/$name.out" "$results/$name.out" "${COMMAND[@]}")
        log=$results/$name.diff
        missing=$(golden_missing "$folder/$name.$extension")
        if [[ $missing ]]; then
            echo "skipped $name: the server has no $missing"
            continue
        elif golden_run "${test[@]}" >"$log" 2>&1; then
            echo "ok      $name"
        elif tries_again "$failed" && mv "$log" "$log.first" && golden_run "${test[@]}" >"$log" 2>&1; then
            echo "flaky   $name"
            note_flaky "$kind" "$name" "$log.first"
        else
            echo "FAILED  $name"
            cat "$log"
            failed=$((failed + 1))
            continue
        fi
        passed=$((passed + 1))
    done
    # No test here crashes the server on purpose, or leaves what Postgres has to clear away (as in tests/server/src/lib.rs).
    if grep -E "was terminated by signal|PANIC:|TRAP:|(reference|refcount|File) leak|resource was not closed|\
WARNING:  snapshot .* still active|left non-empty SPI stack|problem in alloc set|you don't own a lock" "$GOLDEN_DIR/log"; then
        echo "FAILED  the server crashed, or found a fault; log: $GOLDEN_DIR/log"
        failed=$((failed + 1))
    fi
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}
