#!/bin/sh
# MONAI 1.6.1: HausdorffDTLoss and BoundaryLoss of a patch without a vessel: vessels everywhere cost nothing
#
# Expected: with an empty label, the more voxels are predicted as vessel, the higher the loss; all background is best.
# Seen: HausdorffDTLoss takes the distance map of an all-background mask AND of an all-foreground mask as zero. For an
#   empty label the loss is 0 for "no vessel", 0 with zero gradient for any prediction that stays below 0.5 (0.49
#   everywhere), positive for some false vessels, and 0 again for "vessel everywhere". A full label and an empty
#   prediction cost 0 too. BoundaryLoss is 0 without a gradient for every prediction there.
# Versions: monai 1.6.1 (scipy 1.17.1 for the distances), torch 2.13.0.
# Who is hurt: most patches of a head scan hold no vessel: most of a batch teaches the network nothing, or draws it to
#   one of two "perfect" answers. Combine such a loss with Dice or cross entropy, and watch empty patches apart.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6" "scipy==1.17.1"
"$work/env/bin/python" - <<'EOF'
import monai, torch
from monai.losses import BoundaryLoss, HausdorffDTLoss

print("monai", monai.__version__)
nothing = torch.zeros(1, 1, 16, 16, 16)
everything = torch.ones_like(nothing)
some = nothing.clone()
some[..., 4:6, 4:6, 2:14] = 1  # a vessel where none is


def value_and_slope(loss, prediction, label):
    prediction = prediction.clone().requires_grad_()
    value = loss(prediction, label)
    slope = torch.autograd.grad(value, prediction, allow_unused=True)[0] if value.requires_grad else None
    return float(value), 0.0 if slope is None else float(slope.abs().max())


cases = {"none predicted": nothing, "0.49 everywhere": 0.49 * everything, "0.49 in a false vessel": 0.49 * some,
         "a false vessel": some, "vessel everywhere": everything}
seen = {}
for loss in (HausdorffDTLoss(), BoundaryLoss()):
    for name, prediction in cases.items():
        seen[type(loss).__name__, name] = value, slope = value_and_slope(loss, prediction, nothing)
        print(f"{type(loss).__name__}, empty label, {name}: loss {value:.4f}, largest gradient {slope:.4f}")
full = float(HausdorffDTLoss()(nothing, everything))
print(f"HausdorffDTLoss, full label, none predicted: {full}")
free = [seen["HausdorffDTLoss", name][0] for name in cases if name != "a false vessel"]
ok = free == [0] * 4 and seen["HausdorffDTLoss", "a false vessel"][0] > 0.01 and full == 0
ok = ok and seen["HausdorffDTLoss", "0.49 everywhere"][1] == 0
ok = ok and all(seen["BoundaryLoss", name] == (0, 0) for name in cases)
raise SystemExit(None if ok else "changed: the losses of an empty patch are no longer zero")
EOF
echo "as described"
