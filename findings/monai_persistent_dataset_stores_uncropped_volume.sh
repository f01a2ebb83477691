#!/bin/sh
# MONAI 1.6.1: PersistentDataset writes the whole volume of every case for a crop of it
#
# Expected: `PersistentDataset` caches "the result of the deterministic transforms": a pipeline that ends with a crop to
#   16x16x16 leaves some 16 KiB a case on the disk; CacheDataset holds the crop in memory.
# Seen: MONAI's croppers return views, and `torch.save` writes the storage behind a view. The cache file of the 16x16x16
#   crop holds the whole 128x128x128 volume, 512 times the data, and it is read back whole for each sample.
#   CacheDataset copies a view only if it is not contiguous: a crop of some slices along the first axis keeps
#   the whole volume in memory. A transform that copies at the end (here a lambda with clone) cures both.
# Versions: monai 1.6.1, torch 2.13.0.
# Who is hurt: whoever caches patches of head scans to make training fast: the cache is as large as if nothing had been
#   cropped, and loading a patch costs as much as loading the scan. Shared or small disks fill up without a warning.
#   A cache that is handed on also holds the part of the head that the crop was meant to leave out.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==2.4.6"
cd "$work"
env/bin/python - <<'EOF'
import os, tempfile
import monai, torch
from monai.data import CacheDataset, MetaTensor, PersistentDataset
from monai.transforms import CenterSpatialCropd, Compose, CropForegroundd, Lambdad

print("monai", monai.__version__, "torch", torch.__version__)
volume = torch.zeros(1, 128, 128, 128)
volume[:, 50:66, 50:66, 50:66] = torch.rand(1, 16, 16, 16) + 0.1
data = [{"image": MetaTensor(volume)}]


def on_disk(*transforms):
    folder = tempfile.mkdtemp(dir=".")
    image = PersistentDataset(data, Compose(transforms), cache_dir=folder)[0]["image"]
    return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)), image.numel() * 4


def in_memory(*transforms):
    image = CacheDataset(data, Compose(transforms), progress=False)[0]["image"]
    return image.untyped_storage().nbytes(), image.numel() * 4


crop, foreground = CenterSpatialCropd("image", (16, 16, 16)), CropForegroundd("image", "image")
slab, clone = CenterSpatialCropd("image", (16, 128, 128)), Lambdad("image", lambda image: image.clone())
seen = {"disk, CenterSpatialCropd": on_disk(crop), "disk, CropForegroundd": on_disk(foreground),
        "disk, CenterSpatialCropd and clone": on_disk(crop, clone), "memory, 16 slices": in_memory(slab),
        "memory, 16 slices and clone": in_memory(slab, clone)}
for name, (held, needed) in seen.items():
    print(f"{name}: {held} bytes held for {needed} bytes of voxels ({held / needed:.1f} times)")
ratio = [held / needed for held, needed in seen.values()]
ok = ratio[0] > 500 and ratio[1] > 500 and ratio[2] < 2 and ratio[3] == 8 and ratio[4] == 1
raise SystemExit(None if ok else "changed: cached crops no longer carry the volume they were cut from")
EOF
echo "as described"
