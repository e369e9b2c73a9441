# shellcheck shell=bash
# What run.sh and soak.sh share. To be sourced behind scripts/lib.sh.

dir='' # of the cluster, set by prepare
TICK_US=$((1000000 / $(getconf CLK_TCK)))

# ask DATABASE SQL: as superuser. What only looks goes to database postgres: transactions are counted in the others.
ask() { psql -XqAt -F ' ' -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }

set_server() {
    ask postgres "ALTER SYSTEM SET $1" && ask postgres 'SELECT pg_reload_conf()' >/dev/null
}

calc() { awk "BEGIN { printf \"%.9g\", $1 }"; }

# CPU time of the whole server so far, in microseconds: of the postmaster, its children, and those that have ended.
cpu_us() {
    local pid first='' stat fields ticks=0
    for pid in $(postmaster_pids "$dir"); do
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        read -ra fields <<<"${stat##*) }" # from state, the third, on
        ticks=$((ticks + fields[11] + fields[12]))
        [[ $first ]] || ticks=$((ticks + fields[13] + fields[14]))
        first=no
    done
    echo $((ticks * TICK_US))
}

# install_library: builds and installs, unless SKIP_BUILD; sets library, in words: what this server loads at its start,
# whatever is installed later.
install_library() {
    if [[ ! ${SKIP_BUILD:-} ]]; then
        ensure_packages build
        ensure_rust
        ensure_cargo_pgrx
        say 'building pg_workflow in release mode and installing it'
        build_install --release
    fi
    [[ -x $(pg_bin)/pgbench ]] || die "no pgbench in $(pg_bin)"
    library=$(stat -c 'library of %s bytes, %.19y' "$("$PG_CONFIG" --pkglibdir)/pg_workflow.so")
    [[ ! ${SKIP_BUILD:-} ]] || library+=', as it was installed'
}

# finish: the trap at the end. What has failed is left to be looked at.
finish() {
    local status=$?
    if [[ ${KEEP:-} || $status -ne 0 ]]; then
        # Immediately: something may hang.
        cluster_stop "$dir" immediate || true
        say "the cluster is in ${dir#"$REPO"/}, stopped; its log: $dir/log"
    else
        cluster_drop "$dir" || true
    fi
    exit "$status"
}
