#!/bin/sh
# nibabel 5.4.2: load("scan.Nii.gz") reads scan.nii.gz, another file
#
# Expected: nibabel.load reads the file whose name it is given, or raises FileNotFoundError if there is no such file. It
#   reads scan.NII.GZ, scan.NII.gz and scan.nii.GZ as they are.
# Seen: an ending in mixed capitals, as in scan.Nii.gz or scan.Nii, is written in small letters before the file is
#   opened. If scan.nii.gz exists as well, its voxels come back without a warning; else the error says that scan.nii.gz
#   does not exist, though nobody asked for it.
# Versions: nibabel 5.4.2, numpy 2.4.6.
# Who is hurt: on a file system that tells capitals apart, two scans whose names differ so are one scan to a script.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "nibabel==5.4.2" "numpy==2.4.6"
cd "$work"
env/bin/python - <<'EOF'
import os
import nibabel as nib, numpy as np

print("nibabel", nib.__version__)
if os.path.exists("ENV"):
    raise SystemExit("this file system does not tell capitals apart; run this on another one")

def write(name, value):
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), value, np.int16), np.eye(4)), "written.nii.gz")
    os.rename("written.nii.gz", name)

read = {}
for number, name in enumerate(["scan.nii.gz", "scan.Nii.gz", "scan.NII.GZ", "scan.nii.GZ"], start=1):
    write(name, number)
for name in ["scan.nii.gz", "scan.Nii.gz", "scan.NII.GZ", "scan.nii.GZ"]:
    read[name] = int(nib.load(name).get_fdata().max())
    print(name, "holds", list(read).index(name) + 1, "and is read as", read[name])
os.remove("scan.nii.gz")
try:
    nib.load("scan.Nii.gz")
    told = ""
except FileNotFoundError as error:
    told = str(error)
    print(told)
ok = read == {"scan.nii.gz": 1, "scan.Nii.gz": 1, "scan.NII.GZ": 3, "scan.nii.GZ": 4} and "scan.nii.gz" in told
raise SystemExit(None if ok else "changed: nibabel now reads the file that it is asked for")
EOF
echo "as described"
