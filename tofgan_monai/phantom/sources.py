"""The sources of simulated heads as a table of parameter ranges, and the seeds reserved for each use.

A source is a simulated site. Sources A and B stand for the patients of two hospitals. Source C is public; its ranges
are much wider. Source P ("plain") stands for no site and no patients: it has C's anatomy, healthy, in a scan without
noise or artefacts, and a `Refiner` learns from patients how a scan of this anatomy looks. VERSION names the state of
this simulation: version 2 has widened C, and A and B have kept their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]
VERSION = 2

# The ranges are disjoint, so that no shipped weights were trained on a head that a test uses.
SEEDS: dict[str, range] = {"weights": range(0, 10_000), "demo": range(10_000, 20_000), "study": range(20_000, 30_000)}


@dataclass(frozen=True)
class Parameter:
    """A quantity that is drawn for each head from a uniform distribution over a range.

    Attributes:
        name: name of the quantity.
        unit: unit of the quantity; empty for a ratio.
        A: lowest and highest value at source A.
        B: lowest and highest value at source B.
        C: lowest and highest value at source C.
        meaning: explanation of the quantity.
        log: True if the logarithm of the quantity has the uniform distribution.
    """

    name: str
    unit: str
    A: Range
    B: Range
    C: Range
    meaning: str
    log: bool = False

    def range_of(self, source: str) -> Range:
        """Returns the lowest and the highest value at source "A", "B", "C" or "P"."""
        return PLAIN.get(self.name, self.C) if source == "P" else getattr(self, source)


_p = Parameter


PARAMETERS: tuple[Parameter, ...] = (
    # acquisition
    _p("spacing_x", "mm", (0.5, 0.5), (0.5, 0.5), (0.3, 0.8), "voxel size, first axis"),
    _p("spacing_y_ratio", "", (1.0, 1.0), (1.4, 1.4), (1.0, 1.15), "voxel size of the second axis over the first axis"),
    _p("spacing_z", "mm", (0.7, 0.7), (0.7, 0.7), (0.5, 1.0), "slice distance"),
    _p("tilt", "degrees", (0, 6), (0, 6), (0, 15), "largest rotation of the field of view about each axis"),
    _p("repetition_time", "ms", (21, 23), (24, 27), (15, 45), "TR"),
    _p("flip_angle", "degrees", (17, 19), (20, 23), (14, 30), "excitation at the middle of a slab"),
    _p("flip_ramp", "", (0.1, 0.2), (0.25, 0.4), (0.0, 0.5), "rise of the flip angle over a slab (TONE)"),
    _p("slab", "mm", (28, 34), (38, 46), (18, 65), "thickness of a slab"),
    _p("slab_edge", "", (0.04, 0.10), (0.12, 0.20), (0.0, 0.25), "loss of flip angle at a slab's edges"),
    _p("magnetisation_transfer", "", (0.72, 0.78), (0.84, 0.92), (0.5, 1.0), "brain signal kept under MT"),
    _p("blur", "", (0.00, 0.04), (0.07, 0.11), (0.0, 0.22), "weight of each in-plane neighbour in the point spread"),
    _p("snr", "", (9.5, 12.5), (7, 9), (3.5, 30), "signal of grey matter over noise", log=True),
    _p("noise_blur", "", (0.00, 0.04), (0.10, 0.16), (0.0, 0.25), "weight of each in-plane neighbour in the noise"),
    _p("bias", "", (0.10, 0.15), (0.17, 0.22), (0.0, 0.35), "standard deviation of the log of the coil's sensitivity"),
    _p("coil_rim", "", (0.05, 0.15), (0.25, 0.40), (0.0, 0.6), "gain at the head's surface over the gain inside"),
    _p("grey_level", "", (200, 300), (70, 110), (40, 1000), "value of grey matter in the exported image", log=True),
    _p("gamma", "", (1, 1), (1, 1), (0.7, 1.4), "power law of the export"),
    _p("window", "grey matter", (99, 99), (99, 99), (1.7, 12), "intensity at which the export clips", log=True),
    # tissue
    _p("white_matter", "", (0.95, 1.05), (1.06, 1.16), (0.85, 1.25), "factor on the signal of white matter"),
    _p("csf", "", (0.55, 0.75), (0.75, 0.95), (0.3, 1.1), "factor on the signal that T1 gives for fluid (pulsation)"),
    _p("fat", "", (0.75, 1.0), (0.35, 0.55), (0.0, 1.6), "factor on the signal that T1 gives for fat (saturation)"),
    _p("texture", "", (0.04, 0.06), (0.06, 0.08), (0.0, 0.10), "standard deviation of the brain's texture"),
    _p("sulcus_width", "", (0.10, 0.18), (0.14, 0.24), (0.06, 0.4), "how open the sulci are (atrophy)"),
    _p("ventricles", "", (0.8, 1.2), (0.9, 1.4), (0.5, 1.8), "ventricle size"),
    _p("sleeve", "", (0.5, 0.9), (0.5, 0.9), (0.0, 1.2), "fluid around the larger arteries"),
    # anatomy
    _p("head_size", "", (0.95, 1.01), (0.92, 1.00), (0.86, 1.08), "size of the head over the template"),
    _p("head_shape", "", (0.0, 0.04), (0.0, 0.05), (0.0, 0.09), "largest relative change of each axis"),
    _p("deformation", "mm", (1.0, 2.0), (1.0, 2.0), (0.5, 3.5), "standard deviation of the surfaces' displacement"),
    _p("height", "mm", (-3, 3), (-3, 3), (-22, 8), "height of the field of view above its usual place"),
    _p("m1_radius", "mm", (1.30, 1.48), (1.14, 1.28), (0.9, 2.0), "middle cerebral artery, first segment"),
    _p("tortuosity", "", (0.5, 0.9), (1.2, 1.7), (0.3, 2.2), "waviness of the arteries"),
    _p("branch_length", "", (0.80, 0.95), (0.85, 1.0), (0.5, 1.1), "length of a branch over 42 r^0.6 mm"),
    _p("variants", "", (0.25, 0.35), (0.3, 0.45), (0.1, 0.6), "chance that a communicating artery is thin or missing"),
    _p("aneurysms", "", (0.05, 0.1), (0.05, 0.1), (0.0, 0.5), "six times the chance of one at a large artery's end"),
    _p("velocity", "mm/s", (112, 138), (210, 260), (130, 600), "velocity of blood at radius 1.5 mm", log=True),
    _p("flow_loss", "", (0.72, 0.78), (0.88, 0.96), (0.65, 1.0), "signal of blood kept under dephasing"),
    _p("flow_spread", "", (0.2, 0.3), (0.3, 0.4), (0.1, 0.6), "standard deviation of the log of a branch's velocity"),
    _p("veins", "", (1.1, 1.4), (1.15, 1.45), (0.7, 2.4), "signal of veins and sinuses over grey matter"),
    # what a rater labels as vessel: voxels that are half filled or more, or all that can be seen and followed
    _p("label_fraction", "", (0.5, 0.5), (0.5, 0.5), (0.1, 0.5), "vessel fraction from which a voxel is labelled"),
    _p("label_piece", "mm^3", (0, 0), (0, 0), (0, 20), "smallest connected piece that is labelled"),
    # added in version 2, at the end, so that the parameters above keep their draws; a value that means none means none
    # at all: k-space shares of 1 and more, amplitudes and chances of 0 and less
    _p("field_strength", "T", (3, 3), (3, 3), (1.5, 3), "scales the T1 of tissues and blood"),
    _p("kept_in_plane", "", (1, 1), (1, 1), (0.5, 1.4), "share of k-space acquired along x and y; zeros fill the rest"),
    _p("kept_through_plane", "", (1, 1), (1, 1), (0.5, 1.4), "share of k-space acquired along z; zeros fill the rest"),
    _p("slab_step", "", (0, 0), (0, 0), (-0.05, 0.12), "standard deviation of the log of a slab's gain"),
    _p(
        "motion", "", (0, 0), (0, 0), (-0.04, 0.05), "ghosts of the whole head along the phase direction, over the head"
    ),
    _p("pulsation", "", (0, 0), (0, 0), (-0.04, 0.08), "ghosts of the vessels along the phase direction, over them"),
    _p(
        "distortion",
        "voxels",
        (0, 0),
        (0, 0),
        (-2, 4),
        "shift at the head's rim that the scanner has interpolated away",
    ),
    _p("sharpening", "", (0, 0), (0, 0), (-0.6, 1.2), "weight of the unsharp mask that the scanner applies"),
    _p("block_noise", "grey levels", (0, 0), (0, 0), (-6, 8), "quantisation of 8x8 cosine blocks of an 8-bit export"),
    _p("coverage", "mm", (88.9, 88.9), (88.9, 88.9), (50, 110), "extent of the field of view along z"),
    _p("carotid", "", (1, 1), (1, 1), (0.85, 1.5), "factor on the radius of the internal carotids"),
    _p("cortical_veins", "", (30, 30), (30, 30), (10, 90), "number of veins on the surface of the brain"),
    _p("face_vessels", "", (0, 0), (0, 0), (-0.3, 1.3), "factor on the radii of vessels below and outside the skull"),
    _p("marrow", "", (0, 0), (0, 0), (-0.3, 1), "fat in the marrow of the skull base, over pure fat"),
    _p("stenoses", "", (0, 0), (0, 0), (-0.2, 0.3), "chance of a stenosis in each artery of the circle of Willis"),
    _p(
        "occlusions", "", (0, 0), (0, 0), (-0.06, 0.06), "chance of an occlusion in each artery of the circle of Willis"
    ),
    _p("moyamoya", "", (0, 0), (0, 0), (-0.1, 0.15), "chance of a narrowed carotid end with collaterals on each side"),
    _p(
        "label_contrast", "grey matter", (0, 0), (0, 0), (0.0, 1.6), "intensity beside a voxel for which it is labelled"
    ),
)

# Where source P differs from C: healthy arteries that are labelled by one rule, in a clean scan of one voxel size.
PLAIN: dict[str, Range] = {
    **dict.fromkeys(("blur", "noise_blur", "slab_step", "motion", "pulsation", "distortion", "sharpening"), (0, 0)),
    **dict.fromkeys(("block_noise", "face_vessels", "marrow", "stenoses", "occlusions", "moyamoya"), (0, 0)),
    **dict.fromkeys(("label_piece", "label_contrast"), (0, 0)),
    **dict.fromkeys(("spacing_y_ratio", "gamma", "kept_in_plane", "kept_through_plane", "carotid"), (1, 1)),
    "spacing_x": (0.5, 0.5),
    "spacing_z": (0.7, 0.7),
    "tilt": (0, 6),
    "repetition_time": (22, 26),
    "flip_angle": (18, 21),
    "flip_ramp": (0.1, 0.3),
    "slab": (28, 45),
    "slab_edge": (0.05, 0.15),
    "magnetisation_transfer": (0.75, 0.85),
    "snr": (1000, 1000),
    "bias": (0.0, 0.2),
    "coil_rim": (0.0, 0.3),
    "grey_level": (1000, 1000),
    "window": (99, 99),
    "white_matter": (0.95, 1.15),
    "csf": (0.5, 0.95),
    "fat": (0.3, 1.0),
    "texture": (0.03, 0.08),
    "sulcus_width": (0.08, 0.3),
    "ventricles": (0.7, 1.5),
    "head_size": (0.9, 1.03),
    "height": (-3, 3),
    "m1_radius": (1.0, 1.6),
    "tortuosity": (0.4, 1.8),
    "velocity": (110, 300),
    "flow_loss": (0.7, 0.95),
    "veins": (1.0, 1.5),
    "label_fraction": (0.5, 0.5),
    "field_strength": (3, 3),
    "cortical_veins": (30, 40),
}

FULL_SHAPE: dict[str, tuple[int, int, int]] = {
    "A": (312, 384, 127), "B": (384, 268, 127), "P": (312, 384, 127)
}  # fmt: skip
SMALL_SHAPE = (192, 192, 24)
SOURCES: dict[str, dict[str, Range]] = {s: {p.name: p.range_of(s) for p in PARAMETERS} for s in "ABC"}


def own_spacing(source: str) -> np.ndarray:
    """Returns the voxel size (3,) in mm of source "A", "B" or "P", which is the same for all of its heads."""
    x, ratio, z = (p.range_of(source)[0] for p in PARAMETERS if p.name.startswith("spacing"))
    return np.array([x, x * ratio, z])


def draw_parameters(source: str, rng: np.random.Generator) -> dict[str, float]:
    """Draws the parameters of one head from the ranges of its source; returns a dict from name to value."""
    drawn = {}
    for parameter in PARAMETERS:
        low, high = map(np.log, parameter.range_of(source)) if parameter.log else parameter.range_of(source)
        value = low + rng.random() * (high - low)
        drawn[parameter.name] = float(np.exp(value) if parameter.log else value)
    return drawn
