"""Which label a DICOM SEG is made of."""

from __future__ import annotations

from tofgan_monai.segmentation import dicom_output
from tofgan_monai.volumes.dicom_seg import Algorithm


def test_a_seg_lies_beside_the_label_even_if_the_cohort_names_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_output, "write_seg_beside", lambda label, *_: label)
    plain, placed = ({"subject": f"sub-{n}", "image": str(tmp_path)} for n in range(2))
    placed["segmentation"] = "sub-1/anat/label.nii.gz"
    labels = dicom_output.write_segs([plain, placed], tmp_path, Algorithm("bundle", "1", "digest"))
    assert labels == [tmp_path / "sub-0_vessels.nii.gz", tmp_path / "sub-1/anat/label.nii.gz"]
