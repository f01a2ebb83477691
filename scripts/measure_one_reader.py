"""Stores one simulated head in 84 ways, and measures whether all verbs see the same head in each of them.

    nice -n 10 python scripts/measure_one_reader.py FOLDER      # goes on where it was stopped

The ways are NIfTI in eight orientations x three roundings of pixdim x three intensities of air, and DICOM in two orders
of the slices x with and without a slope a slice x three intensities of air. Each way goes through `check`, `prepare`,
`extract`, `segment` (of the stored head) and `evaluate` (of the stored and of the prepared head), with the shipped half
U-Net. A line of FOLDER/one_reader.jsonl holds the differences from the first way. The script prints the largest of them
as a table in Markdown, which docs/results/README.md holds, and ends with status 1 if one exceeds its limit.

Images and pairs are compared in shares of their range, after the same change of intensity. A label lies off by the
largest distance of a corner from its place, which nibabel reads from the scan, or for DICOM from the head as NIfTI.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.affines import apply_affine
from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
from tests.helpers.stored_heads import AIR, KEYS, ORIENTATIONS, PIXDIM, write_dicom, write_nifti  # noqa: E402
from tofgan_monai import extract, prepare, read_cohort  # noqa: E402
from tofgan_monai.bundle_runs.paths import bundle_path  # noqa: E402
from tofgan_monai.bundle_runs.runs import run_bundle  # noqa: E402
from tofgan_monai.phantom import SEEDS, simulate_head  # noqa: E402
from tofgan_monai.volumes.cohort import check_cohort  # noqa: E402
from tofgan_monai.volumes.reading import read_scan  # noqa: E402
from tofgan_monai.volumes.volume import Volume, to_ras  # noqa: E402

AIRS = ("0", "-1024", "z-scored")
CROP = (slice(0, 160), slice(160, 304), slice(42, 50))  # a tenth is air, a quarter is outside the brain
LIMITS = {
    "label voxels": 0,
    "image": 1e-3,
    "prepared label voxels": 0,
    "prepared image": 1e-3,
    "pairs' label voxels": 0,
    "pairs": 1e-3,
    "1 - DSC against the first segmentation": 1e-3,
    "DSC": 1e-3,
    "DSC, not prepared": 1e-3,
    "written label off its place, mm": 1e-3,
}
Volumes = dict[str, np.ndarray]


def main() -> None:
    """Measures the ways that are not in the file of results yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder for the results and, during a way, its files")
    folder = parser.parse_args().folder
    logging.disable(logging.INFO)
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "one_reader.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    volumes, affine = head()
    shutil.rmtree(folder / "first", ignore_errors=True)
    first = seen(folder / "first", ways()[0], volumes, affine)
    for way in tqdm(ways(), unit="way"):
        if way not in [line["way"] for line in done]:
            began = time.monotonic()
            shutil.rmtree(folder / "way", ignore_errors=True)
            found = seen(folder / "way", way, volumes, affine)
            line = {"way": way, **differences(found, first, AIR[way["air"]]), "dsc": found["dsc"]}
            done.append(line | {"seconds": round(time.monotonic() - began, 1)})
            with open(results, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(done[-1]) + "\n")
    shutil.rmtree(folder / "way", ignore_errors=True)
    shutil.rmtree(folder / "first")
    for row in table(done):
        print(row)
    sys.exit(any(line[name] > limit for line in done for name, limit in LIMITS.items()))


def ways() -> list[dict[str, Any]]:
    """Returns the 84 ways of storing the head; the first is the one to which all others are compared."""
    nifti = itertools.product(ORIENTATIONS, PIXDIM, AIRS)
    dicom = itertools.product((False, True), (False, True), AIRS)
    return [
        *({"format": "NIfTI", "orientation": axes, "pixdim": pixdim, "air": air} for axes, pixdim, air in nifti),
        *({"format": "DICOM", "backwards": one, "slope a slice": own, "air": air} for one, own, air in dicom),
    ]


def head() -> tuple[Volumes, np.ndarray]:
    """Returns the volumes of a part of a simulated head in RAS order, 160x144x8, and their affine (4, 4)."""
    made = simulate_head("A", SEEDS["demo"][0])
    volumes = {key: np.asarray(getattr(made, key), np.float32)[CROP] for key in KEYS}
    return volumes, made.affine @ nibabel.affines.from_matvec(np.eye(3), [part.start for part in CROP])


def seen(folder: Path, way: dict[str, Any], volumes: Volumes, affine: np.ndarray) -> dict[str, Any]:
    """Stores the head in one way and runs the verbs; returns what they make of it, all volumes in RAS order."""
    stored = {**volumes, "image": AIR[way["air"]](volumes["image"])}
    clinic = folder / "clinic"
    if way["format"] == "NIfTI":
        item = write_nifti(clinic / "sub-01", stored, affine, orientation=way["orientation"], pixdim=way["pixdim"])
        scan = nibabel.load(item["image"]).affine
    else:
        write_nifti(clinic / "sub-01", {key: stored[key] for key in KEYS[1:]}, affine, orientation="LAS")
        given = {"backwards": way["backwards"], "slope_per_slice": way["slope a slice"]}
        write_dicom(clinic / "sub-01" / "TOF", stored["image"], affine, **given)
        scan = None
    check_cohort(clinic, clinic, test=["sub-01"])
    prepare(clinic, folder / "prepared")
    extract(folder / "prepared", folder / "pairs.npy", split="test", n_vessel=100, n_random=100)
    bundle = bundle_path("tof_mra_vessel_segmentation")
    inference, dsc = ["inference.yaml"], []
    for cohort, name in ((clinic, "stored"), (folder / "prepared", "scores")):
        given = {"dataset_dir": str(cohort), "output_dir": str(folder / name), "device": "cpu"}
        if cohort == clinic:
            run_bundle(bundle, inference, given)
        run_bundle(bundle, [*inference, "evaluate.yaml"], given)
        dsc.append(json.loads((folder / name / "results.jsonl").read_text())["dsc"])
    label: Any = nibabel.load(folder / "stored" / "sub-01_vessels.nii.gz")
    return {
        "read": _ras(read_scan(read_cohort(clinic, "test")[0])),
        "prepared": _ras(read_scan(read_cohort(folder / "prepared", "test")[0])),
        "pairs": np.load(folder / "pairs.npy").astype(np.float32),
        "label": to_ras(Volume(np.asarray(label.dataobj), label.affine)).voxels > 0,
        "dsc": dsc,
        "off": _off(label, affine, scan),
    }


def differences(found: dict[str, Any], first: dict[str, Any], air: Any) -> dict[str, float]:
    """Returns the differences between two results of `seen` by the names in LIMITS."""
    expected = air(first["read"]["image"])
    masked = np.where(first["read"]["mask"] > 0, expected, expected.min())
    overlap = 2 * (found["label"] & first["label"]).sum() / (found["label"].sum() + first["label"].sum())
    scores = np.abs(np.subtract(found["dsc"], first["dsc"]))
    figures = (
        sum((found["read"][key] != first["read"][key]).sum() for key in KEYS[1:]),
        np.abs(found["read"]["image"] - expected).max() / np.ptp(expected),
        sum((found["prepared"][key] != first["prepared"][key]).sum() for key in KEYS[1:]),
        np.abs(found["prepared"]["image"] - masked).max() / np.ptp(masked),
        (found["pairs"][:, 1] != first["pairs"][:, 1]).sum(),
        np.abs(found["pairs"][:, 0] - first["pairs"][:, 0]).max() / 2,
        1 - overlap,
        scores[1],
        scores[0],
        found["off"],
    )
    return {name: float(figure) for name, figure in zip(LIMITS, figures, strict=True)}


def _ras(volumes: dict[str, Volume]) -> Volumes:
    return {key: to_ras(volume).voxels for key, volume in volumes.items()}


def _off(label: Any, affine: np.ndarray, scan: np.ndarray | None) -> float:
    """Returns the largest distance in mm of a corner of a written label from its place."""
    if scan is None:
        label, scan = nibabel.as_closest_canonical(label), affine
    corners = np.array(list(itertools.product(*[(0, edge - 1) for edge in label.shape])))
    return float(np.linalg.norm(apply_affine(label.affine, corners) - apply_affine(scan, corners), axis=1).max())


def table(lines: list[dict[str, Any]]) -> Iterator[str]:
    """Yields the rows of a table with the largest differences of NIfTI and of DICOM."""
    yield "| | NIfTI | DICOM | limit |\n|---|---|---|---|"
    for name, limit in LIMITS.items():
        largest = [
            f"{max((line[name] for line in lines if line['way']['format'] == kind), default=np.nan):.2g}"
            for kind in ("NIfTI", "DICOM")
        ]
        yield f"| {name} | {' | '.join(largest)} | {limit:g} |"


if __name__ == "__main__":
    main()
