#!/usr/bin/env bash
# The whole way from simulated heads to a report, in 5 to 12 minutes on two cores. If it is stopped, the same command continues it.
#   bash scripts/demo.sh [FOLDER]      (default: demo)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
exec "$PYTHON" scripts/demo.py "${1:-demo}"
