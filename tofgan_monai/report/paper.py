"""Published results of Kossen et al. 2021 ("the paper"). The pages show them in grey beside our results.

The paper used other patients, another scale and another definition of the 95HD. Do not compare single values of the
paper with ours.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row of Table 2 of the paper: means over patients, None where the paper has no value.

    The paper gives no standard deviations.
    """

    dsc_validation: float | None = None
    dsc_test: float | None = None
    hd95_mm_validation: float | None = None
    hd95_mm_test: float | None = None


# Table 1: Frechet inception distance between 41,000 synthetic and 41,000 real pairs.
FID = {"DCGAN": 105.96, "WGAN-GP": 52.53, "WGAN-GP-SN": 38.05}
FID_N = 41_000

# Table 2: (training set, site of the test patients) -> means. Site A is PEGASUS, site B is 1000Plus.
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

# Section 4: (DSC, 95HD in mm) on the test patients of 1000Plus, with one patient of 1000Plus in training.
ONE_PATIENT = {"scratch": (0.85, 27.36), "pretrained": (0.91, 25.68)}

UNET_WIDTH = 32
GENERATOR_WIDTH = 96  # in the authors' published code
N_SYNTHETIC = 41_000
N_PATCHES_SEEN = 41_000 * 15  # number of pairs times number of epochs in the training of a U-Net
