#!/usr/bin/env bash
# Lint, format, types and tests; makes the environment first. Further arguments go to pytest: scripts/test.sh -k pairs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
"$PYTHON" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@" # a file's tests share what they have made
