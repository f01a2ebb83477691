#!/bin/sh
# MONAI 1.6.1: the FROC score of a perfect detector depends on its probabilities, down to 0
#
# Expected: a detector that finds every target without a false positive has sensitivity 1 at each rate of false
#   positives, so `compute_froc_score` gives 1.0 whatever probabilities the detections carry.
# Seen: `compute_froc_curve_data` leaves the lowest probability out of the thresholds. All targets found with
#   probability 1: the score is 0.0. Three found with 0.9, 0.8 and 0.7: 0.667. A false positive with a LOWER probability
#   than all hits raises the score to 1.0.
# Versions: monai 1.6.1 (function after the CAMELYON 16 evaluation), torch 2.13.0.
# Who is hurt: whoever scores found vessels, aneurysms or stenoses that come from a binary mask (all probabilities 1)
#   reads 0.0 for a perfect result, and 1.0 once a false alarm is added.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
import monai
import numpy as np
from monai.metrics import compute_fp_tp_probs_nd, compute_froc_curve_data, compute_froc_score

print("monai", monai.__version__)
targets = np.zeros((30, 30, 30), int)  # three targets, labelled 1 to 3
for label, at in enumerate((5, 15, 25), 1):
    targets[at - 2 : at + 3, at - 2 : at + 3, at - 2 : at + 3] = label
hits, miss = [(5, 5, 5), (15, 15, 15), (25, 25, 25)], (5, 25, 5)


def score(probabilities, places):
    fp, tp, count = compute_fp_tp_probs_nd(np.array(probabilities), np.array(places), targets)
    return float(compute_froc_score(*compute_froc_curve_data(fp, tp, count, 1)))


seen = {"all found, all with 1.0": score([1.0, 1.0, 1.0], hits),
        "all found with 0.9, 0.8, 0.7": score([0.9, 0.8, 0.7], hits),
        "all found with 0.9, 0.9, 0.8": score([0.9, 0.9, 0.8], hits),
        "all found with 1.0, and a false alarm of 0.5": score([1.0, 1.0, 1.0, 0.5], hits + [miss])}
for name, value in seen.items():
    print(f"{name}: {value:.3f}")
ok = np.allclose(list(seen.values()), [0, 2 / 3, 2 / 3, 1])
raise SystemExit(None if ok else "changed: the lowest probability now counts as a threshold")
EOF
echo "as described"
