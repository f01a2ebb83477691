"""The arguments and options of `segment` on where its scans come from, an archive by DICOMweb included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tofgan_monai.errors import InputError
from tofgan_monai.files import new_folder
from tofgan_monai.installation import require_extra

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

ScansArgument = Annotated[
    str,
    Argument(
        metavar="INPUT",
        help="NIfTI file, DICOM series' folder, folder of either, BIDS tree, cohort.json, or dicomweb:URL",
    ),
]
OutputArgument = Annotated[
    Path | None,
    Argument(metavar="[OUTPUT]", help="folder for the segmentations; default: derivatives/tofgan in a BIDS tree"),
]
DicomSegOption = Annotated[
    bool | None,
    Option(
        "--dicom-seg/--no-dicom-seg",
        help="write a DICOM SEG beside the label of each DICOM series; default: if the extra dicom is installed",
    ),
]
StudyOption = Annotated[str | None, Option(help="with dicomweb:URL, the StudyInstanceUID of the scan")]
SeriesOption = Annotated[str | None, Option(help="SeriesInstanceUID; default: the only MR series of the study")]
StoreOption = Annotated[bool, Option("--store", help="with dicomweb:URL, store the DICOM SEG in the archive")]


@contextmanager
def scans_of(
    scans: str, output_dir: Path, *, study: str | None, series: str | None, store: bool, dicom_seg: bool | None
) -> Iterator[tuple[Path, DICOMwebClient | None]]:
    """Context manager that yields the path of the scans, and the client of the archive from which they come.

    A series of an archive lies in a temporary folder within `output_dir`, which is deleted when the block ends.

    Args:
        scans: a path, which is yielded with None; or dicomweb:URL.
        output_dir: the output folder of the run.
        study: value of --study.
        series: value of --series.
        store: value of --store.
        dicom_seg: value of --dicom-seg.

    Raises:
        InputError: options contradict each other, the extra `dicom` is not installed, or the series cannot be fetched.
    """
    from tofgan_monai.volumes import dicomweb

    if dicom_seg:
        require_extra("dicom", "--dicom-seg")
    if not scans.startswith(dicomweb.PREFIX):
        if study or series or store:
            raise InputError("--study, --series and --store need an archive; give dicomweb:URL in place of a path")
        yield Path(scans), None
        return
    if not study:
        raise InputError("a scan of an archive is found by its study; give --study UID")
    if store and dicom_seg is False:
        raise InputError("--store stores the DICOM SEG that --no-dicom-seg leaves out; leave one of them out")
    archive = dicomweb.open_archive(scans.removeprefix(dicomweb.PREFIX))
    with new_folder(output_dir), TemporaryDirectory(dir=output_dir, prefix=".archive-") as folder:
        yield dicomweb.fetch_series(archive, study, Path(folder), series=series), archive
