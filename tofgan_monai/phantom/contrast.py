"""Time-of-flight contrast: the steady state of still tissue, fresh blood that saturates on its way, and the noise.

Spoiled gradient echo: after n pulses of flip angle a at distance TR the longitudinal magnetisation is

    M(n) = Mss + (M0 - Mss) (E1 cos a)^n,   Mss = M0 (1 - E1) / (1 - E1 cos a),   E1 = exp(-TR / T1)

and the signal is M sin a. Still tissue receives all pulses, blood only those since it entered the slab.
Source: Haacke et al. 1990, MRM 14:202; Parker et al. 1991, MRM 17:434 (several thin slabs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tofgan_monai.phantom.trunks import Branch

# T1 in ms at 3 T, and proton density, which for white matter includes extra magnetisation transfer.
TISSUES: dict[str, tuple[float, float]] = {
    "grey": (1450.0, 0.82), "white": (950.0, 0.60), "fluid": (4000.0, 1.0), "fat": (370.0, 0.9),
    "muscle": (1300.0, 0.75),
}  # fmt: skip
BLOOD_T1_MS = 1650.0


class Slabs:
    """The slabs of an acquisition: the slab and the flip angle at each slice position."""

    def __init__(self, drawn: Mapping[str, float], *, phase: float) -> None:
        self.drawn = drawn
        self.phase = phase

    def index(self, z_mm: np.ndarray) -> np.ndarray:
        """The index of the slab that images each position."""
        return np.floor(z_mm / self.drawn["slab"] + self.phase).astype(int)

    def flip(self, z_mm: np.ndarray) -> np.ndarray:
        """The flip angle in radians at each position; it rises through a slab and falls at the slab's edges."""
        u = z_mm / self.drawn["slab"] + self.phase
        u = u - np.floor(u)  # 0 at the lower, 1 at the upper edge
        edge = np.exp(-((np.minimum(u, 1 - u) / 0.09) ** 2))
        level = (1 + self.drawn["flip_ramp"] * (u - 0.5)) * (1 - self.drawn["slab_edge"] * edge)
        return np.radians(self.drawn["flip_angle"]) * level


def steady_state(t1_ms: float, repetition_time_ms: float, flip: np.ndarray) -> np.ndarray:
    """The signal of still tissue of unit proton density."""
    e1 = np.exp(-repetition_time_ms / t1_ms)
    return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))


def blood_signal(seconds_in_slab: np.ndarray, repetition_time_ms: float, flip: np.ndarray) -> np.ndarray:
    """The signal of blood after some time in a slab: sin(flip) at its entry, and the steady state in the end."""
    e1 = np.exp(-repetition_time_ms / BLOOD_T1_MS)
    rest = steady_state(BLOOD_T1_MS, repetition_time_ms, flip)
    pulses = seconds_in_slab * 1000 / repetition_time_ms
    return rest + (np.sin(flip) - rest) * (e1 * np.cos(flip)) ** pulses


def tissue_levels(drawn: Mapping[str, float], flip: np.ndarray) -> dict[str, np.ndarray]:
    """The signal of each tissue at each slice's flip angle, in units of grey matter at the middle of a slab."""
    tr = drawn["repetition_time"]
    factor = {
        "grey": drawn["magnetisation_transfer"],
        "white": drawn["magnetisation_transfer"] * drawn["white_matter"],
        "fluid": drawn["csf"], "fat": drawn["fat"], "muscle": drawn["magnetisation_transfer"],
    }  # fmt: skip
    unit = grey_unit(drawn)
    return {
        name: (factor[name] * density * steady_state(t1, tr, flip) / unit).astype(np.float32)
        for name, (t1, density) in TISSUES.items()
    }


def grey_unit(drawn: Mapping[str, float]) -> float:
    """The signal of grey matter at the middle of a slab, which is the unit of images."""
    t1, density = TISSUES["grey"]
    flip = np.radians(drawn["flip_angle"])
    return float(
        drawn["magnetisation_transfer"] * density * steady_state(t1, drawn["repetition_time"], np.asarray(flip))
    )


def transit_times(
    tree: Sequence[Branch], z_mm: Sequence[np.ndarray], slabs: Slabs, drawn: Mapping[str, float],
    rng: np.random.Generator,
) -> list[np.ndarray]:  # fmt: skip
    """The seconds that the blood at each point of each branch has spent in the slab that images the point.

    The velocity is proportional to r^0.7; by Murray's law alone (flow as r^3, so velocity as r), thin vessels would be
    invisible. A branch that stays in a slab grows dim along its way; one that enters another slab is bright again.
    """
    times: list[np.ndarray] = []
    for branch, z in zip(tree, z_mm, strict=True):
        slab = slabs.index(z)
        pace = drawn["velocity"] * np.exp(drawn["flow_spread"] * rng.standard_normal())
        step = np.linalg.norm(np.diff(branch.points_mm, axis=0, prepend=branch.points_mm[:1]), axis=1)
        seconds = np.cumsum(step / (pace * (branch.radius_mm / 1.5) ** 0.7))
        if branch.parent >= 0 and slabs.index(z_mm[branch.parent][branch.parent_node]) == slab[0]:
            seconds += times[branch.parent][branch.parent_node]
        for cut in np.flatnonzero(np.diff(slab)) + 1:
            seconds[cut:] -= seconds[cut]
        times.append(seconds)
    return times


def neighbours(volume: np.ndarray, weight: float) -> np.ndarray:
    """The volume after an in-plane blur with `weight` for both neighbours along an axis and the rest for the voxel."""
    if weight <= 0:
        return volume
    w = np.float32(weight)
    for axis in (0, 1):
        v = np.moveaxis(volume, axis, 0)
        out = v * (1 - 2 * w)
        out[1:] += w * v[:-1]
        out[:-1] += w * v[1:]
        out[0] += w * v[0]
        out[-1] += w * v[-1]
        volume = np.moveaxis(out, 0, axis)
    return volume


def rician(signal: np.ndarray, sigma: float, blur: float, rng: np.random.Generator) -> np.ndarray:
    """The magnitude of the signal plus complex noise of standard deviation `sigma` per channel, blurred in plane."""
    keep = np.float32(
        sigma / ((1 - 2 * blur) ** 2 + 2 * blur**2)
    )  # the blur's loss along one axis, squared for two axes
    real = neighbours(rng.standard_normal(signal.shape, dtype=np.float32), blur)
    real *= keep
    real += signal
    imaginary = neighbours(rng.standard_normal(signal.shape, dtype=np.float32), blur)
    imaginary *= keep
    return np.hypot(real, imaginary)
