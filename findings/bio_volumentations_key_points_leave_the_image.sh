#!/bin/sh
# bio-volumentations 1.4.0: with a spacing, affine transforms take key points elsewhere than the image; so does Resize
#
# Expected: AffineTransform and Resize have image, mask and key points as their targets; a key point on a bright voxel
#   is on it afterwards. spacing is the voxel spacing of each axis.
# Seen, for a key point at (10, 20, 30) on a bright spot in 41 x 41 x 41 voxels; the mask goes where the image goes:
#                                                        image, as expected      key point
#   rotation by 30 degrees about X, spacing (1, 1, 1)    (11.34, 25.0, 30.0)     (11.34, 25.0, 30.0)
#   the same, spacing (2, 1, 1)                          (11.34, 30.0, 30.0)     (14.02, 35.0, 30.0)
#   a shift of 6 along Z, spacing (2, 1, 1)              (13, 20, 30)            (16, 20, 30)
#   Resize to 82 x 82 x 82                               (20.5, 40.5, 60.5)      (20, 40, 60)
#   Resize to 164 x 164 x 164                            (41.5, 81.5, 121.5)     (40, 80, 120)
#   Indices of voxels are taken for millimetres and turned about a centre in millimetres. In Resize the outer faces of
#   the volume stay in place for the image, the centre of the first voxel for the key points. Nothing is said.
# Versions: bio-volumentations 1.4.0, SimpleITK 2.5.7, scikit-image 0.25.2, numpy 2.2.6, scipy 1.15.3.
# Who is hurt: whoever trains a detector of aneurysms or branching points on volumes with thick slices: the labels leave
#   the image by several voxels, differently in each epoch.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --no-compile "bio-volumentations==1.4.0" "SimpleITK==2.5.7" "scikit-image==0.25.2" \
  "numpy==2.2.6" "scipy==1.15.3"
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import bio_volumentations as bv
import numpy as np
from scipy.ndimage import center_of_mass, gaussian_filter

print("bio-volumentations", version("bio-volumentations"), "SimpleITK", version("SimpleITK"))
start = (10, 20, 30)
spot = np.zeros((41, 41, 41), np.float32)
spot[start] = 1
spot = gaussian_filter(spot, 1.5)
spot /= spot.max()


def moved(transform):
    out = bv.Compose([transform])(image=spot[None].copy(), mask=(spot > 0.3).astype(np.uint8), keypoints=[start])
    return center_of_mass(out["image"][0]), center_of_mass(out["mask"]), out["keypoints"][0]


angle = np.deg2rad(30)
rotated = {z: (20 - 10 * np.cos(angle), 20 + 10 * z * np.sin(angle), 30) for z in (1, 2)}
cases = [
    (bv.AffineTransform(angles=(0, 0, 30), spacing=(1, 1, 1), p=1), rotated[1], rotated[1]),
    (bv.AffineTransform(angles=(0, 0, 30), spacing=(2, 1, 1), p=1), rotated[2], (14.02, 35, 30)),
    (bv.AffineTransform(translation=(6, 0, 0), spacing=(2, 1, 1), p=1), (13, 20, 30), (16, 20, 30)),
    (bv.Resize(shape=(82, 82, 82), p=1), (20.5, 40.5, 60.5), (20, 40, 60)),
    (bv.Resize(shape=(164, 164, 164), p=1), (41.5, 81.5, 121.5), (40, 80, 120)),
]
ok = True
for transform, right, seen in cases:
    image, mask, point = moved(transform)
    print(type(transform).__name__, "right:", np.round(right, 2), "image:", np.round(image, 2), "mask:",
          np.round(mask, 2), "key point:", np.round(point, 2))
    ok = ok and np.allclose(image, right, atol=0.1) and np.allclose(mask, right, atol=0.3)
    ok = ok and np.allclose(point, seen, atol=0.01)
raise SystemExit(None if ok else "changed: image, mask or key points go elsewhere")
EOF
echo "as described"
