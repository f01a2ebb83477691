"""Runs the twelve faults that were silent up to commit 3d53d7a, with the code of any commit, and prints what it gives.

    git worktree add --detach ../old 3d53d7a
    python scripts/former_faults.py ../old      # the code of before
    python scripts/former_faults.py             # the present code

Each input is made anew from one small simulated head, and goes through the command line (clDice: through the function).
The script judges nothing; docs/results/README.md holds both lists beside the right values and the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from pydicom import dcmread

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
from tests.helpers.dicom import write_slice  # noqa: E402
from tests.helpers.stored_heads import AIR, KEYS, write_dicom, write_nifti  # noqa: E402

UNET = ("--bundle", "tof_mra_vessel_segmentation")
TRAIN = ("tof_mra_wgan_gp", "--pairs", "t.npy", "--validation-pairs", "t.npy", "--width", "4", "--batch_size", "8")
CL_DICE = """
import numpy as np
try:
    from tofgan_monai import cl_dice
except ImportError:
    from tofgan_monai.metrics.topology import cl_dice
tube = np.zeros((40, 12, 12), np.uint8)
tube[4:36, 4:8, 4:8] = 1
print(cl_dice(tube, tube))
"""
Volumes = dict[str, np.ndarray]


def main() -> None:
    """Runs all faults and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path, nargs="?", default=ROOT, help="checkout whose tofgan_monai runs")
    os.environ["PYTHONPATH"] = str(parser.parse_args().tree.resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        tofgan("phantom", "base", "--small", "-n", "1")
        (head,) = Path("base").iterdir()
        images = {key: nibabel.as_closest_canonical(nibabel.load(head / f"{key}.nii.gz")) for key in KEYS}
        volumes = {key: np.asarray(image.dataobj)[..., 8:16].astype(np.float32) for key, image in images.items()}
        affine = images["image"].slicer[..., 8:16].affine
        for number, fault in enumerate(FAULTS, 1):
            print(f"{number}. {fault(volumes, affine)}", flush=True)


def tofgan(*words: str) -> str:
    """What the verb printed, and its exit status as the last line."""
    return finished(started("-m", "tofgan_monai", *words))


def started(*words: str) -> subprocess.Popen[str]:
    """A process of Python."""
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What the process printed, and its exit status as the last line."""
    printed, _ = process.communicate()
    return f"{printed}\nexit status {process.returncode}"


def last_lines(printed: str, n: int = 1) -> str:
    """The exit status, and the last n lines printed before it if that is not 0."""
    *lines, status = [line.strip() for line in printed.splitlines() if line.strip()]
    return status if status.endswith(" 0") else f"{status}: {' '.join(lines[-n:])}"


def cohort(name: str, volumes: Volumes, affine: np.ndarray, *, series: bool = False, **fields: object) -> str:
    """Writes a head as a cohort of one test patient and returns its folder."""
    item = write_nifti(Path(name, "sub-01"), volumes, affine, orientation="LAS" if series else "RAS")
    if series:
        item["image"] = write_dicom(Path(name, "TOF"), volumes["image"], affine, slope_per_slice="slopes" in name)
    items = [{**item, **{key: os.path.relpath(item[key], name) for key in KEYS}, **fields}]
    Path(name, "cohort.json").write_text(json.dumps({"format": 1, "test": items}))
    return name


def dsc(folder: str) -> str:
    """The DSC of the half U-Net on a cohort of one head, or the error."""
    printed = tofgan("evaluate", folder, f"{folder}_results", *UNET)
    results = Path(f"{folder}_results", "results.jsonl")
    return f"DSC {json.loads(results.read_text())['dsc']:.3f}" if results.exists() else last_lines(printed)


def one_grid(volumes: Volumes, affine: np.ndarray) -> str:
    """A DICOM series whose label and mask have the order of voxels that dcm2niix gives them."""
    nifti, series = cohort("plain", volumes, affine), cohort("series", volumes, affine, series=True)
    return f"NIfTI {dsc(nifti)}, series {dsc(series)}"


def label_values(volumes: Volumes, affine: np.ndarray) -> str:
    """Brain tissue has a value of its own, which cohort.json maps to background."""
    classes = volumes["label"] + 2 * ((volumes["label"] == 0) & (volumes["mask"] > 0))
    fields = {"label_values": {"1": 1, "2": 0}}
    printed = tofgan("extract", cohort("classes", {**volumes, "label": classes}, affine, **fields), "c.npy", *TEST)
    share = f"{(np.load('c.npy')[:, 1] > 0).mean():.1%} of the voxels are vessel" if Path("c.npy").exists() else ""
    return share or last_lines(printed)


def rounded_pixdim(volumes: Volumes, affine: np.ndarray) -> str:
    """An sform whose steps differ from the rounded pixdim, and a qform without a code."""
    image = nibabel.Nifti1Image(volumes["image"], affine, dtype=np.float32)
    image.set_qform(np.eye(4), 0)
    image.header["pixdim"][1:4] = np.add(voxel_sizes(affine), (4e-5, 0, 0))
    Path("pixdim").mkdir()
    nibabel.save(image, "pixdim/s_tof.nii.gz")
    items = [{"subject": "s", "patient": "s", "image": "s_tof.nii.gz"}]
    Path("pixdim", "cohort.json").write_text(json.dumps({"format": 1, "test": items}))
    printed = tofgan("segment", "pixdim", "labels", *UNET)
    for label in Path("labels").rglob("*.nii.gz"):
        corner = np.array(image.shape) - 1
        off = np.linalg.norm(apply_affine(nibabel.load(label).affine, corner) - apply_affine(affine, corner))
        return f"the label's last corner lies {off:.1f} mm off"
    return last_lines(printed)


def slopes(volumes: Volumes, affine: np.ndarray) -> str:
    """A series of small intensities with a slope a slice; its pairs are compared with those of its values as NIfTI."""
    low = {**volumes, "image": np.rint(volumes["image"] * 20 / volumes["image"].max())}
    series = cohort("slopes", low, affine, series=True)
    slices = sorted(map(dcmread, Path(series, "TOF").iterdir()), key=lambda one: float(one.ImagePositionPatient[2]))
    low["image"] = np.stack([one.pixel_array.T[::-1, ::-1] * float(one.RescaleSlope) for one in slices], axis=-1)
    for folder in (series, cohort("low", low, affine)):
        tofgan("extract", folder, f"{folder}.npy", *TEST)
    if not Path("slopes.npy").exists():
        return "no pairs"
    image, label = np.abs(np.load("low.npy").astype(float) - np.load("slopes.npy")).max(axis=(0, 2, 3))
    return f"the pairs' images differ by up to {image / 2:.1%} of their range, their labels by {label:.0f}"


def black(volumes: Volumes, affine: np.ndarray) -> str:
    """Air at -1024."""
    found = []
    for name in ("0", "-1024"):
        folder = cohort(f"air{name}", {**volumes, "image": AIR[name](volumes["image"])}, affine)
        tofgan("prepare", folder, f"air{name}_prepared")
        found.append(f"air at {name}: {dsc(f'air{name}_prepared')}")
    return ", ".join(found)


def bias_field(volumes: Volumes, affine: np.ndarray) -> str:
    """N4 on intensities of 0 to 1."""
    low = {**volumes, "image": volumes["image"] / volumes["image"].max()}
    printed = tofgan("prepare", cohort("n4", low, affine), "n4_prepared", "--bias-field")
    images = list(Path("n4_prepared").rglob("image.nii.gz"))
    nan = f", {np.isnan(nibabel.load(images[0]).get_fdata()).mean():.0%} of the voxels are NaN" if images else ""
    return last_lines(printed) + nan


def thinning(volumes: Volumes, affine: np.ndarray) -> str:
    """Centreline Dice of a straight tube of 4x4 voxels with itself."""
    return finished(started("-c", CL_DICE)).splitlines()[-3]


def table(volumes: Volumes, affine: np.ndarray) -> str:
    """A table of patients with semicolons; two scans of one patient, two of another one."""
    for i in range(4):
        write_nifti(Path("table", f"s{i}"), {**volumes, "image": volumes["image"] + i}, affine)
    rows = ["participant_id;patient", *(f"s{i};P-{'AB'[i // 2]}" for i in range(4))]
    Path("table", "participants.tsv").write_text("\n".join(rows) + "\n")
    printed = tofgan("check", "table", "--n-vessel", "50")
    return f"{last_lines(printed)}, {len({item['patient'] for item in listed('table/cohort.json')})} patients"


def links(volumes: Volumes, affine: np.ndarray) -> str:
    """Three scans of a study: one folder, and two links into a store that lies in the same data set."""
    for i, place in enumerate(("store", "store", "study")):
        write_nifti(Path("data", place, f"s{i}"), {**volumes, "image": volumes["image"] + i}, affine)
        if place == "store":
            Path("data", "study").mkdir(exist_ok=True)
            Path("data", "study", f"s{i}").symlink_to(Path("..", place, f"s{i}"))
    patterns = (word for key in ("image", "label") for word in (f"--{key}", f"study/{{subject}}/{key}.nii.gz"))
    printed = tofgan("check", "data", "--n-vessel", "50", *patterns)
    return f"{last_lines(printed)}, {len(listed('data/cohort.json'))} of 3 scans"


def listed(path: str) -> list[dict]:
    """All items of a cohort.json."""
    splits = json.loads(Path(path).read_text()) if Path(path).exists() else {}
    return [item for key, items in splits.items() if key != "format" for item in items]


def hash_in_path(volumes: Volumes, affine: np.ndarray) -> str:
    """A training whose output folder has a number sign in its name."""
    tofgan("extract", "plain", "t.npy", *TEST)
    status = last_lines(tofgan("train", *TRAIN, "--max_epochs", "1", "--output-dir", "run #2"))
    return f"{status}; " + "; ".join(f"'{p}' holds {len([*p.iterdir()])} files" for p in sorted(Path().glob("run*")))


def stacks(volumes: Volumes, affine: np.ndarray) -> str:
    """Series of six slices: an oblique one, one aside, a sheared stack, one of another pixel spacing."""
    tilted = (float(np.cos(0.1)), 0, float(np.sin(0.1)), 0, 1, 0)
    kinds: dict[str, Callable[[int], dict]] = {
        "oblique": lambda i: {"directions": tilted} if i == 2 else {},
        "aside": lambda i: {"beside": 3.0 * (i > 3)},
        "sheared": lambda i: {"beside": 0.2 * i},
        "spacing": lambda i: {"spacing": (0.5, 0.7)} if i == 2 else {},
    }
    rng = np.random.default_rng(0)
    for name, tags_of in kinds.items():
        for i, one in enumerate(rng.integers(0, 1000, (6, 100, 110))):
            tags = {"beside": 0.0, **tags_of(i)}
            place = (-30.0 + tags.pop("beside"), -25, 0.7 * i)
            write_slice(Path("stacks", name, "TOF", f"IM{i}.dcm"), one, place, **tags)
    printed = tofgan("check", "stacks", "--no-split")
    return f"{last_lines(printed, 4)}, {len(listed('stacks/cohort.json'))} of 4 series accepted"


def two_trainings(volumes: Volumes, affine: np.ndarray) -> str:
    """Two trainings with other seeds, started together in one folder."""
    words = ("-m", "tofgan_monai", "train", *TRAIN, "--max_epochs", "3", "--output-dir", "both")
    both = [started(*words, "--seed", seed) for seed in ("1", "2")]
    return "; ".join(last_lines(finished(one)) for one in both)


TEST = ("--split", "test", "--n-vessel", "30", "--n-random", "30")
FAULTS = (
    one_grid, label_values, rounded_pixdim, slopes, black, bias_field, thinning, table, links, hash_in_path, stacks,
    two_trainings,
)  # fmt: skip

if __name__ == "__main__":
    main()
