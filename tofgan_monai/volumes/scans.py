"""Functions that find each subject's image, label and brain mask in plain folders, BIDS trees or DICOM exports.

`tofgan_monai.volumes.patterns` says what a pattern is. The names that the image's pattern finds for `{subject}` and
`{session}` are inserted into the patterns of the label and the mask.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.bids import own_derivatives
from tofgan_monai.volumes.dicom_checks import some
from tofgan_monai.volumes.patterns import filled_in, matches_of, refuse_odd_pattern

_NIFTI = re.compile(r"\.(nii|NII)(\.(gz|GZ))?$")  # for scan.Nii, nibabel 5.4.2 would read scan.nii
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Names of labels and masks that are read through ITK; images in these formats are not."""
_OTHERS = (*ITK_ENDINGS, ".hdr", ".img", ".mgz", ".mgh", ".nii", ".nii.gz")
_CONVERT = (
    "convert images to NIfTI (.nii.gz); name a label or a mask in .nrrd, .nhdr, .mha or .mhd by a pattern such as "
    '--label "{subject}/label.seg.nrrd"'
)


class Layout(NamedTuple):
    """Patterns of the images, labels and masks of one kind of folder; the first pattern that finds a file is used."""

    image: str
    label: tuple[str, ...]
    mask: tuple[str, ...]


PLAIN = Layout("{subject}/image.nii.gz", ("{subject}/label.nii.gz",), ("{subject}/mask.nii.gz",))
BIDS = Layout(
    "sub-*/**/anat/{subject}_angio.nii.gz",
    tuple(f"derivatives/**/{{subject}}_*{ending}.nii.gz" for ending in ("vessel*", "label", "dseg")),
    ("derivatives/**/{subject}_*desc-brain_mask.nii.gz",),
)
DICOM = Layout("{subject}/**", PLAIN.label, PLAIN.mask)
LAYOUTS = (PLAIN, BIDS, DICOM)
FLAT = "{subject}.nii.gz"
SEGMENTED = "vessels"
"""What `tofgan segment` adds to the name of a scan for the name of its label."""


@dataclass(frozen=True)
class Scan:
    """One image with its label and mask.

    `subject` is the scan's name. All scans of a `patient` are in the same split. `session` is "" if the file name
    contains no session.
    """

    subject: str
    patient: str
    image: Path
    label: Path | None = None
    mask: Path | None = None
    session: str = ""


class Found(NamedTuple):
    """Scans of a folder, sorted by subject, and the problems and warnings about the files of the folder."""

    scans: list[Scan]
    problems: list[str]
    warnings: list[str]


def find_scans(
    folder: str | os.PathLike, *, image: str | None = None, label: str | None = None, mask: str | None = None
) -> Found:
    """Finds all scans below a folder, each with its label and its mask if these exist.

    Without a pattern for the image, the function tries plain folders, then BIDS, then DICOM (see `LAYOUTS`).

    Args:
        folder: the folder that holds the subjects.
        image: pattern of the images; see `tofgan_monai.volumes.patterns`.
        label: pattern of the vessel labels.
        mask: pattern of the brain masks.

    Raises:
        InputError: the folder does not exist, no image is found, or a pattern has no `{subject}`.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise InputError(f"{folder} is not an existing folder; give the folder that holds the subjects")
    given = {"image": image, "label": label, "mask": mask}
    for kind, pattern in given.items():
        refuse_odd_pattern(kind, pattern)
    paths, passed_over, words = _volumes_below(folder)
    layouts = LAYOUTS if image is None else (Layout(image, PLAIN.label, PLAIN.mask),)
    layout = next((layout for layout in layouts if matches_of(layout.image, paths)), None)
    if layout is None:
        raise _nothing_found(folder, [layout.image for layout in layouts], passed_over)
    found = Found([], [], words)
    matches = matches_of(layout.image, paths)
    paths += [path for path in passed_over if path.lower().endswith(ITK_ENDINGS)]  # labels and masks alone
    if label is None:
        paths = _without_own(folder, paths, found.warnings)
    labels = _choose((label,) if label else layout.label, matches, paths)
    masks = _choose((mask,) if mask else layout.mask, matches, paths)
    for keys, images in sorted(matches.items()):
        parts = dict(keys)
        subject = "_".join(parts.values())
        files: dict[str, Path] = {}
        for kind, pattern, fitting in (
            ("image", layout.image, images),
            ("label", labels, filled_in(labels, parts, paths)),
            ("mask", masks, filled_in(masks, parts, paths)),
        ):
            if len(fitting) > 1:
                found.problems.append(_ambiguous(subject, kind, fitting, f'--{kind} "{pattern}"'))
            files |= {kind: folder / fitting[0]} if fitting else {}
        session = parts.get("session") or _first_group(r"_(ses-[^_]+)", subject)
        found.scans.append(Scan(subject, default_patient(parts["subject"]), **files, session=session))
    for kind, pattern in given.items():
        if pattern and all(getattr(scan, kind) is None for scan in found.scans):
            found.problems.append(f"{folder}: no {kind} found by --{kind} {pattern}; correct or omit the pattern")
    found.warnings.extend(_orphans(labels, found.scans, folder, paths))
    used = {path.relative_to(folder).as_posix() for scan in found.scans for path in (scan.label, scan.mask) if path}
    left = [path for path in passed_over if path not in used]
    if left:
        found.warnings.append(f"{len(left)} volumes passed over: {some(left)}; {_CONVERT}")
    return found


def find_images(folder: str | os.PathLike, *, image: str | None = None) -> Found:
    """Finds all images below a folder that is to be segmented; labels and masks are not looked for.

    Without a pattern, the function tries plain folders, then BIDS, then DICOM series together with NIfTI files that lie
    directly in the folder. A scan with several images is a problem and is left out.

    Args:
        folder: the folder that holds the scans.
        image: pattern of the images; see `tofgan_monai.volumes.patterns`.

    Raises:
        InputError: the folder does not exist, no image is found, or the pattern has no `{subject}`.
    """
    folder = Path(os.path.abspath(folder))
    refuse_odd_pattern("image", image)
    paths, passed_over, words = _volumes_below(folder)
    layouts = [(PLAIN.image,), (BIDS.image,), (DICOM.image, FLAT)] if image is None else [(image,)]
    matches: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for pattern in next((patterns for patterns in layouts if any(matches_of(p, paths) for p in patterns)), ()):
        for keys, images in matches_of(pattern, paths).items():
            matches.setdefault(keys, []).extend(images)
    if not matches:
        raise _nothing_found(folder, [pattern for patterns in layouts for pattern in patterns], passed_over)
    found = Found([], [], words)
    named = {"_".join(dict(keys).values()): images for keys, images in sorted(matches.items())}
    for subject, images in named.items():
        if subject.removesuffix(f"_{SEGMENTED}") in named.keys() - {subject}:
            found.warnings.append(f"{images[0]}: the segmentation of another scan; left out")
        elif len(images) > 1:
            found.problems.append(_ambiguous(subject, "image", images, "now, by --image"))
        else:
            found.scans.append(Scan(subject, default_patient(subject), folder / images[0]))
    return found


def _nothing_found(folder: Path, tried: Sequence[str], passed_over: list[str]) -> InputError:
    return InputError(
        f"{folder}: no image found by {', '.join(tried)}; name the files by a pattern relative to the folder, such as "
        '--image "{subject}_tof.nii.gz" (a NIfTI file, or the folder of a DICOM series)'
        + (f"; passed over: {some(passed_over)}, {_CONVERT}" if passed_over else "")
    )


def _ambiguous(subject: str, kind: str, fitting: Sequence[str], option: str) -> str:
    return (
        f"{subject}: {len(fitting)} files or series match as {kind} ({', '.join(fitting)}); name one by a narrower "
        f"pattern than {option}"
    )


def _volumes_below(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Lists the files below a folder; returns volumes, files in other image formats, and lines about omitted links.

    The paths are relative to the folder. Volumes are NIfTI files and folders of DICOM series. Links are followed,
    except links to a folder above the link and links to missing files. Hidden files are omitted.
    """
    volumes: list[str] = []
    others: list[str] = []
    words: list[str] = []

    def unreadable(error: OSError) -> None:
        words.append(f"{error.filename}: a folder that cannot be read ({error.strerror}); left out")

    for root, folders, files in os.walk(folder, followlinks=True, onerror=unreadable):
        relative = Path(root).relative_to(folder)
        names = sorted(name for name in folders if not name.startswith("."))
        loops = [name for name in names if os.path.islink(os.path.join(root, name)) and _leads_up(root, name)]
        words += [f"{(relative / name).as_posix()}: a link to a folder that it lies in; not followed" for name in loops]
        folders[:] = [name for name in names if name not in loops]
        visible = sorted(name for name in files if not name.startswith("."))
        for name in visible:
            path, lower = (relative / name).as_posix(), name.lower()
            if _NIFTI.search(name):
                volumes.append(path)
            elif lower.endswith(_OTHERS):
                others.append(path)
            elif not os.path.exists(os.path.join(root, name)):
                target = os.readlink(os.path.join(root, name))
                words.append(f"{path}: a link to {target}, which does not exist; not followed")
        if root != str(folder) and any(is_dicom(os.path.join(root, name)) for name in visible):
            volumes.append(relative.as_posix())
    return volumes, others, words


def _leads_up(root: str, name: str) -> bool:
    """Whether the link `name` in the folder `root` leads to `root` or to a folder above `root`."""
    target = os.path.realpath(os.path.join(root, name))
    walked = [os.path.realpath(folder) for folder in (root, *map(str, Path(root).parents))]
    return target in walked or os.path.realpath(root).startswith(target.rstrip("/") + "/")


def is_dicom(path: str | os.PathLike) -> bool:
    """Whether a file is a DICOM object by its name or by its 128-byte preamble.

    A DICOMDIR and the DICOM SEG that `tofgan segment` writes do not count.
    """
    name = os.path.basename(path).lower()
    if name == "dicomdir" or name.endswith((f"_{SEGMENTED}.dcm", ".nii", ".nii.gz", ".json", ".tsv", ".txt")):
        return False
    if name.endswith((".dcm", ".ima")):
        return True
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _without_own(folder: Path, paths: list[str], warnings: list[str]) -> list[str]:
    """Returns the paths in a BIDS tree that do not lie in a folder of segmentations by this program; warns of others.

    Whoever trained on such segmentations would only train the network on itself.
    """
    for own in own_derivatives(folder):
        n_before = len(paths)
        paths = [path for path in paths if not path.startswith(f"{own}/")]
        if len(paths) < n_before:
            remedy = f"if a person has corrected them, give --label '{own}/**/{{subject}}_label-vessel_mask.nii.gz'"
            warnings.append(f"{own}: segmentations by this program, not taken as labels; {remedy}")
    return paths


def _choose(patterns: tuple[str, ...], matches: Mapping, paths: list[str]) -> str | None:
    """Returns the first pattern that finds a file for at least one scan; None if no pattern finds a file."""
    finds = (pattern for pattern in patterns if any(filled_in(pattern, dict(keys), paths) for keys in matches))
    return next(finds, None)


def _orphans(labels: str | None, scans: list[Scan], folder: Path, paths: list[str]) -> list[str]:
    used = {scan.label for scan in scans}
    every = [path for found in matches_of(labels, paths).values() for path in found] if labels else []
    return [f"{path}: a label without an image; left out" for path in sorted(every) if folder / path not in used]


def default_patient(subject: str) -> str:
    """Returns the patient's name: `sub-01` for the BIDS name `sub-01_ses-02_run-1`; any other name is unchanged."""
    return _first_group(r"^(sub-[^_]+)", subject) or subject


def _first_group(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
