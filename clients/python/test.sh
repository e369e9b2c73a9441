#!/usr/bin/env bash
# Tests of the Python client: test.sh [ARGUMENT OF PYTEST...]. Formats, lints and types first.
#   PYTHON=python3.13   another Python than Debian's
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
cd "$REPO/clients/python"

[[ -n ${PYTHON:-} ]] || ! command -v apt-get >/dev/null || is_installed python3-venv || apt_install python3-venv
PYTHON=${PYTHON:-/usr/bin/python3}
venv=$REPO/target/clients/venv-$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
export PIP_DISABLE_PIP_VERSION_CHECK=1
if [[ ! -x $venv/bin/pytest || pyproject.toml -nt $venv/bin/pytest ]]; then
    say "installing what the tests need into $venv"
    "$PYTHON" -m venv --clear "$venv"
    # Groups of dependencies came with pip 25.1.
    "$venv/bin/pip" install -q --upgrade 'pip>=25.1'
    "$venv/bin/pip" install -q --group dev
    touch "$venv/bin/pytest"
fi
# What is tested is what users install: the built package.
"$venv/bin/pip" install -q --force-reinstall --no-deps .

"$venv/bin/ruff" format --check --quiet .
"$venv/bin/ruff" check --quiet .
"$venv/bin/mypy" --python-executable "$venv/bin/python"

status=0
log=$REPO/target/clients/python.log
"$venv/bin/pytest" -p no:cacheprovider "$@" 2>&1 | tee "$log" || status=$?
# In the words that scripts/test.sh counts.
count() { tail -n 1 "$log" | grep -oE "[0-9]+ $1" | cut -d ' ' -f 1 || echo 0; }
failed=$(($(count failed) + $(count error)))
[[ $status -eq 0 || $failed -gt 0 ]] || failed=1
echo "$(count passed) passed, $failed failed"
exit "$status"
