#!/bin/sh
# MONAI 1.6.1: making a DataLoader rewinds torch's global random generator
#
# Expected: `monai.data.DataLoader` is "PyTorch's DataLoader" with a seed for the transforms of each worker. Making one
#   may draw from the global generator, as PyTorch's own iterator does; it does not turn that generator back.
# Seen: with num_workers=0 (the default) the constructor calls `manual_seed(initial_seed)` on the global generator. All
#   random numbers after it repeat from the start: `torch.randn` gives the same values before and after, and a loop that
#   makes its loader anew each epoch gets the same order of cases and the same latent vectors in every epoch.
# Versions: monai 1.6.1, torch 2.13.0.
# Who is hurt: a GAN that draws its latents by `torch.randn` and makes a validation loader between two epochs trains on
#   the same few latents for ever; dropout masks and augmentation by torch repeat as well. Losses look normal.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6"
"$work/env/bin/python" - <<'EOF'
import monai, torch
from monai.data import DataLoader, Dataset
from torch.utils.data import DataLoader as TorchLoader

print("monai", monai.__version__, "torch", torch.__version__)
cases = Dataset(list(range(8)))


def epochs(loader, **options):
    torch.manual_seed(0)
    seen = []
    for _ in range(4):
        order = [int(i) for batch in loader(cases, batch_size=4, shuffle=True, **options) for i in batch]
        seen.append((order, torch.randn(3).tolist()))
    return seen


def different(seen):
    return len({str(epoch) for epoch in seen})


torch.manual_seed(0)
before = torch.randn(3)
DataLoader(cases)  # never used
after = torch.randn(3)
print("randn before", before.tolist(), "and after", after.tolist())
ours, theirs = epochs(DataLoader), epochs(TorchLoader)
worker = epochs(DataLoader, num_workers=1)
print("first two epochs, monai:", ours[:2])
print("different epochs of four: torch", different(theirs), "monai", different(ours), "worker", different(worker))
ok = torch.equal(before, after) and different(ours) == 1 and different(theirs) == different(worker) == 4
raise SystemExit(None if ok else "changed: a new monai DataLoader no longer rewinds torch's generator")
EOF
echo "as described"
