#!/usr/bin/env bash
# Makes the environment, then checks lint, format and types and runs the tests: 8 minutes on two cores, 17 on busy ones.
# scripts/test_whole.sh runs a whole study, synthesis and walk-through. Further arguments go to pytest: scripts/test.sh -k pairs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
"$PYTHON" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not whole" "$@" # the tests of one file share fixtures
