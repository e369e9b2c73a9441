#!/usr/bin/env bash
# Installs the Debian package of the build in target/package by dpkg, into a root of its own with a copy of the server, runs
# workflows there, and removes it again. Nothing of the system is touched.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
cd "$REPO"

passed=0 failed=0
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $what"
    fi
}
not() { ! "$@"; }
same() { [[ $1 == "$2" ]] || { echo "is: $1; should be: $2" && false; }; }
ours() { find "$root" -path "$root/var" -prune -o -name '*pg[_-]workflow*' -print; }
tree() { (cd "$root" && find usr ! -path 'usr/share/doc*' | LC_ALL=C sort); }
run() { dpkg --root="$root" --instdir="$root" --admindir="$root/var/lib/dpkg" --log="$root/dpkg.log" --force-not-root "$@"; }

major=$(debian_major)
if [[ ! $major ]] || ! is_installed "postgresql-$major"; then
    echo "not tested: $PG_CONFIG is no server of a Debian package"
    exit
fi
scripts/deb.sh --staged >target/deb.log 2>&1 || die "no package: $(cat target/deb.log)"
deb=$(sed -n '$s/^== //p' target/deb.log)
package=postgresql-$major-pg-workflow
version=$(cargo_toml version)

root=$(private_dir target/package-test)
rm -rf "${root:?}"/*
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$root/usr/lib/postgresql" "$root/usr/share/postgresql"
cp -R "/usr/lib/postgresql/$major" "$root/usr/lib/postgresql/"
cp -RL "/usr/share/postgresql/$major" "$root/usr/share/postgresql/"
# The copy may have the extension from a build before.
ours | xargs -r rm -r
# dpkg finds what the package depends on as it is on this system.
dpkg-query -s "postgresql-$major" libc6 libgcc-s1 >"$root/var/lib/dpkg/status"
before=$(tree)

# Where dpkg knows of nothing that is installed.
bare=$root/var/bare
mkdir -p "$bare/info" "$bare/updates" "$bare/root"
: >"$bare/status"
check 'is not installed without the server' not dpkg --admindir="$bare" --instdir="$bare/root" --log="$root/dpkg.log" --force-not-root -i "$deb" \
    >"$bare/log" 2>&1
check 'says so' grep -q "depends on postgresql-$major" "$bare/log"
rm -r "$bare"

check 'is installed' run -i "$deb" >"$root/install.log" 2>&1
check 'is installed in its version' same "$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${Version} ${db:Status-Status}' "$package")" "$version-1 installed"
check 'nothing is changed or missing' same "$(run --verify "$package")" ''
check 'licence and changes are with it' test -s "$root/usr/share/doc/$package/copyright" -a -s "$root/usr/share/doc/$package/changelog.gz"
[[ $EUID -ne 0 ]] || chown -R "$(cluster_user):" "$root"

PG_CONFIG=$root/usr/lib/postgresql/$major/bin/pg_config
cluster=$(private_dir target/package-test-cluster)
trap 'clean_clusters target/package-test-cluster; rm -rf "${root:?}" target/package-test' EXIT
cluster_init "$cluster" "shared_preload_libraries = 'pg_workflow'" 'fsync = off'
cluster_start "$cluster"
cluster_env "$cluster"
sql() { psql -X -q -At -v ON_ERROR_STOP=1 "$@"; }
flow="CREATE FUNCTION flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS
      'BEGIN PERFORM wf_sleep(''10 ms''); RETURN wf_step(''s'', ''SELECT 6 * 7''); END';
      SELECT wf_start('flow', id => 'f')"
check 'the extension is there' sql -c 'CREATE EXTENSION pg_workflow' -c 'CREATE EXTENSION pg_workflow_cron'
check 'a workflow is started' same "$(sql -c "$flow")" f
check 'it is run by workers' same "$(sql -c "SELECT wf_result('f', wait => '30 s')")" '[42]'
check 'the first release can be updated' sql -c 'CREATE DATABASE old' -c '\c old' -c "CREATE EXTENSION pg_workflow VERSION '0.1.0'" \
    -c "CREATE EXTENSION pg_workflow_cron VERSION '0.1.0'" -c 'ALTER EXTENSION pg_workflow UPDATE' -c 'ALTER EXTENSION pg_workflow_cron UPDATE'
check 'and runs workflows' same "$(sql -d old -c "$flow" -c "SELECT wf_result('f', wait => '30 s')" | tail -n 1)" '[42]'
cluster_stop "$cluster"

check 'is removed' run -r "$package" >"$root/remove.log" 2>&1
check 'leaves nothing behind' same "$(ours)" ''
check 'takes nothing along' same "$(tree)" "$before"

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
