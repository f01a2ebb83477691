#!/bin/sh
# batchgenerators 0.25.5, batchgeneratorsv2 0.3.6: noise_variance is a standard deviation; Rician noise is none in air
#
# Expected: GaussianNoiseTransform and RicianNoiseTransform take noise_variance, the range of the variance of the
#   Gaussian distribution. Rician noise is that of a magnitude: it is 0 at least, and in air, where the noise has the
#   standard deviation s, its mean is 1.25 s.
# Seen, for a signal of 1 in one half and air of 0 in the other:
#                                                    variance added   mean in air   deviation in air   least value
#   Gaussian noise, noise_variance 0.04, either      0.0016
#   Rician noise by hand, s = 0.2                                     0.251         0.131               0.00
#   batchgenerators, noise_variance 0.2                               0             0                   0
#   batchgeneratorsv2, noise_variance 0.2                             0.042         0.156              -0.26
#   The number is taken for s itself, so that the variance is the square of what was asked for. batchgenerators
#   multiplies the noisy magnitude by the sign of the noise-free one, which is 0 in air. batchgeneratorsv2 shifts and
#   scales the result to the mean and deviation before the noise: magnitudes are negative, the bias is lost.
# Versions: batchgenerators 0.25.5, batchgeneratorsv2 0.3.6 (the augmentations of nnU-Net), torch 2.13.0, numpy 2.2.6.
# Who is hurt: whoever trains on noisy angiographies with air or skull masked to 0: of a noise of variance 0.04 a fifth
#   of the deviation is there, and the background stays spotless or gets a noise that no scanner has.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "numpy==2.2.6" "scipy==1.15.3" "scikit-image==0.25.2" "pandas==2.3.3"
"$work/env/bin/pip" install -q --no-deps "batchgenerators==0.25.5" "batchgeneratorsv2==0.3.6" # the others serve I/O
"$work/env/bin/python" - <<'EOF'
from importlib.metadata import version

import numpy as np
import torch
from batchgenerators.transforms import noise_transforms as first
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform

print("batchgenerators", version("batchgenerators"), "batchgeneratorsv2", version("batchgeneratorsv2"))
np.random.seed(0)
torch.manual_seed(0)
image = torch.zeros(1, 64, 64, 32)
image[:, :, :32] = 1


def noisy(transform, transform_v2, variance):
    one = transform(noise_variance=(variance, variance))(data=image.numpy()[None].copy())["data"][0]
    two = transform_v2(noise_variance=(variance, variance))(image=image.clone())["image"].numpy()
    return one, two


gaussian = [float((one - image.numpy()).var()) for one in
            noisy(first.GaussianNoiseTransform, GaussianNoiseTransform, 0.04)]
print("variance of the Gaussian noise, asked for 0.04:", np.round(gaussian, 5))


def air(array):
    return array[:, :, 32:]


real, imaginary = 0.2 * np.random.standard_normal((2, *image.shape))
by_hand = np.hypot(image.numpy() + real, imaginary)
one, two = noisy(first.RicianNoiseTransform, RicianNoiseTransform, 0.2)
rows = np.array([[air(a).mean(), air(a).std(), a.min()] for a in (by_hand, one, two)])
for name, row in zip(["by hand, s = 0.2", "batchgenerators", "batchgeneratorsv2"], rows):
    print("Rician noise,", name, "mean and deviation in air, least value:", row.round(3))
ok = np.allclose(gaussian, 0.0016, atol=0.0001) and np.allclose(rows[0], [0.251, 0.131, 0], atol=0.01)
ok = ok and np.array_equal(air(one), np.zeros_like(air(one)))
ok = ok and np.allclose(rows[2, :2], [0.041, 0.155], atol=0.01) and rows[2, 2] < -0.2
raise SystemExit(None if ok else "changed: the noise is another")
EOF
echo "as described"
