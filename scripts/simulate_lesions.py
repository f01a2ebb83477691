"""Simulates data for another segmentation task than vessels: bright round lesions in an organ, at two hospitals.

    python scripts/simulate_lesions.py FOLDER   # writes 14 patients each to FOLDER/a and FOLDER/b, a second per patient

The images do not resemble an angiography. docs/how-to/other-tasks.md explains how to run the study on these data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

SHAPE, SPACING_MM = (160, 160, 16), (0.8, 0.8, 3.0)
SITES = {  # contrast of a lesion to the organ, noise, smoothness of the organ's texture in mm
    "a": {"contrast": (0.3, 0.7), "noise": 0.10, "smooth_mm": 3.0},
    "b": {"contrast": (0.25, 0.5), "noise": 0.14, "smooth_mm": 5.0},
}


def simulate(site: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulates one patient of a site ("a" or "b"); returns the image, the label and the organ mask, (X, Y, Z) each."""
    rng = np.random.default_rng(["ab".index(site), seed])
    settings = SITES[site]
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) * SPACING_MM
    middle = (np.array(SHAPE) * SPACING_MM) / 2
    organ = (((grid - middle) / (middle * rng.uniform(0.85, 0.97, 3))) ** 2).sum(-1) < 1
    sigma = [settings["smooth_mm"] / edge for edge in SPACING_MM]
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), sigma)
    image = 1 + 0.2 * texture / texture.std()
    label = np.zeros(SHAPE, bool)
    places = np.argwhere(organ)
    for place in places[rng.choice(len(places), 60)]:
        radius_mm = rng.uniform(2, 6, 3)
        lesion = ((((grid - place * SPACING_MM) / radius_mm) ** 2).sum(-1) < 1) & organ
        image[lesion] += rng.uniform(*settings["contrast"])
        label |= lesion
    image = ndimage.gaussian_filter(image, (0.6, 0.6, 0)) + settings["noise"] * rng.standard_normal(SHAPE)
    return np.where(organ, np.clip(image, 0, None) * 300, 0), label, organ


def write(folder: Path, n: int) -> None:
    """Simulates n patients of each hospital and writes FOLDER/a/lesion00/{image,label,mask}.nii.gz and so on."""
    for site in SITES:
        for seed in range(n):
            target = folder / site / f"lesion{seed:02d}"
            target.mkdir(parents=True, exist_ok=True)
            for name, volume in zip(("image", "label", "mask"), simulate(site, seed), strict=True):
                nifti = nibabel.Nifti1Image(volume.astype(np.int16), np.diag([*SPACING_MM, 1]))
                nibabel.save(nifti, target / f"{name}.nii.gz")


if __name__ == "__main__":
    write(Path(sys.argv[1]), 14)
