#!/bin/sh
# MONAI 1.6.1 with pynrrd 1.1.3: NRRD files with "space: LPS" or "LAS" are mirrored, those with the long name are not
#
# Expected: NRRD allows "LPS" for "left-posterior-superior", "LAS" for "left-anterior-superior" and so on, and
#   NrrdReader converts to RAS (affine_lps_to_ras=True). Each spelling gives the place that SimpleITK and ITK give.
# Seen: NrrdReader converts one spelling, "left-posterior-superior". For "LPS", "LAS" and "left-anterior-superior" the
#   affine keeps the file's own numbers, without a warning: SaveImage writes a NIfTI file that is mirrored left to right
#   (for LPS front to back too). Orientation knows "LPS" and "RAS" in the metadata, so it hides the error for LPS until
#   the result is saved, and raises ValueError for the long names, even for "right-anterior-superior".
# Versions: monai 1.6.1, pynrrd 1.1.3, SimpleITK 2.5.7, nibabel 5.4.2, torch 2.13.0.
# Who is hurt: a label .seg.nrrd with the short name, over a scan read as NIfTI or DICOM, lies on the other side of the
#   head: a left-sided stenosis is reported on the right.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "pynrrd==1.1.3" "numpy==2.4.6" "SimpleITK==2.5.7" \
    "nibabel==5.4.2"
cd "$work"
env/bin/python - <<'EOF'
import monai, nibabel as nib, nrrd, numpy as np, SimpleITK as sitk
from monai.transforms import LoadImage, Orientation, SaveImage

print("monai", monai.__version__, "pynrrd", nrrd.__version__)
names = ["left-posterior-superior", "LPS", "left-anterior-superior", "LAS", "right-anterior-superior", "RAS"]
mirrored, raised = [], []
for name in names:
    header = {"space": name, "space directions": np.diag([1.0, 2, 3]), "space origin": [10, 20, 30]}
    nrrd.write("scan.nrrd", np.ones((6, 7, 8), np.int16), header)
    truth = np.array(sitk.ReadImage("scan.nrrd").GetOrigin()) * [-1, -1, 1]  # LPS to RAS
    image = LoadImage(reader="NrrdReader", ensure_channel_first=True)("scan.nrrd")
    SaveImage("out", output_postfix="x", separate_folder=False, print_log=False)(image)
    saved = nib.load("out/scan_x.nii.gz").affine[:3, 3]
    mirrored += [name] * (not np.allclose(saved, truth))
    try:
        Orientation("RAS", labels=None)(image)
    except ValueError as error:
        raised.append(name)
        print("Orientation:", error)
    print(name, "origin in RAS: SimpleITK", truth, "MONAI", image.affine[:3, 3].numpy(), "saved as NIfTI", saved)
print("mirrored:", mirrored, "ValueError of Orientation:", raised)
ok = mirrored == ["LPS", "left-anterior-superior", "LAS"]
ok = ok and raised == ["left-anterior-superior", "LAS", "right-anterior-superior"]
raise SystemExit(None if ok else "changed: NrrdReader now knows other names of the space")
EOF
echo "as described"
