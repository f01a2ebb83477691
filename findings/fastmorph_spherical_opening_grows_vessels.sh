#!/bin/sh
# fastmorph 1.10.0: spherical_open and spherical_close at their default radius dilate; spherical_erode removes nothing
#
# Expected: an opening removes what is thinner than the ball and adds no voxel, a closing fills gaps narrower than the
#   ball; either, done twice, is the same as done once. radius is the "physical distance (considering anisotropy) to
#   dilate to (inclusive range)", 1.0 by default; the erosion's docstring has the same words.
# Seen, in voxels of the cross-section of a straight vessel of radius 3 voxels:
#                                         before   erode   open   close, by hand: erode   open   close
#   radius 1, the default                     29      29     49      49              13     25      29
#   radius 2                                  29       9     37      37               5     25      29
#   radius 1 mm, voxels of 0.5 mm             29       9     37      37               5     25      29
#   radius 1.5                                29       9     25      29               9     25      29
#   At the default three closings leave 49, 73 and 101 voxels. The dilation takes in voxels at a distance up to and with
#   the radius; the erosion takes off those nearer than the radius, and none of a mask is nearer to the background than
#   a whole voxel. The two fit together only for a radius at which no voxel lies, as 1.5.
# Versions: fastmorph 1.10.0, edt 3.1.2, numpy 2.4.6.
# Who is hurt: whoever takes specks off a vessel label, or closes its gaps, with a radius of whole voxels: specks stay
#   and grow, the lumen gets 69% more area here, neighbouring vessels merge.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "fastmorph==1.10.0" "edt==3.1.2" "fill-voids==2.1.2" "fastremap==1.21.0" \
    "connected-components-3d==4.1.1" "numpy==2.4.6" "tqdm==4.70.1"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import fastmorph, numpy as np

print("fastmorph", version("fastmorph"), "edt", version("edt"))
_, rows, columns = np.indices((24, 32, 32))
vessel = (rows - 16) ** 2 + (columns - 16) ** 2 <= 9
middle = 12  # far from both ends, where the erosion takes the volume's border for background
section = vessel[middle]


def dilate(mask, radius):  # of a straight vessel: the cross-section of a ball is a disc
    reach = int(radius)
    steps = range(-reach, reach + 1)
    near = [(row, column) for row in steps for column in steps if row**2 + column**2 <= radius**2]
    return np.any([np.roll(mask, step, (0, 1)) for step in near], axis=0)


def erode(mask, radius):
    return ~dilate(~mask, radius)


ok = True
for radius, spacing, seen, right in [
    (1.0, 1.0, [29, 49, 49], [13, 25, 29]),
    (2.0, 1.0, [9, 37, 37], [5, 25, 29]),
    (1.0, 0.5, [9, 37, 37], [5, 25, 29]),
    (1.5, 1.0, [9, 25, 29], [9, 25, 29]),
]:
    found = [int(operation(vessel, radius=radius, anisotropy=(spacing,) * 3)[middle].sum()) for operation in (
        fastmorph.spherical_erode, fastmorph.spherical_open, fastmorph.spherical_close)]
    voxels = radius / spacing
    eroded, closed = erode(section, voxels), erode(dilate(section, voxels), voxels)
    by_hand = [int(mask.sum()) for mask in (eroded, dilate(eroded, voxels), closed)]
    print(f"radius {radius}, spacing {spacing}: of {section.sum()} voxels erode, open, close leave", *found,
          "by hand", *by_hand)
    ok = ok and found == seen and by_hand == right
closed, areas = vessel, []
for _ in range(3):
    closed = fastmorph.spherical_close(closed)
    areas.append(int(closed[middle].sum()))
print("closed once, twice, three times, by default:", *areas)
raise SystemExit(None if ok and areas == [49, 73, 101] else "changed: the spherical operations are others")
EOF
echo "as described"
