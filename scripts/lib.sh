# shellcheck shell=bash
# What the other scripts share: what is needed to build, the user that runs Postgres, private clusters, the build.
# To be sourced, by a script that has set -euo pipefail.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}

# use_server CONFIG: the server of this pg_config is the one that is built for and tested from here on.
use_server() {
    # A bare name, as in PG_CONFIG=pg_config, is looked up in PATH. A file that is not there yet may be about to be installed.
    PG_CONFIG=$(command -v "$1" || echo "$1")
    # pgrx takes the server from this variable; without it, it wants the set-up that `cargo pgrx init` writes.
    PGRX_PG_CONFIG_PATH=$PG_CONFIG
    export PG_CONFIG PGRX_PG_CONFIG_PATH
}
use_server "$PG_CONFIG"

say() { printf '%s\n' "== $*"; }
die() {
    printf '%s\n' "error: $*" >&2
    exit 1
}

checksum() { printf '%s' "$1" | cksum | cut -d ' ' -f 1; }

# --- what is needed to build ------------------------------------------------------------------------------------------

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root or sudo: $*"
    fi
}

# The Debian package of the server that PG_CONFIG belongs to; empty for a server from elsewhere.
debian_major() { sed -nE 's|^/usr/lib/postgresql/([0-9]+)/bin/pg_config$|\1|p' <<<"$PG_CONFIG"; }

# packages_for GROUP: names of the Debian packages, one a line.
packages_for() {
    local major
    major=$(debian_major)
    case $1 in
        # libssl-dev: for building cargo-pgrx itself
        build) printf '%s\n' build-essential clang libclang-dev libssl-dev pkg-config ${major:+"postgresql-$major" "postgresql-server-dev-$major"} ;;
        # For building a server.
        source) printf '%s\n' bison flex bzip2 libperl-dev python3-dev zlib1g-dev ;;
        demo) echo iso-codes ;;
        test)
            echo pgbouncer
            [[ -z $major ]] || printf '%s\n' "postgresql-plperl-$major" "postgresql-plpython3-$major" "postgresql-$major-pgtap" "postgresql-$major-cron"
            ;;
        *) die "unknown group of packages: $1" ;;
    esac
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

apt_install() {
    local drop_in='' policy='' status=0
    # Nobody asked for a "main" cluster on port 5432; but one that is there already is not ours to decide on.
    if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
        drop_in=/etc/postgresql-common/createcluster.d/pg_workflow.conf
        as_root mkdir -p "${drop_in%/*}"
        as_root sh -c "echo 'create_main_cluster = false' >$drop_in"
    fi
    # Nor for a pgbouncer on port 6432.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        policy=/usr/sbin/policy-rc.d
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy"
    fi
    { as_root apt-get update -q &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } || status=$?
    [[ -z $drop_in$policy ]] || as_root rm -f ${drop_in:+"$drop_in"} ${policy:+"$policy"}
    return "$status"
}

# ensure_packages [GROUP...]: installs what is missing of build, demo, test (default: all).
ensure_packages() {
    local group package missing=()
    [[ $# -gt 0 ]] || set -- build demo test
    if ! command -v apt-get >/dev/null; then
        [[ -x $PG_CONFIG ]] || die "no pg_config at $PG_CONFIG: set PG_CONFIG"
        return 0 # not a Debian: the compiler's messages will say what is missing
    fi
    for group in "$@"; do
        while read -r package; do
            is_installed "$package" || missing+=("$package")
        done < <(packages_for "$group")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        say "installing ${missing[*]}"
        apt_install "${missing[@]}"
    fi
    [[ -x $PG_CONFIG ]] || die "no pg_config at $PG_CONFIG: set PG_CONFIG"
}

# cargo_toml KEY-PATTERN: the version in the first line `KEY = ... "version"` of Cargo.toml, so that it stands there only.
cargo_toml() { sed -nE "s/^$1[[:space:]]*=.*\"=?([0-9.]+)\".*/\1/p" "$REPO/Cargo.toml" | head -n 1; }

ensure_rust() {
    local wanted found
    wanted=$(cargo_toml rust-version)
    command -v cargo >/dev/null || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    if ! command -v cargo >/dev/null; then
        say "installing Rust $wanted by rustup"
        command -v curl >/dev/null || apt_install ca-certificates curl
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -q -y --no-modify-path --profile minimal --component clippy,rustfmt --default-toolchain "$wanted"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
        die "Rust $wanted or newer is needed, found $found (try: rustup update)"
}

# Sets CARGO_PGRX. Its version must be that of the pgrx library exactly.
ensure_cargo_pgrx() {
    local version candidate
    version=$(cargo_toml pgrx)
    for candidate in "$REPO/target/tools/bin/cargo-pgrx" "$(command -v cargo-pgrx || true)"; do
        if [[ -x $candidate && $("$candidate" pgrx --version) == "cargo-pgrx $version" ]]; then
            CARGO_PGRX=$candidate
            return 0
        fi
    done
    say "building cargo-pgrx $version (once)"
    cargo install --quiet --locked "cargo-pgrx@$version" --root "$REPO/target/tools"
    CARGO_PGRX=$REPO/target/tools/bin/cargo-pgrx
}

# --- build ------------------------------------------------------------------------------------------------------------

pg_major() { "$PG_CONFIG" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'; }

# server_name: the major version, with "-assert" behind it if the server checks its assertions.
server_name() { echo "$(pg_major)$([[ $("$PG_CONFIG" --configure) != *--enable-cassert* ]] || echo -assert)"; }

# cargo_features [--release]: arguments that make cargo build for the major version of PG_CONFIG. Builds for tests have fault
# points, at which a server can be killed; a release has none.
cargo_features() {
    local faults=,faults
    [[ ${1:-} != --release ]] || faults=
    printf '%s\n' --no-default-features --features "pg$(pg_major)$faults"
}

# update_script EXTENSION UPDATES SOURCE...: the script that updates from the release that directory UPDATES is named after.
# What becomes of tables stands in UPDATES; functions and views are compared with the release (update.awk).
update_script() {
    local extension=$1 updates=$2 changes
    shift 2
    printf '%s\n\n' "\\echo Use \"ALTER EXTENSION $extension UPDATE\" to load this file. \\quit"
    mapfile -t changes < <(compgen -G "$updates/*.sql" | LC_ALL=C sort)
    awk -f "$REPO/scripts/update.awk" \
        role=release "$REPO/sql/releases/$extension--$(basename "${updates%--*}").sql" \
        ${changes[@]+role=update "${changes[@]}"} role=source "$@"
}

# stage_scripts DIR: puts beside the install script that cargo-pgrx has made there what else CREATE and ALTER EXTENSION may
# ask for: the companion, which is SQL only, the scripts of releases, and the updates from the last of these to Cargo.toml's version.
stage_scripts() {
    local version from replayed
    version=$(cargo_toml version)
    sed "s/@VERSION@/$version/" "$REPO/cron/pg_workflow_cron.control" >"$1/pg_workflow_cron.control"
    cp "$REPO/cron/pg_workflow_cron.sql" "$1/pg_workflow_cron--$version.sql"
    cp "$REPO"/sql/releases/*.sql "$1"
    from=$(compgen -G "$REPO/sql/updates/*--$version") || die "sql/updates/ has nothing that leads to version $version"
    mapfile -t replayed < <(cd "$REPO" && grep -oE 'sql/(functions|views)/[^"]*' src/lib.rs)
    update_script pg_workflow "$from" "${replayed[@]/#/$REPO/}" >"$1/pg_workflow--$(basename "$from").sql"
    update_script pg_workflow_cron "$REPO/cron/updates/$(basename "$from")" "$REPO/cron/pg_workflow_cron.sql" \
        >"$1/pg_workflow_cron--$(basename "$from").sql"
}

# stage_build [--release]: builds the extension for the server of PG_CONFIG, as a tree of what is to be installed: target/package.
stage_build() (
    cd "$REPO" || exit
    umask 022 # the server reads these files as another user
    staged=$REPO/target/package
    profile=(--debug)
    [[ ${1:-} != --release ]] || profile=()
    mapfile -t features < <(cargo_features "$@")
    # Not `cargo pgrx install`: it copies over the library that a running server has mapped.
    rm -rf "$staged"
    "$CARGO_PGRX" pgrx package --pg-config "$PG_CONFIG" --out-dir "$staged" "${profile[@]}" "${features[@]}"
    [[ ${1:-} != --release ]] || ! grep -rqa 'fault at "' "$staged" || die "the release has fault points"
    stage_scripts "$staged$("$PG_CONFIG" --sharedir)/extension"
)

# build_install [--release]: builds the extension and installs it into the server of PG_CONFIG.
build_install() {
    stage_build "$@"
    if [[ -w $("$PG_CONFIG" --pkglibdir) && -w $("$PG_CONFIG" --sharedir)/extension ]]; then
        cp -R --remove-destination "$REPO/target/package/." /
    else
        as_root cp -R --remove-destination "$REPO/target/package/." /
    fi
}

# --- the user that runs Postgres --------------------------------------------------------------------------------------

# Postgres refuses to run as root; then the user that comes with the Debian package runs it.
cluster_user() {
    if [[ $EUID -ne 0 ]]; then
        id -un
    else
        getent passwd "${CLUSTER_USER:-postgres}" | cut -d : -f 1 | grep . ||
            die "Postgres does not run as root: name another user in CLUSTER_USER, or run this as one"
    fi
}

# as_pg COMMAND...: from /, since the user may have no right to be in the current directory.
as_pg() (
    cd /
    [[ $EUID -ne 0 ]] || set -- setpriv --reuid "$(cluster_user)" --regid "$(id -g "$(cluster_user)")" --init-groups "$@"
    exec "$@"
)

# owned_dir DIR: a directory that only the cluster's user can enter. One that somebody else put there is refused:
# parents may be world-writable.
owned_dir() {
    local user
    user=$(cluster_user)
    if mkdir -m 700 "$1" 2>/dev/null; then
        [[ $EUID -ne 0 ]] || chown "$user:" "$1"
    fi
    [[ -d $1 && ! -L $1 && $(stat -c %U "$1") == "$user" ]] || die "$1 is not a directory of user $user"
}

# Where private_dir goes if the cluster's user has no way into the repository (as below /root).
outside() { echo "/var/tmp/pg_workflow-$(checksum "$REPO")"; }

# private_dir PATH: makes a directory for a cluster at this path below the repository; prints where it really is.
private_dir() {
    local link=$REPO/$1 dir
    mkdir -p "${link%/*}"
    if as_pg test -x "${link%/*}"; then
        dir=$link
        [[ ! -L $link ]] || rm "$link"
    else
        dir=$(outside)/${1//\//-}
        owned_dir "$(outside)"
        [[ -L $link ]] || rm -rf "$link"
        ln -sfn "$dir" "$link"
    fi
    owned_dir "$dir"
    echo "$dir"
}

# --- clusters ---------------------------------------------------------------------------------------------------------
# A cluster's DIR is one of private_dir; in it are data/, socket/ and log. Nothing listens on the network. Who may enter
# the directory is superuser, which is why it is closed to others.

pg_bin() { "$PG_CONFIG" --bindir; }

cluster_socket() {
    local LC_ALL=C socket=$1/socket
    # A socket's path has at most 107 bytes, of which 14 are /.s.PGSQL.5432.
    if [[ ${#socket} -gt 93 ]]; then
        socket=/tmp/pg_workflow-$(checksum "$1")
    fi
    echo "$socket"
}

cluster_is_running() { as_pg "$(pg_bin)/pg_ctl" -D "$1/data" status >/dev/null 2>&1; }

# cluster_init DIR [SETTING...]: a new cluster in place of what is there, with lines for postgresql.conf.
cluster_init() {
    local dir=$1 socket
    shift
    cluster_drop "$dir"
    socket=$(cluster_socket "$dir")
    owned_dir "$socket"
    as_pg "$(pg_bin)/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions \
        >"$dir/initdb.log" 2>&1 || die "initdb failed: $(cat "$dir/initdb.log")"
    printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$socket'" 'port = 5432' "$@" >>"$dir/data/postgresql.conf"
}

# cluster_start DIR [OPTIONS]: OPTIONS is one string for the server's command line.
cluster_start() {
    local dir=$1
    shift
    as_pg "$(pg_bin)/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 ${1:+-o "$1"} start >/dev/null </dev/null || {
        tail -n 20 "$dir/log" >&2
        die "the server did not start; log: $dir/log"
    }
}

# cluster_stop DIR [MODE]
cluster_stop() {
    ! cluster_is_running "$1" || as_pg "$(pg_bin)/pg_ctl" -D "$1/data" -m "${2:-fast}" -w -t 60 stop >/dev/null
}

cluster_drop() {
    cluster_stop "$1" immediate
    rm -rf "$(cluster_socket "$1")" "${1:?}"/*
}

# cluster_env DIR: psql and the like from here on talk to this cluster, as its superuser, whatever the caller's PG* say.
cluster_env() {
    local name
    for name in $(compgen -e | grep '^PG' | grep -v -e '^PG_' -e '^PGRX_'); do
        unset "$name"
    done
    PATH=$(pg_bin):$PATH
    PGHOST=$(cluster_socket "$1")
    PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
    export PATH PGHOST PGPORT PGUSER PGDATABASE
}

# postmaster_pids DIR: the postmaster and after it its children.
postmaster_pids() {
    local pid
    pid=$(head -n 1 "$1/data/postmaster.pid")
    echo "$pid"
    # /proc, since a small system has no ps; processes come and go while grep reads.
    { grep -ls "^PPid:[[:space:]]*$pid\$" /proc/[0-9]*/status || true; } | cut -d / -f 3
}

# False for a zombie too, which nobody collects in a container whose first process is no init.
is_alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; }

# cluster_kill DIR: SIGKILL to every process of the server; returns once all are gone, having set KILLED to their number.
cluster_kill() {
    local pid pids deadline=$((SECONDS + 30))
    mapfile -t pids < <(postmaster_pids "$1")
    # The postmaster first: it shall not notice the others' death. One that has ended meanwhile is no error, and one
    # that was born meanwhile sees that the postmaster is dead and exits by itself.
    kill -KILL "${pids[@]}" 2>/dev/null || true
    for pid in "${pids[@]}"; do
        while is_alive "$pid"; do
            [[ $SECONDS -lt $deadline ]] || die "process $pid survived SIGKILL"
            sleep 0.02
        done
    done
    # Postgres takes a zombie for a postmaster that runs, and would not start.
    [[ ! -e /proc/${pids[0]} ]] || rm -f "$1/data/postmaster.pid" "$(cluster_socket "$1")"/.s.PGSQL.5432.lock
    # shellcheck disable=SC2034 # for the caller
    KILLED=${#pids[@]}
}

# clean_clusters: stops and removes the cluster in every directory named.
clean_clusters() {
    local link dir
    for link in "$@"; do
        [[ -d $REPO/$link ]] || continue
        dir=$(cd "$REPO/$link" && pwd -P)
        cluster_drop "$dir"
        rm -rf "$dir" "${REPO:?}/$link"
    done
    rm -rf "$(outside)"
}
