#!/usr/bin/env bash
# Runs the tests with the oldest MONAI and NumPy that setup.cfg allows, in an environment of its own (.venv-oldest).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$PWD/.venv-oldest
oldest() { sed -n "s/^ *$1>=\([0-9.]*\).*/$1==\1/p" setup.cfg; }
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
sed -e "s/^monai==.*/$(oldest monai)/" -e "s/^numpy==.*/$(oldest numpy)/" requirements.txt >"$requirements"
unset TOFGAN_PYTHON
source scripts/environment.sh

"$PYTHON" -c 'import monai, numpy; print("monai", monai.__version__, "numpy", numpy.__version__)'
"$PYTHON" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" # the tests of one file share fixtures
