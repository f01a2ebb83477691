#!/usr/bin/env bash
# Two simulated clinics train one segmentation network without sharing data, by NVIDIA FLARE's simulator.
#   bash scripts/federated.sh [FOLDER]      (default: federated)
# In an environment of its own (.venv-federated), as NVIDIA FLARE brings two dozen packages that nothing else here needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$PWD/.venv-federated
requirements=scripts/federated-requirements.txt
unset TOFGAN_PYTHON
source scripts/environment.sh
export OMP_NUM_THREADS=1 # the clinics train side by side, and tiny networks gain nothing from threads

exec "$PYTHON" scripts/federated.py "${1:-federated}"
