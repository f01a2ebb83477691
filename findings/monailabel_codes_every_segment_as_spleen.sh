#!/bin/sh
# MONAI Label 0.8.5: the DICOM SEG of every label says by its code that each segment is a spleen
#
# Expected: a segment's SegmentedPropertyTypeCodeSequence names the anatomy; DICOM tells programs to go by CodeValue and
#   CodingSchemeDesignator, not by CodeMeaning or SegmentLabel. Without a known code a tool asks, warns, or writes a code
#   for "tissue" (SCT 85756007).
# Seen: `nifti_to_dicom_seg`, which the server runs for each label that it stores in an archive and for
#   /infer?output=dicom_seg, writes (78961009, SCT) with the segment's name as CodeMeaning. 78961009 is the spleen, here
#   for a segment "liver" and for one "cerebral artery", side by side. The algorithm type is AUTOMATIC for corrected
#   labels, too. Nothing warns.
# Versions: monailabel 0.8.5, dcmqi 1.5.7, pydicom 2.4.5.
# Who is hurt: a research archive that is searched by codes: all labels are spleens, or none. Viewers that show the
#   meaning hide it. A client can send `segmentAttribute` in `label_info` with codes of its own.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore TMPDIR="$work"
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "torch==2.13.0" "monai==1.6.1" "numpy==1.26.4" "dcmqi==1.5.7" "pydicom==2.4.5" \
    "nibabel==5.4.2" "SimpleITK==2.5.7" "itk-io==5.4.7" "pynrrd==1.1.3" "shapely==2.2.0" "pydantic-settings==2.16.3" \
    "tqdm==4.70.1" "requests==2.34.2" "setuptools==84.2.1" "attrs==26.1.0" "pyrsistent==0.20.0" "six==1.17.0" \
    "PyYAML==6.0.3" "scikit-image==0.26.0"
"$work/env/bin/pip" install -q --no-deps "monailabel==0.8.5" "pydicom-seg==0.4.1" "jsonschema==3.2.0"
cd "$work"
PATH="$work/env/bin:$PATH" python - <<'EOF'
import os
import nibabel as nib, numpy as np, pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from monailabel.datastore.utils.convert import nifti_to_dicom_seg
os.mkdir("scan")
uids = [generate_uid() for _ in range(3)]
for z in range(4):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.is_little_endian, ds.is_implicit_VR = True, False
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex, ds.Modality = "P", "P", "", "", "MR"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyID = "", "", "", "", "1"
    ds.SeriesNumber, ds.InstanceNumber, ds.SliceThickness, ds.PixelSpacing = 1, z + 1, 1, [1, 1]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 16, 16, 1, "MONOCHROME2"
    ds.PixelRepresentation, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 0, 16, 16, 15
    ds.PixelData = np.zeros((16, 16), np.uint16).tobytes()
    ds.save_as(f"scan/{z}.dcm")
label = np.zeros((16, 16, 4), np.uint8)
label[4:8, 4:8], label[8:12, 8:12] = 1, 2
nib.save(nib.Nifti1Image(label, np.diag([-1.0, -1, 1, 1])), "label.nii.gz")
names = ["liver", "cerebral artery"]  # as 3D Slicer's module sends them: a name and a color for each segment
file = nifti_to_dicom_seg("scan", "label.nii.gz", [{"name": n, "color": [255, 0, 0]} for n in names])
segments = [(s.SegmentLabel, s.SegmentedPropertyTypeCodeSequence[0]) for s in pydicom.dcmread(file).SegmentSequence]
codes = [(name, code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) for name, code in segments]
print(*codes, sep="\n")
ok = codes == [(name, "78961009", "SCT", name) for name in names]
raise SystemExit(None if ok else "changed: the segments have other codes now")
EOF
echo "as described"
