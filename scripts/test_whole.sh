#!/usr/bin/env bash
# Runs the tests that take minutes each: a whole smoke study and a whole synthesis, also stopped and continued, and the commands of
# the page from clinic to clinic. Half an hour of processor time, on two cores. Further arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

"$PYTHON" -m pytest --numprocesses 2 --dist loadfile -m whole "$@"
