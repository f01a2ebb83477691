"""The comparisons of scripts/check_external.sh: SEGs against labels, and what an archive holds.

python scripts/check_dicom.py versions | same SEG ... | as-dcmqi NIFTI LABEL | archive URL STEP [PATH ...]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from dicomweb_client import DICOMwebClient
from nibabel.affines import voxel_sizes

from tofgan_monai import InputError
from tofgan_monai.metrics.segmentation.overlap import overlap
from tofgan_monai.phantom import Head, simulate_head
from tofgan_monai.phantom.dicom import write_series
from tofgan_monai.volumes.dicom_extra import as_bytes
from tofgan_monai.volumes.dicom_seg import Algorithm, write_seg
from tofgan_monai.volumes.dicomweb import fetch_series, open_archive, store
from tofgan_monai.volumes.itk_files import read_itk
from tofgan_monai.volumes.reading import onto_grid
from tofgan_monai.volumes.volume import Volume, load_volume

FULL = (312, 384, 127)


def main(what: str, *words: str) -> None:
    """Runs one comparison; see the module's docstring."""
    if what == "versions":
        names = ("monai", "itk", "pydicom", "highdicom", "dicomweb-client")
        print(", ".join(f"{name} {version(name)}" for name in names))
    elif what == "same":
        for seg in map(Path, words):
            compare(Volume(*read_itk(seg)), load_volume(seg.with_suffix(".nii.gz")), f"ITK, {seg.name}")
    elif what == "as-dcmqi":
        found, label = map(load_volume, words)
        compare(found, label, "dcmqi")
    else:
        url, step, *paths = words
        STEPS[step](open_archive(url), list(map(Path, paths)))


def compare(found: Volume, label: Volume, who: str) -> None:
    """Raises an InputError unless a SEG that `who` has read has the voxels and the place of a label."""
    turned = onto_grid(found, label)
    if not np.array_equal(turned.voxels > 0, label.voxels > 0):
        raise InputError(f"{who}: the voxels differ from the label's")
    print(f"{who}: {int((label.voxels > 0).sum())} voxels, the same in the same place")


def studies(client: DICOMwebClient) -> list[str]:
    """Returns the StudyInstanceUIDs of an archive."""
    return sorted(row["0020000D"]["Value"][0] for row in client.search_for_studies())


def modalities(client: DICOMwebClient, study: str) -> dict[str, str]:
    """Returns a dict from modality to SeriesInstanceUID of the series of a study."""
    return {row["00080060"]["Value"][0]: row["0020000E"]["Value"][0] for row in client.search_for_series(study)}


def wait(client: DICOMwebClient, _: Sequence[Path]) -> None:
    """Returns when the archive answers; five minutes, as Orthanc took one to start on a busy machine."""
    for _attempt in range(600):
        try:
            client.search_for_studies(limit=1)
            return
        except OSError:
            time.sleep(0.5)
    raise InputError("the archive does not start")


def store_series(client: DICOMwebClient, folders: Sequence[Path]) -> None:
    """Stores all slices in folders."""
    files = sorted(path for folder in folders for path in folder.iterdir())
    for path in files:
        store(client, path)
    print(f"{len(files)} slices stored")


def compare_archive(client: DICOMwebClient, folders: Sequence[Path]) -> None:
    """Compares the SEG of each study with the label that `segment` wrote, and with the head's true label.

    Args:
        client: client of the archive.
        folders: the output folder of `segment`, and the folder of the simulated heads.
    """
    output, heads = folders
    for study in studies(client):
        of = modalities(client, study)
        (seg,) = client.retrieve_series(study, of["SEG"])
        (output / "stored.dcm").write_bytes(as_bytes(seg))
        label = load_volume(output / f"{of['MR']}_vessels.nii.gz")
        stored = Volume(*read_itk(output / "stored.dcm"))
        compare(stored, label, f"from the archive, {seg.PatientID}")
        source = load_volume(fetch_series(client, study, output / "again", series=of["MR"]))
        truth = onto_grid(load_volume(heads / str(seg.PatientID) / "label.nii.gz"), source)
        found = onto_grid(stored, source).voxels > 0
        inside, outside = source.voxels[found].mean(), source.voxels[~found].mean()
        dsc = overlap(found, truth.voxels > 0, spacing_mm=voxel_sizes(source.affine)).dsc
        print(f"{seg.PatientID}: mean intensity {inside:.0f} in the SEG, {outside:.0f} outside, DSC {dsc:.3f}")


def store_large(client: DICOMwebClient, folders: Sequence[Path]) -> None:
    """Stores a SEG of the size of a whole head, which is sent in chunks, twice; the archive keeps it once."""
    small = simulate_head("A", 10_002, small=True)
    pad = [(0, full - n) for full, n in zip(FULL, small.image.shape, strict=True)]
    image, label = np.pad(small.image, pad), np.pad(small.label, pad)
    series, seg = folders[0] / "large", folders[0] / "large.dcm"
    write_series(series, Head(image, label, label, small.affine, small.parameters), "sub-large")
    write_seg(seg, label, small.affine, series=series, algorithm=Algorithm("truth", "1", "0" * 64))
    for _ in range(2):
        store(client, seg)
    study = pydicom.dcmread(seg, stop_before_pixels=True).StudyInstanceUID
    (stored,) = client.retrieve_series(study, modalities(client, study)["SEG"])
    (folders[0] / "back.dcm").write_bytes(as_bytes(stored))
    compare(Volume(*read_itk(folders[0] / "back.dcm")), Volume(label, small.affine), f"{seg.stat().st_size} bytes")


def count(client: DICOMwebClient, _: Sequence[Path]) -> None:
    """Prints how many instances of each modality the archive holds."""
    held = Counter(
        {
            (study, kind): len(client.search_for_instances(study, uid))
            for study in studies(client)
            for kind, uid in modalities(client, study).items()
        }
    )
    for kind in sorted({kind for _, kind in held}):
        numbers = [n for (_, one), n in held.items() if one == kind]
        print(f"the archive holds {len(numbers)} series of {kind} with {sum(numbers)} instances")


STEPS = {
    "wait": wait,
    "store": store_series,
    "studies": lambda client, _: print(*studies(client), sep="\n"),
    "compare": compare_archive,
    "large": store_large,
    "count": count,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
