#!/bin/sh
# seg-metrics 1.2.8: a vessel that was not found at all has Hausdorff and surface distances of 0 mm, the best there are
#
# Expected: write_metrics reports distances that tell a missed vessel from a found one, or that there are none (inf,
#   NaN). Its log speaks of dice, precision, recall, FPR and FNR of an empty mask, never of the distances.
# Seen, for a vessel of 390 voxels of 1 mm (the median and the standard deviation are 0 too):
#   predicted                  dice    hd      hd95    msd (mean)   fpr
#   the vessel, 1 mm off       0.615   1.0     1.0     0.492        0.0024
#   no voxel                   0       0       0       0            0
#   a vessel, where none is    0       0       0       0            0       (of 390 false voxels)
#   An empty mask's distance map is filled with 0. In a run over two folders, a patient of whom there is no prediction
#   is left out without a word: the table has three rows for four patients, and a mean hd95 of 0.33 mm.
# Versions: seg-metrics 1.2.8, medutils 0.1.21, SimpleITK 2.5.7, numpy 2.4.6, pandas 3.1.1.
# Who is hurt: means of hd95 and msd over patients and labels get better with each vessel that is missed altogether or
#   invented; a network that predicts nothing has the best distances of all. MONAI has NaN, MedPy an error there (not
#   run here), so figures of two packages do not compare.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
# without the dependencies that take no part here: a window, a picture, and the intraclass correlation of medutils
"$work/env/bin/pip" install -q --no-deps "seg-metrics==1.2.8" "medutils==0.1.21" "SimpleITK==2.5.7" "numpy==2.4.6" \
    "scipy==1.17.1" "pandas==3.1.1" "python-dateutil==2.9.0.post0" "six==1.17.0" "tqdm==4.70.1"
cd "$work"
env/bin/python - <<'EOF'
import sys, types
from importlib.metadata import version
from pathlib import Path

for absent in ("pingouin", "matplotlib", "matplotlib.pyplot"):
    sys.modules[absent] = types.ModuleType(absent)
import numpy as np, pandas, SimpleITK
from seg_metrics.seg_metrics import write_metrics

print("seg-metrics", version("seg_metrics"), "SimpleITK", version("SimpleITK"))
distances = ["hd", "hd95", "msd", "mdsd", "stdsd"]
rows, columns = np.indices((40, 40))
vessel = np.zeros((40, 40, 40), np.uint8)
vessel[5:35] = (rows - 15) ** 2 + (columns - 20) ** 2 <= 4
nothing, moved = np.zeros_like(vessel), np.roll(vessel, 1, axis=1)

for folder in ("truth", "predicted"):
    Path(folder).mkdir()
patients = {"off": (vessel, moved), "missed": (vessel, nothing), "invented": (nothing, vessel),
            "absent": (vessel, None)}
for patient, masks in patients.items():
    for folder, mask in zip(("truth", "predicted"), masks):
        if mask is not None:
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), f"{folder}/{patient}.nii")
write_metrics(labels=[1], gdth_path="truth", pred_path="predicted", csv_file="table.csv",
              metrics=["dice", *distances, "fpr"])
table = pandas.read_csv("table.csv")
table.index = [Path(name).stem for name in table["filename"]]
print(table.drop(columns="filename").round(4).to_string())
print("in the table", sorted(table.index), "of", sorted(patients), "; mean hd95", round(table["hd95"].mean(), 3))

empty = table.loc[["missed", "invented"]]
ok = sorted(table.index) == ["invented", "missed", "off"]
ok = ok and (empty[distances] == 0).all(axis=None) and (empty[["dice", "fpr"]] == 0).all(axis=None)
ok = ok and np.allclose(table.loc["off", ["hd", "hd95"]].astype(float), 1) and vessel.sum() == 390
raise SystemExit(None if ok else "changed: an empty mask has other distances")
EOF
echo "as described"
