#!/bin/sh
# MONAI 1.6.1: MMDMetric rates constant grey better than fresh real images, and exact copies below zero
#
# Expected: the maximum mean discrepancy with a kernel, as the documentation says: zero for equal distributions, larger
#   the more two sets of images differ. Fresh images of the same kind score best, a constant image far off.
# Seen: the "kernel" is the plain inner product of the voxels, so only the two mean images are compared (squared
#   distance). Every other difference is invisible: all images equal to the constant 0.5 score nearer to zero than fresh
#   images of the very same distribution; halving or inverting the contrast changes next to nothing; an exact copy of
#   the real set gets a large negative number, and the lower value is that of the copy.
# Versions: monai 1.6.1, torch 2.13.0.
# Who is hurt: whoever compares GANs by it. A generator that has collapsed to the mean image wins over a good one, and
#   ranking by "lower is better" rewards memorising the training set.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
import monai, torch
from monai.metrics import MMDMetric

print("monai", monai.__version__)


def images(seed):  # noise in [0, 1], 64 images
    return torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(seed))


def rbf(a, b):  # for comparison: unbiased, Gaussian kernel, width from the median distance
    a, b = a.flatten(1).double(), b.flatten(1).double()
    width = torch.cdist(a, torch.cat([a, b])).median() ** 2
    k = [torch.exp(-torch.cdist(x, y) ** 2 / width) for x, y in ((a, a), (b, b), (a, b))]
    n = len(a)
    return float(sum((m.sum() - m.trace()) / (n * (n - 1)) for m in k[:2]) - 2 * k[2].mean())


metric = MMDMetric()
value, kernel = {}, {}
for seed in range(5):
    real = images(seed)
    fakes = {"fresh": images(seed + 100), "grey": torch.full_like(real, 0.5), "inverted": 1 - images(seed + 100),
             "faint": 0.5 + (images(seed + 100) - 0.5) / 2, "copy": real.clone()}
    for name, fake in fakes.items():
        value.setdefault(name, []).append(float(metric(real, fake)))
        kernel.setdefault(name, []).append(rbf(real, fake))
for name in value:
    print(f"{name:9s} MMDMetric", [f"{v:7.3f}" for v in value[name]], "Gaussian kernel", f"{kernel[name][0]:.4f}")
size = {name: max(abs(v) for v in values) for name, values in value.items()}
ok = size["grey"] < 1 and size["faint"] < 1 and all(v < -2 for v in value["copy"]) and size["fresh"] < 1
ok = ok and min(kernel["grey"]) > 10 * max(abs(v) for v in kernel["fresh"])
ok = ok and sum(map(abs, value["grey"])) < sum(map(abs, value["fresh"]))
raise SystemExit(None if ok else "changed: MMDMetric now sees more than the mean image")
EOF
echo "as described"
