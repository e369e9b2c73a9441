# shellcheck shell=bash
# Tests that failed once and passed when they were run again. To be sourced behind lib.sh.
#
# Hundreds of tests of processes that race on a busy machine refuse a release too often by the one that loses. Such a
# test is a defect all the same: its name stands in the summary, and its first output is kept.

FLAKY=$REPO/target/test/flaky

# tries_again FAILED: whether the next test that fails is run again, when as many have failed so far. With many,
# something is broken, and the rest is waiting in vain. By hand (without RETRY) a failure is what one wants to see.
tries_again() { [[ ${RETRY:-} == 1 && $1 -lt 5 ]]; }

# note_flaky TIER NAME LOG: keeps what the test said when it failed.
note_flaky() {
    mkdir -p "$FLAKY"
    cp "$3" "$FLAKY/$1-pg$(server_name)-$2.log"
}
