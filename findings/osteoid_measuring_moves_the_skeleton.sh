#!/bin/sh
# osteoid 0.7.4: measuring the length moves a skeleton from voxels to millimetres; voxel_space() does not bring it back
#
# Expected: cable_length() "returns cable length"; voxel_space() converts "vertices into a voxel space representation",
#   in the words of the README it "removes transform from vertices": what physical_space() did is undone; downsample
#   returns a downsampled version of the same skeleton.
# Seen, for a centreline of 21 voxels along x from voxel (0, 0, 0), voxels of 0.5 x 0.5 x 0.8 mm, origin (-90, -60, 10):
#   cable_length()                   10 mm, right; afterwards the first vertex is (-90, -60, 10), the space "physical"
#   physical_space().voxel_space()   the first vertex is (-90, -60, 2.5), called voxels: the origin is taken off in mm
#                                    after the division by the spacing. It is right for origin 0 or voxels of 1 mm only.
#   downsample(2).cable_length()     20: transform and space are lost, mm and voxels alike become "voxel" of 1 mm.
# Versions: osteoid 0.7.4 (the skeletons of kimimaro and CloudVolume), fastremap 1.21.0, networkx 3.6.1, numpy 2.4.6.
# Who is hurt: whoever reads labels or intensities at the vertices, or draws the centreline into the volume, after its
#   length was printed: coordinates in mm are taken for indices, negative ones count from the far end of the array.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "osteoid==0.7.4" "fastremap==1.21.0" "networkx==3.6.1" "pybind11==3.1.0" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
from osteoid import Skeleton

print("osteoid", version("osteoid"))
n = 21
points = np.zeros((n, 3), np.float32)
points[:, 0] = np.arange(n)
edges = np.stack([np.arange(n - 1), np.arange(1, n)], 1).astype(np.uint32)
mm_of_voxel = [[0.5, 0, 0, -90], [0, 0.5, 0, -60], [0, 0, 0.8, 10]]


def centreline():
    return Skeleton(points.copy(), edges, space="voxel", transform=mm_of_voxel)


measured, thinned = centreline(), centreline().downsample(2)
length_mm = measured.cable_length()
back = centreline().physical_space().voxel_space()
print("length:", length_mm, "first vertex after it was measured:", measured.vertices[0], measured.space)
print("first vertex, in mm and back:", back.vertices[0], back.space)
print("downsampled:", thinned.space, thinned.transform.tolist(), "length", thinned.cable_length())
ok = length_mm == 10 and np.allclose(measured.vertices[0], [-90, -60, 10]) and measured.space == "physical"
ok = ok and np.allclose(back.vertices[0], [-90, -60, 2.5]) and back.space == "voxel"
ok = ok and np.array_equal(thinned.transform, np.eye(3, 4)) and thinned.cable_length() == 20
raise SystemExit(None if ok else "changed: the vertices lie elsewhere")
EOF
echo "as described"
