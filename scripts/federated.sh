#!/usr/bin/env bash
# Two simulated clinics train one segmentation network with NVIDIA FLARE's simulator, without sharing data.
#   bash scripts/federated.sh [FOLDER]      (default: federated)
# It has an environment of its own (.venv-federated), because NVIDIA FLARE needs two dozen packages that nothing else here needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$PWD/.venv-federated
requirements=scripts/federated-requirements.txt
unset TOFGAN_PYTHON
source scripts/environment.sh
export OMP_NUM_THREADS=1 # the clinics train at the same time, and more threads do not speed up small networks

exec "$PYTHON" scripts/federated.py "${1:-federated}"
