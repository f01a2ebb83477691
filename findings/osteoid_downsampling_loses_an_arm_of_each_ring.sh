#!/bin/sh
# osteoid 0.7.4: downsampling or smoothing a centreline with a ring takes one arm of the ring away, without a word
#
# Expected: interjoint_paths returns the paths "between the adjacent critical points in the skeleton", terminal and
#   branch points; downsample returns "a downsampled version of the skeleton by striding while preserving endpoints";
#   average_smoothing smooths "each of the interjoint paths". None of them asks for a tree, as paths() does.
# Seen, for an inlet of 20 mm, a ring of radius 10 mm and an outlet of 20 mm, 80 points 1 to 1.6 mm apart:
#                            as it is   downsample(1)   downsample(2)   downsample(4)   average_smoothing(3)
#   length in mm              102.77       102.77           71.29           70.90              70.92
#   Cut open at one end of an arm, so that it is a tree, it keeps 98% of its length at least. interjoint_paths walks
#   depth first and ends a path only at a point not seen before: three paths come back, not four. Nothing is left
#   of the second arm.
# Versions: osteoid 0.7.4 (the skeletons of kimimaro and CloudVolume), fastremap 1.21.0, networkx 3.6.1, numpy 2.4.6.
# Who is hurt: whoever thins out or smooths centrelines of a circle of Willis, or of any vessels with a loop: length,
#   number of branches and Betti numbers are those of other vessels, here 31% shorter; a true ring looks like a gap in
#   the segmentation.
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
n = 40
angle, along, zeros = np.arange(n) * 2 * np.pi / n, np.arange(20), np.zeros(20)
ring = np.stack([10 * np.cos(angle), 10 * np.sin(angle), np.zeros(n)], 1)
inlet, outlet = np.stack([along - 30, zeros, zeros], 1), np.stack([along + 11, zeros, zeros], 1)
points = np.concatenate([ring, inlet, outlet]).astype(np.float32)
arms = [(i, (i + 1) % n) for i in range(n)]
ends = [(n + i, n + i + 1) for i in range(19)] + [(n + 19, n // 2), (0, n + 20)]
ends += [(n + 20 + i, n + 21 + i) for i in range(19)]


def centreline(edges):
    return Skeleton(points, np.array(edges, np.uint32), radii=np.full(len(points), 2, np.float32))


def lengths_mm(edges):
    changes = [
        lambda one: one, lambda one: one.downsample(1), lambda one: one.downsample(2), lambda one: one.downsample(4),
        lambda one: one.average_smoothing(3)
    ]
    return np.array([float(change(centreline(edges)).cable_length()) for change in changes])


vessel, tree = lengths_mm(arms + ends), lengths_mm(arms[:-1] + ends)
print("length in mm, with the ring:", vessel.round(2), "as a tree:", tree.round(2))
paths_mm = [np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in centreline(arms + ends).interjoint_paths()]
print("paths between the four terminal and branch points, in mm:", np.round(paths_mm, 2))
ok = np.allclose(vessel[:4], [102.77, 102.77, 71.29, 70.90], atol=0.01) and vessel[4] < 72
ok = ok and tree.min() > 0.97 * tree[0] and np.allclose(sorted(paths_mm), [20, 20, 31.38], atol=0.01)
raise SystemExit(None if ok else "changed: the lengths are others")
EOF
echo "as described"
