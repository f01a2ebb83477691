#!/bin/sh
# dcm2niix 1.0.20260724 and SimpleITK 2.5.7: a sheared stack of DICOM slices becomes a straight one, without a word
#
# Expected: slices whose positions move along y as well as along the normal (a tilted gantry) cannot be told by spacing
#   and directions: a converter shears, resamples, warns, or refuses, as SimpleITK does with a sheared NIfTI affine.
# Seen: both take the LENGTH of the step between two slices as spacing along the NORMAL and drop the shift. At 15
#   degrees the volume is 3.5% too long, and the far slice of 40 lies 10 mm from where its header puts it. Both end with
#   success; dcm2niix names neither shear nor tilt, SimpleITK gives no warning.
# Versions: dcm2niix 1.0.20260724, SimpleITK 2.5.7, pydicom 3.0.2, nibabel 5.4.2.
# Who is hurt: two readers agree, so a comparison of them shows nothing; a label drawn on such a scan lies off every
#   other series of the same session by up to a centimetre, and vessel lengths and tortuosity are wrong.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "dcm2niix==1.0.20260724" "SimpleITK==2.5.7" "pydicom==3.0.2" "nibabel==5.4.2" \
    "numpy==2.4.6"
cd "$work"
env/bin/python - <<'EOF'
import os, subprocess, sys
import nibabel as nib, numpy as np, SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
os.mkdir("scan")
uids, positions = [generate_uid() for _ in range(3)], []
for i in range(40):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids
    ds.PatientID, ds.PatientPosition, ds.Modality, ds.MRAcquisitionType = "P", "HFS", "MR", "3D"
    ds.SeriesNumber, ds.InstanceNumber, ds.EchoTime, ds.RepetitionTime = 3, i + 1, 3, 20
    positions.append([0, round(float(np.tan(np.radians(15)) * i), 4), float(i)])
    ds.ImagePositionPatient, ds.ImageOrientationPatient = positions[-1], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.Rows, ds.Columns, ds.SamplesPerPixel = [1, 1], 1, 16, 16, 1
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = np.array([100 + i] + [i] * 255, np.uint16).tobytes()  # the first voxel is the position's
    ds.save_as(f"scan/{i:02d}.dcm", enforce_file_format=True)
tool = os.path.join(os.path.dirname(sys.executable), "dcm2niix")
log = subprocess.run([tool, "-f", "out", "-o", ".", "scan"], check=True, capture_output=True, text=True).stdout
image = nib.load("out.nii")
data = image.get_fdata()
at = image.affine @ [*np.unravel_index(data.argmax(), data.shape), 1] * [-1, -1, 1, 1]  # RAS to LPS
off = {"dcm2niix": float(np.linalg.norm(at[:3] - positions[39]))}
reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames("scan"))
volume = reader.Execute()
at = volume.TransformIndexToPhysicalPoint((0, 0, 39))
off["SimpleITK"] = float(np.linalg.norm(np.subtract(at, positions[39])))
steps = {"dcm2niix": float(image.header.get_zooms()[2]), "SimpleITK": volume.GetSpacing()[2]}
print(log, "spacing along the normal (1.0 is right):", steps, "far slice off by mm:", off)
ok = all(abs(s - 1 / np.cos(np.radians(15))) < 1e-3 for s in steps.values()) and all(v > 10 for v in off.values())
ok = ok and "shear" not in log.lower() and "tilt" not in log.lower()
raise SystemExit(None if ok else "changed: the shear of the slices is now kept or named")
EOF
echo "as described"
