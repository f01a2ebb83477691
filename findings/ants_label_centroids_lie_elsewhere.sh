#!/bin/sh
# antspyx 0.6.3: label_image_centroids gives points outside the volume; physical=True changes nothing
#
# Expected: label_image_centroids(image) gives the coordinates of the labels' centroids, as indices or, with
#   physical=True, in "physical space coordinates".
# Seen, for labels of one voxel each, voxels of 0.5 x 0.5 x 0.8 mm, origin (-90, -60, 10):
#   volume         voxel          centroid given   with physical=True   in mm, by label_geometry_measures and by hand
#   30 x 30 x 30   (20, 5, 8)     (8, 5, 20)       (8, 5, 20)           (-80, -57.5, 16.4)
#   40 x 30 x 20   (20, 5, 8)     (28, 2, 15)      (28, 2, 15)          (-80, -57.5, 16.4)
#   40 x 30 x 20   (10, 20, 10)   (10, 10, 8)      (10, 10, 8)          (-85, -50, 18)
#   40 x 30 x 20   (39, 29, 19)   (39, 29, 29)     (39, 29, 29)         (-70.5, -45.5, 25.2)
#   In a cube the first and the last axis are exchanged; with unequal sides the coordinates belong to no order of the
#   axes, and the last one counts up to the second side, here out of the volume.
# Versions: antspyx 0.6.3, numpy 2.2.6, scipy 1.15.3.
# Who is hurt: whoever seeds, crops or reports by the centroids of aneurysms or vessel segments: a patch is cut
#   somewhere else; a distance between two of them is neither in millimetres nor in voxels.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "antspyx==0.6.3" "numpy==2.2.6" "scipy==1.15.3" "pandas==2.3.3" "statsmodels==0.15.0"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import ants
import numpy as np

print("antspyx", version("antspyx"))
spacing_mm, origin_mm = np.array([0.5, 0.5, 0.8]), np.array([-90.0, -60, 10])
ok = True
for shape, voxel, seen in [
    ((30, 30, 30), (20, 5, 8), (8, 5, 20)),
    ((40, 30, 20), (20, 5, 8), (28, 2, 15)),
    ((40, 30, 20), (39, 29, 19), (39, 29, 29)),
    ((40, 30, 20), (10, 20, 10), (10, 10, 8)),
]:
    array = np.zeros(shape, np.float32)
    array[voxel] = 1
    image = ants.from_numpy(array, origin=tuple(origin_mm), spacing=tuple(spacing_mm)).clone("unsigned int")
    index = ants.label_image_centroids(image)["vertices"][0]
    physical = ants.label_image_centroids(image, physical=True)["vertices"][0]
    table = ants.label_geometry_measures(image)
    measured_mm = np.array([float(table[f"Centroid_{axis}"].iloc[0]) for axis in "xyz"])
    right_mm = origin_mm + np.array(voxel) * spacing_mm
    print("volume", shape, "voxel", voxel, "centroid", index, "physical", physical, "in mm", right_mm.round(2),
          "measured", measured_mm.round(2))
    ok = ok and np.array_equal(index, seen) and np.array_equal(physical, seen)
    ok = ok and np.allclose(measured_mm, right_mm, atol=1e-4)
raise SystemExit(None if ok else "changed: the centroids are others")
EOF
echo "as described"
