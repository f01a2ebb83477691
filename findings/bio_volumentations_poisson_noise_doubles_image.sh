#!/bin/sh
# bio-volumentations 1.4.0: PoissonNoise doubles the image; Resize without the promised filter loses thin vessels
#
# Expected: PoissonNoise adds Poisson noise to the image, whose mean stays. Resize with anti_aliasing_downsample, its
#   default, applies a Gaussian filter before it downsamples.
# Seen:
#   counts of                                                    4       100      1000
#   mean after PoissonNoise                                      8       200      2000
#   variance                                                     4       100      1000
#   A draw with the image as its mean is added to the image: the ratio of signal to noise is twice that of counts.
#
#   Resize of 64 x 64 x 64 to 16 x 16 x 16 voxels             True or False    skimage with anti_aliasing
#   deviation of white noise of 1                                     0.349                         0.078
#   brightest voxel of 15 vessels of 1, one voxel wide                    0                         0.038
#   The filter is on only where an axis grows: to 16 x 64 x 128 voxels True and False differ. Rescale has the same.
# Versions: bio-volumentations 1.4.0, scikit-image 0.25.2, numpy 2.2.6, scipy 1.15.3, SimpleITK 2.5.7.
# Who is hurt: whoever augments angiographies by Poisson noise trains on twice the intensities of the test data, at half
#   the relative noise; whoever downsamples them trains without the vessels that lie between the samples.
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
from skimage.transform import resize

print("bio-volumentations", version("bio-volumentations"), "scikit-image", version("scikit-image"))
np.random.seed(0)
ok = True
for count in (4, 100, 1000):
    image = np.full((1, 64, 64, 64), count, np.float32)
    noisy = bv.Compose([bv.PoissonNoise(p=1)])(image=image)["image"]
    print("counts of", count, "mean", round(float(noisy.mean()), 2), "variance", round(float(noisy.var()), 2))
    ok = ok and np.isclose(noisy.mean(), 2 * count, rtol=0.01) and np.isclose(noisy.var(), count, rtol=0.03)

noise = np.random.default_rng(0).standard_normal((64, 64, 64)).astype(np.float32)
vessels = np.zeros((64, 64, 64), np.float32)
vessels[20, 4::4] = 1


def resized(transform, volume, size, filtered):
    transform = transform(size, anti_aliasing_downsample=filtered, p=1)
    return bv.Compose([transform])(image=volume[None].copy())["image"][0]


small = (16, 16, 16)
for name, volume, figure, seen, right in [("white noise, deviation", noise, np.std, 0.349, 0.078),
                                          ("15 vessels, brightest voxel", vessels, np.max, 0, 0.038)]:
    on, off = (resized(bv.Resize, volume, small, filtered) for filtered in (True, False))
    rescaled = resized(bv.Rescale, volume, 0.25, True)
    filtered = resize(volume, small, order=1, anti_aliasing=True)
    print(name, "True", figure(on).round(3), "False", figure(off).round(3), "skimage", figure(filtered).round(3))
    ok = ok and np.array_equal(on, off) and np.array_equal(on, rescaled)
    ok = ok and np.isclose(figure(on), seen, atol=0.001) and np.isclose(figure(filtered), right, atol=0.001)
on, off = (resized(bv.Resize, noise, (16, 64, 128), filtered) for filtered in (True, False))
print("one axis grows: True", on.std().round(3), "False", off.std().round(3))
ok = ok and on.std() < 0.9 * off.std()
raise SystemExit(None if ok else "changed: the noise or the filter is another")
EOF
echo "as described"
