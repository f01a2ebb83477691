#!/bin/sh
# opacus 1.6.0: convolutions that pad with other than zeros get wrong gradients, in "ghost" beyond max_grad_norm
#
# Expected: each sample's gradient is clipped to max_grad_norm, whatever the mode of computation ("hooks" or "ghost");
#   with a bound that is never reached and no noise, a step is the step without privacy. A layer that Opacus cannot
#   handle is refused by its ModuleValidator.
# Seen, for one Conv2d of 3 x 3, padding 1, on a constant image, one sample, no noise; norm of the gradient applied:
#                                             zeros   reflect, replicate, circular
#   no privacy                                 2.13     3.00
#   "hooks", max_grad_norm 100,  4 x 4 pixels  2.13     2.13: not this network's gradient
#   "ghost", max_grad_norm 1,    4 x 4 pixels  1.00     1.41
#   "ghost", max_grad_norm 1,  32 x 32 pixels  1.00     1.04
#   The validator accepts all four. Per-sample gradients are computed from the input padded with zeros, whatever the
#   layer's padding_mode. "ghost" takes the norm from them and then scales the true gradient by it. The error is large
#   in the deep layers of a network, whose maps are small.
# Versions: opacus 1.6.0, torch 2.13.0.
# Who is hurt: whoever trains a generator or a segmentation network with differential privacy and such padding. "hooks"
#   trains it with another network's gradients. Under "ghost" one patient can move the weights by 1.41 times what the
#   accountant assumes: the true noise multiplier is the reported one divided by 1.41, the true epsilon larger.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "opacus==1.6.0" "opt-einsum==3.4.0" "scipy==1.17.1" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
import torch
from importlib.metadata import version
from opacus import PrivacyEngine
from opacus.validators import ModuleValidator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

print("opacus", version("opacus"), "torch", torch.__version__)


def step_norm(padding_mode, size, grad_sample_mode=None, max_grad_norm=None):
    image, target = torch.ones(1, 1, size, size), torch.full((1,), -1000.0)  # the loss is the mean output + 1000
    convolution = nn.Conv2d(1, 1, 3, padding=1, padding_mode=padding_mode, bias=False)
    model = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(0))
    assert ModuleValidator.is_valid(model)
    weight, optimizer, criterion = convolution.weight, torch.optim.SGD(model.parameters(), lr=1), nn.L1Loss()
    before = weight.detach().clone()
    if grad_sample_mode:
        made = PrivacyEngine().make_private(
            module=model, optimizer=optimizer, criterion=criterion, noise_multiplier=0.0, max_grad_norm=max_grad_norm,
            data_loader=DataLoader(TensorDataset(image, target)), poisson_sampling=False,
            grad_sample_mode=grad_sample_mode)
        model, optimizer = made[:2]
        criterion = made[2] if grad_sample_mode == "ghost" else criterion
    criterion(model(image), target).backward()
    optimizer.step()
    return float((weight.detach() - before).norm())


ok = True
for padding_mode in ("zeros", "reflect", "replicate", "circular"):
    norms = [
        step_norm(padding_mode, 4), step_norm(padding_mode, 4, "hooks", 100), step_norm(padding_mode, 4, "ghost", 1),
        step_norm(padding_mode, 32, "ghost", 1)
    ]
    names = ("no privacy", "hooks", "ghost", "ghost at 32 x 32")
    print(padding_mode, *(f"{name} {norm:.4f}" for name, norm in zip(names, norms)))
    seen = [2.125, 2.125, 1, 1] if padding_mode == "zeros" else [3, 2.125, 3 / 2.125, 1.0428]
    ok = ok and torch.allclose(torch.tensor(norms), torch.tensor(seen, dtype=torch.float32), atol=1e-3)
raise SystemExit(None if ok else "changed: the gradients have other norms")
EOF
echo "as described"
