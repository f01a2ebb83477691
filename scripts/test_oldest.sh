#!/usr/bin/env bash
# The tests with the oldest MONAI and NumPy that setup.cfg allows, in an environment of its own (.venv-oldest).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$PWD/.venv-oldest
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
sed -e 's/^monai==.*/monai==1.5.1/' -e 's/^numpy==.*/numpy==1.26.4/' requirements.txt >"$requirements"
unset TOFGAN_PYTHON
source scripts/environment.sh

"$PYTHON" -c 'import monai, numpy; print("monai", monai.__version__, "numpy", numpy.__version__)'
"$PYTHON" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" # a file's tests share what they have made
