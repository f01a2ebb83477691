#!/bin/sh
# MONAI 1.6.1: GibbsNoise(alpha=0), documented as the identity, changes cubes; slabs are not cut along z up to alpha 0.8
#
# Expected: "alpha = 0 acting as the identity mapping", for 2D and 3D images, and the same alpha takes the same part of
#   the frequencies of each axis away, as the smaller matrix of a real scan does.
# Seen: the mask keeps the frequencies within (1 - alpha) * sqrt(2) / 2 * (the longest axis, in voxels) of the middle.
#   That ball reaches the corners of a square, but not those of a cube (they lie at sqrt(3) / 2): alpha = 0 takes 3.6%
#   of the frequencies of 96 x 96 x 96 away, changes noise by 18% of its standard deviation, and makes values below 0.
#   On 96 x 96 x 24 the radius of 68 is set by 96, and z ends at 12: a pattern of every second slice comes through
#   unchanged at alpha 0.8, where the same pattern along x is gone at alpha 0.35. At alpha 0.3 the cube keeps half of
#   its frequencies, a square of 96 x 96 three quarters.
# Versions: monai 1.6.1, torch 2.13.0.
# Who is hurt: whoever trains on cubic patches with RandGibbsNoise has no weak end of the range: every augmented patch
#   is smoothed; whoever trains on slabs gets no ringing between the slices, where MRI is coarsest, at any usual alpha;
#   an alpha tuned in 2D is another strength in 3D. Nothing warns, and shapes and types are right.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
import monai, torch
from monai.transforms import GibbsNoise

print("monai", monai.__version__, "torch", torch.__version__)
torch.manual_seed(0)


def kept(shape, alpha):
    """Returns the part of the frequencies that are kept: a single bright voxel has all of them in equal strength."""
    voxel = torch.zeros(1, *shape)
    voxel[(0, *(n // 2 for n in shape))] = 1
    return float(GibbsNoise(alpha)(voxel).square().sum())


changed = {}
for shape in [(96, 96), (96, 96, 24), (96, 96, 96)]:
    noise = torch.rand(1, *shape)
    out = GibbsNoise(0.0)(noise)
    changed[shape] = float((out - noise).std() / noise.std())
    print(shape, "alpha 0: changed by", round(changed[shape], 4), "of the standard deviation; least value",
          round(float(out.min()), 3), "; kept frequencies at alpha 0:", round(kept(shape, 0.0), 4), "at 0.3:",
          round(kept(shape, 0.3), 4))
left = {}
for axis, alpha in [("x", 0.35), ("z", 0.35), ("z", 0.8)]:
    slab = torch.zeros(1, 96, 96, 24)
    slab[:, ::2] += axis == "x"
    slab[..., ::2] += axis == "z"
    left[axis, alpha] = float(GibbsNoise(alpha)(slab).std() / slab.std())
    print("96 x 96 x 24, every second plane along", axis, "bright, alpha", alpha, ": contrast left",
          round(left[axis, alpha], 4))
ok = changed[96, 96] < 1e-4 and 0.15 < changed[96, 96, 96] < 0.21 and kept((96, 96, 96), 0.0) < 0.98
ok = ok and left["x", 0.35] < 1e-3 and left["z", 0.35] > 0.999 and left["z", 0.8] > 0.999
raise SystemExit(None if ok else "changed: alpha 0 is now the identity, or each axis is cut by its own length")
EOF
echo "as described"
