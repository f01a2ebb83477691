"""Small heads on the disk: noisy air, a block of brain with bright vessels in it, tissue without vessels around it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from tofgan_monai.phantom import head_name
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.volumes.volume import SIMULATED

AIR, TISSUE, VESSEL = 5, 100, 400


def write_small_head(
    folder: Path, seed: int = 0, *, shape: tuple[int, int, int] = (48, 56, 20), mask: bool = True, kind: str = "real"
) -> dict[str, str]:
    """Writes a head of whole numbers in RAS order; returns its item in a cohort. Vessels run along the last axis."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.indices(shape)
    radius = np.hypot((x - shape[0] / 2) / shape[0], (y - shape[1] / 2) / shape[1])
    head, brain = radius < 0.42, radius < 0.3
    label = np.zeros(shape, np.uint8)
    for _ in range(3):
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
        i, j = (int(n / 2 + away * n * turn(angle)) for n, turn in zip(shape, (np.cos, np.sin), strict=False))
        label[i : i + 2, j : j + 2] = 1
    image = np.where(label, VESSEL, np.where(head, TISSUE, 0)) + np.abs(rng.normal(0, AIR, shape))
    folder.mkdir(parents=True)
    volumes = {"image": np.rint(image).astype(np.int16), "label": label, "mask": brain.astype(np.uint8)}
    files = {}
    for name, volume in volumes.items():
        if name != "mask" or mask:
            nifti = nib.Nifti1Image(volume, np.diag([0.5, 0.5, 0.7, 1]))
            nifti.header["descrip"] = SIMULATED + b", version %d" % VERSION if kind == "simulated" else b""
            nib.save(nifti, files.setdefault(name, folder / f"{name}.nii.gz"))
    told = {"kind": kind, "simulation": VERSION} if kind == "simulated" else {"kind": kind}
    return {"subject": folder.name, "patient": folder.name, **told} | {k: str(v) for k, v in files.items()}


def write_small_heads(folder: str, source: str, seeds: list[int], *, small: bool = False, workers: int = 1) -> None:
    """Stands for `phantom.write_heads`, which takes seconds for a head."""
    for seed in seeds:
        write_small_head(Path(folder) / head_name(source, seed), seed, kind="simulated")
