#!/usr/bin/env bash
# The main job on the embedded phantom cohort, in 5 to 12 minutes on two cores; killed and started again, it goes on.
#   bash scripts/demo.sh [FOLDER]      (default: demo)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
exec "$PYTHON" scripts/demo.py "${1:-demo}"
