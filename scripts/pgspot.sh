#!/usr/bin/env bash
# Looks with pgspot for names in our SQL that somebody else could slip something under. What it needs it installs below target/.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

versions=(pgspot==0.9.4 pglast==7.21)
venv=$REPO/target/tools/pgspot-$(checksum "${versions[*]}")
# Marked when it is complete.
if [[ ! -e $venv/ready ]]; then
    ! command -v apt-get >/dev/null || is_installed python3-venv || apt_install python3-venv
    python=/usr/bin/python3
    [[ -x $python ]] || python=python3
    say "installing ${versions[*]} into $venv"
    "$python" -m venv --clear "$venv"
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/pip" install -q "${versions[@]}"
    touch "$venv/ready"
fi
exec "$venv/bin/python" "$REPO/scripts/spot.py" "$REPO"
