#!/bin/sh
# antspyx 0.6.3: the largest component of vessels below 50 voxels each is the whole volume
#
# Expected: iMath(mask, "GetLargestComponent") keeps the largest component of a mask; where a minimum size sorts all of
#   them out, an empty mask or an error.
# Seen, for a volume of 80 x 30 x 20 = 48,000 voxels with a line of n voxels and a speck of 4 voxels:
#   n                                          20      49      50      60
#   voxels after GetLargestComponent       48,000  48,000      50      60
#   voxels with a minimum size of 1            20      49      50      60
#   Nothing is said. The optional third argument is a minimum size; without it, 50 voxels are the least. The docstring
#   of iMath has "additional parameters specific to the operation", without a name or a value.
# Versions: antspyx 0.6.3, numpy 2.2.6, scipy 1.15.3.
# Who is hurt: whoever cleans predictions of single vessels or of patches by it: a vessel cut short by the edge of the
#   patch, or a failed prediction of some specks, becomes foreground from corner to corner; volume, Dice and all that is
#   trained on it follow.
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


def voxels_left(n, *minimum):
    mask = np.zeros((80, 30, 20), np.float32)
    mask[2:2 + n, 15, 10] = 1
    mask[30, 5:9, 10] = 1
    return int(ants.iMath(ants.from_numpy(mask), "GetLargestComponent", *minimum).numpy().sum())


lengths = [20, 49, 50, 60]
default, from_one = [voxels_left(n) for n in lengths], [voxels_left(n, 1) for n in lengths]
print("voxels of the line:", *lengths)
print("voxels of the largest component:", *default, "with a minimum size of 1:", *from_one)
ok = default == [48000, 48000, 50, 60] and from_one == lengths
raise SystemExit(None if ok else "changed: the largest component is another")
EOF
echo "as described"
