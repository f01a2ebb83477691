"""The figures of Kossen et al. 2021, shown in grey beside ours: other patients, another scale, another 95HD."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row of Table 2: means over patients, None where the paper has no value. It prints no standard deviations."""

    dsc_validation: float | None = None
    dsc_test: float | None = None
    hd95_mm_validation: float | None = None
    hd95_mm_test: float | None = None


# Table 1: Frechet inception distance, 41,000 pairs against 41,000.
FID = {"DCGAN": 105.96, "WGAN-GP": 52.53, "WGAN-GP-SN": 38.05}
FID_N = 41_000

# Table 2, by training set and site: A is PEGASUS, B is 1000Plus.
TABLE_2 = {
    ("real", "A"): Published(0.88, 0.89, 29.50, 26.57),
    ("real+DCGAN", "A"): Published(0.89, 0.90, 30.22, 25.61),
    ("real+WGAN-GP", "A"): Published(0.89, 0.89, 28.03, 30.01),
    ("real+WGAN-GP-SN", "A"): Published(0.89, 0.89, 29.91, 26.51),
    ("DCGAN", "A"): Published(0.82, 0.79, 34.58, 31.25),
    ("WGAN-GP", "A"): Published(0.82, 0.78, 34.64, 33.70),
    ("WGAN-GP-SN", "A"): Published(0.85, 0.82, 30.88, 28.97),
    ("DCGAN", "B"): Published(None, 0.76, None, 26.79),
    ("WGAN-GP", "B"): Published(None, 0.85, None, 26.98),
    ("WGAN-GP-SN", "B"): Published(None, 0.88, None, 25.68),
}
COHORTS = {"A": "PEGASUS", "B": "1000Plus"}
N_PATIENTS = {"A": (41, 11, 14), "B": (15, 10, 40)}  # training, validation, test

# Section 4: one patient of 1000Plus, DSC and 95HD in mm on its test patients.
ONE_PATIENT = {"scratch": (0.85, 27.36), "pretrained": (0.91, 25.68)}

UNET_WIDTH = 32
GENERATOR_WIDTH = 96  # their code's
N_SYNTHETIC = 41_000
N_PATCHES_SEEN = 41_000 * 15  # of a U-Net: pairs by epochs
