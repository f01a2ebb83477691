#!/bin/sh
# panoptica 2.1.7: the global distances are in voxels, beside instance distances in millimetres, though spacing is given
#
# Expected: Panoptica_Evaluator.evaluate takes the voxelspacing "for the evaluation"; the metrics of global_metrics and
#   those of instance_metrics have the same names and, for a mask with one vessel, the same value.
# Seen, for one vessel moved by one slice, voxels of 3 x 0.5 x 0.5 mm:
#                                                   HD      HD95    ASSD        centre distance   surface Dice
#   sq_*, the one instance                          3 mm    3 mm    1.525 mm    3 mm              0.424
#   global_bin_*, the whole mask, the same voxels   1       1       0.695       1                 0.305
#   The global values are the same to the last digit without any spacing: they are in voxels.
# Versions: panoptica 2.1.7, numpy 2.2.6, scipy 1.15.3.
# Who is hurt: whoever reports the Hausdorff distance of whole vessel trees: the distance across thick slices is three
#   times too small here, one along fine voxels too large, and a column of millimetres stands beside it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "panoptica==2.1.7" "numpy==2.2.6" "scipy==1.15.3" "scikit-image==0.25.2" "pandas==2.3.3"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
import panoptica
from panoptica import ConnectedComponentsInstanceApproximator, InputType, Metric, NaiveThresholdMatching

print("panoptica", version("panoptica"))
panoptica.disable_citation_reminder()
names = ["hd", "hd95", "assd", "cedi", "nsd"]
metrics = [Metric.HD, Metric.HD95, Metric.ASSD, Metric.CEDI, Metric.NSD]
truth = np.zeros((20, 40, 40), np.uint8)
truth[5:8, 5:15, 5:15] = 1
moved = np.roll(truth, 1, axis=0)
evaluator = panoptica.Panoptica_Evaluator(
    expected_input=InputType.SEMANTIC, instance_approximator=ConnectedComponentsInstanceApproximator(),
    instance_matcher=NaiveThresholdMatching(), instance_metrics=metrics, global_metrics=metrics)


def values(spacing):
    (result,) = evaluator.evaluate(moved, truth, voxelspacing=spacing).values()
    found = result.to_dict()
    return [np.array([float(found[kind + name]) for name in names]) for kind in ("sq_", "global_bin_")]


vessel_mm, mask_mm = values((3.0, 0.5, 0.5))
vessel_voxels, mask_voxels = values((1.0, 1.0, 1.0))
print("metrics:", *names)
print("with the spacing, one instance:", vessel_mm.round(3), "whole mask:", mask_mm.round(3))
print("without it, one instance:", vessel_voxels.round(3), "whole mask:", mask_voxels.round(3))
ok = np.allclose(vessel_mm, [3, 3, 1.525, 3, 0.424], atol=0.001) and np.array_equal(mask_mm, mask_voxels)
ok = ok and np.allclose(mask_mm, [1, 1, 0.695, 1, 0.305], atol=0.001)
raise SystemExit(None if ok else "changed: the distances are others")
EOF
echo "as described"
