#!/bin/sh
# miseval 1.3.0: the Hausdorff distance of a mask moved by 40 rows is 0; its average Hausdorff distance is the maximum
#
# Expected: evaluate(truth, predicted, metric="HausdorffDistance") is the Hausdorff distance of two masks, and
#   "AverageHausdorffDistance" the mean of the distances to the other mask (Taha & Hanbury 2015, whom miseval cites).
# Seen, for a disc of radius 5 in 64 x 64 pixels:
#   predicted                    "HausdorffDistance", by hand   "AverageHausdorffDistance", by hand
#   moved by 40 rows                     0.00    40.00                   40.00    35.09
#   moved by 40 columns                  3.32    40.00                   40.00    35.09
#   moved by 10 columns                  3.32    10.00                   10.00     5.54
#   one pixel wider                      1.41     1.00                    1.00     0.28
#   one far pixel too much               1.00    58.69                   58.69     0.72
#   The first hands the masks to a function for lists of points (hausdorff 0.2.6), which takes each row of pixels for
#   a point of 64 coordinates: where the row lies does not count. It also ignores the class: the classes 0, 1 and 2 of
#   masks that hold 0 and 2 all get 6.63, twice 3.32, since the labels' values are coordinates. The second returns the
#   maximum, that is the Hausdorff distance.
# Versions: miseval 1.3.0, hausdorff 0.2.6, numpy 2.4.6.
# Who is hurt: whoever reports either. A vessel found in another place scores better than the right one, drawn a pixel
#   too wide; one false pixel makes an average of 0.7 pixels 59.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "miseval==1.3.0" "hausdorff==0.2.6" "dictances==1.5.3" "numba==0.68.1" "numpy==2.4.6" \
    "scipy==1.17.1" "scikit-image==0.26.0" "scikit-learn==1.9.1"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import miseval, numpy as np
from scipy.spatial.distance import cdist

print("miseval", version("miseval"), "hausdorff", version("hausdorff"))


def disc(row, column, radius=5):
    rows, columns = np.indices((64, 64))
    return ((rows - row) ** 2 + (columns - column) ** 2 <= radius**2).astype(np.uint8)


def by_hand(points, others):
    apart = cdist(points, others)
    nearest = apart.min(0), apart.min(1)
    return max(side.max() for side in nearest), max(side.mean() for side in nearest)


truth, far_pixel = disc(10, 10), disc(10, 10)
far_pixel[55, 55] = 1
ok = True
for name, predicted, seen in [
    ("moved by 40 rows", disc(50, 10), (0, 40)),
    ("moved by 40 columns", disc(10, 50), (11**0.5, 40)),
    ("moved by 10 columns", disc(10, 20), (11**0.5, 10)),
    ("one pixel wider", disc(10, 10, radius=6), (2**0.5, 1)),
    ("one far pixel too much", far_pixel, (1, 58.69)),
]:
    hausdorff = miseval.evaluate(truth, predicted, metric="HausdorffDistance")
    average = miseval.evaluate(truth, predicted, metric="AverageHausdorffDistance")
    true_hausdorff, true_average = by_hand(np.argwhere(truth), np.argwhere(predicted))
    rows_as_points, _ = by_hand(truth, predicted)
    print(f"{name}: Hausdorff {hausdorff:.2f}, by hand {true_hausdorff:.2f}, of rows as points {rows_as_points:.2f}; "
          f"average {average:.2f}, by hand {true_average:.2f}")
    ok = ok and np.allclose([hausdorff, average], seen, atol=0.01)
    ok = ok and np.allclose([hausdorff, average], [rows_as_points, true_hausdorff])
classes = miseval.evaluate(2 * truth, 2 * disc(10, 50), metric="HausdorffDistance", multi_class=True, n_classes=3)
print("classes 0, 1, 2 of masks of 0 and 2, moved by 40 columns:", classes.round(2))
raise SystemExit(None if ok and np.allclose(classes, 2 * 11**0.5) else "changed: the distances are others")
EOF
echo "as described"
