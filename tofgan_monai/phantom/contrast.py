"""Time-of-flight contrast: the signal of still tissue and of blood, and the noise of the image.

In a spoiled gradient echo sequence, after n pulses with flip angle a and repetition time TR, the longitudinal
magnetisation is

    M(n) = Mss + (M0 - Mss) (E1 cos a)^n,   Mss = M0 (1 - E1) / (1 - E1 cos a),   E1 = exp(-TR / T1)

and the signal is M sin a. Still tissue receives all pulses, so it reaches the steady state. Blood receives only the
pulses after it entered the slab, so it is brighter. A slab is one of the thin volumes that are imaged one by one.
`drawn` always holds the parameters of a head; see `sources.PARAMETERS`.
Source: Haacke et al. 1990, MRM 14:202; Parker et al. 1991, MRM 17:434 (several thin slabs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tofgan_monai.phantom.trunks import Branch

# (T1 in ms at 3 T, relative proton density); the density of white matter includes its stronger magnetisation transfer.
TISSUES: dict[str, tuple[float, float]] = {
    "grey": (1450.0, 0.82), "white": (950.0, 0.60), "fluid": (4000.0, 1.0), "fat": (370.0, 0.9),
    "muscle": (1300.0, 0.75),
}  # fmt: skip
BLOOD_T1_MS = 1650.0
# T1 grows with the field strength to this power. Source: Rooney et al. 2007, MRM 57:308 (brain, blood); Stanisz et al.
# 2005, MRM 54:507 (muscle); de Bazelaire et al. 2004, Radiology 230:652 (fat); fluid does not change.
T1_EXPONENTS = {"grey": 0.376, "white": 0.382, "blood": 0.340, "fluid": 0.0, "fat": 0.16, "muscle": 0.486}


class Slabs:
    """The slabs of an acquisition, which give the slab and the flip angle at each slice position.

    Args:
        drawn: the parameters of the head.
        phase: shift of the slabs along z, as a fraction of a slab.
        rng: source of the gain of each slab.
    """

    def __init__(self, drawn: Mapping[str, float], *, phase: float, rng: np.random.Generator) -> None:
        self.drawn = drawn
        self.phase = phase
        self.log_gains = rng.standard_normal(64) * drawn["slab_step"]  # more than the slabs of any head

    def index(self, z_mm: np.ndarray) -> np.ndarray:
        """Returns the index of the slab that images each position in mm."""
        return np.floor(z_mm / self.drawn["slab"] + self.phase).astype(int)

    def gain(self, z_mm: np.ndarray) -> np.ndarray:
        """Returns the gain of the slab at each position in mm, which makes a step where two slabs meet; float32."""
        return np.exp(self.log_gains[self.index(z_mm) % len(self.log_gains)]).astype(np.float32)

    def flip(self, z_mm: np.ndarray) -> np.ndarray:
        """Returns the flip angle in radians at each position in mm; it rises along a slab and falls at both edges."""
        u = z_mm / self.drawn["slab"] + self.phase
        u = u - np.floor(u)  # 0 at the lower, 1 at the upper edge
        edge = np.exp(-((np.minimum(u, 1 - u) / 0.09) ** 2))
        level = (1 + self.drawn["flip_ramp"] * (u - 0.5)) * (1 - self.drawn["slab_edge"] * edge)
        return np.radians(self.drawn["flip_angle"]) * level


def steady_state(t1_ms: float, repetition_time_ms: float, flip: np.ndarray) -> np.ndarray:
    """Returns the steady-state signal of still tissue with proton density 1.

    Args:
        t1_ms: T1 of the tissue in ms.
        repetition_time_ms: TR in ms.
        flip: flip angles in radians, of any shape; the result has this shape.
    """
    e1 = np.exp(-repetition_time_ms / t1_ms)
    return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))


def t1_at(tissue: str, t1_ms: float, field_strength: float) -> float:
    """Returns the T1 in ms at a field strength in T, from its value at 3 T; `tissue` is a key of T1_EXPONENTS."""
    return t1_ms * (field_strength / 3.0) ** T1_EXPONENTS[tissue]


def blood_signal(seconds_in_slab: np.ndarray, drawn: Mapping[str, float], flip: np.ndarray) -> np.ndarray:
    """Returns the signal of blood after some time in a slab, for proton density 1.

    The signal is sin(flip) when the blood enters the slab and approaches the steady state later.

    Args:
        seconds_in_slab: time since the blood entered the slab, of any shape.
        drawn: the parameters of the head.
        flip: flip angles in radians, of the same shape.
    """
    t1_ms = t1_at("blood", BLOOD_T1_MS, drawn["field_strength"])
    e1 = np.exp(-drawn["repetition_time"] / t1_ms)
    rest = steady_state(t1_ms, drawn["repetition_time"], flip)
    pulses = seconds_in_slab * 1000 / drawn["repetition_time"]
    return rest + (np.sin(flip) - rest) * (e1 * np.cos(flip)) ** pulses


def tissue_levels(drawn: Mapping[str, float], flip: np.ndarray) -> dict[str, np.ndarray]:
    """Dict from tissue to its signal at these flip angles (radians); the unit is `grey_unit`."""
    tr, field = drawn["repetition_time"], drawn["field_strength"]
    factor = {
        "grey": drawn["magnetisation_transfer"],
        "white": drawn["magnetisation_transfer"] * drawn["white_matter"],
        "fluid": drawn["csf"], "fat": drawn["fat"], "muscle": drawn["magnetisation_transfer"],
    }  # fmt: skip
    unit = grey_unit(drawn)
    return {
        name: (factor[name] * density * steady_state(t1_at(name, t1, field), tr, flip) / unit).astype(np.float32)
        for name, (t1, density) in TISSUES.items()
    }


def grey_unit(drawn: Mapping[str, float]) -> float:
    """Returns the signal of grey matter in the middle of a slab, by which all other signals are divided."""
    t1, density = TISSUES["grey"]
    flip, t1 = np.radians(drawn["flip_angle"]), t1_at("grey", t1, drawn["field_strength"])
    return float(
        drawn["magnetisation_transfer"] * density * steady_state(t1, drawn["repetition_time"], np.asarray(flip))
    )


def transit_times(
    tree: Sequence[Branch], z_mm: Sequence[np.ndarray], slabs: Slabs, drawn: Mapping[str, float],
    rng: np.random.Generator,
) -> list[np.ndarray]:  # fmt: skip
    """List of arrays, one for each branch: for each point, the seconds since the blood entered the slab that images it.

    The velocity of the blood is proportional to r^0.7. By Murray's law alone (flow proportional to r^3, so velocity
    proportional to r) thin vessels would be invisible. A branch becomes darker along its way through a slab and is
    bright again where it enters another slab.

    Args:
        tree: the branches; each comes after its parent.
        z_mm: the position of each branch's points along the scanner's z axis.
        slabs: the slabs of the acquisition.
        drawn: the parameters of the head.
        rng: source of a random factor for the velocity in each branch.
    """
    ends = np.cumsum([len(z) for z in z_mm])
    starts = np.concatenate([[0], ends[:-1]])
    slab = slabs.index(np.concatenate(z_mm))
    pace = drawn["velocity"] * np.exp(drawn["flow_spread"] * rng.standard_normal(len(tree)))
    step = np.linalg.norm(np.diff(np.concatenate([branch.points_mm for branch in tree]), axis=0, prepend=0), axis=1)
    step[starts] = 0
    radius = np.concatenate([branch.radius_mm for branch in tree])
    seconds = step / (np.repeat(pace, ends - starts) * (radius / 1.5) ** 0.7)
    cuts = np.flatnonzero(np.diff(slab)) + 1
    times: list[np.ndarray] = []
    for branch, start, end in zip(tree, starts, ends, strict=True):
        time = np.cumsum(seconds[start:end])
        if branch.parent >= 0 and slab[starts[branch.parent] + branch.parent_node] == slab[start]:
            time += times[branch.parent][branch.parent_node]
        for cut in cuts[np.searchsorted(cuts, start, "right") : np.searchsorted(cuts, end)] - start:
            time[cut:] -= time[cut]
        times.append(time)
    return times


def neighbours(volume: np.ndarray, weight: float) -> np.ndarray:
    """Blurs a volume along its first two axes and returns the result.

    Each voxel becomes a weighted mean: `weight` for each of its two neighbours along the axis, and the rest for the
    voxel itself. At an edge, the voxel stands for the neighbour that is missing. If `weight` is 0, the volume itself is
    returned.
    """
    if weight <= 0:
        return volume
    w = np.float32(weight)
    result = np.empty_like(volume)
    part = np.empty_like(volume[0])
    for i, plane in enumerate(volume):  # one plane fits the cache
        blurred = plane * (1 - 2 * w)
        for other in (i - 1, i + 1):
            if 0 <= other < len(volume):
                blurred += np.multiply(volume[other], w, out=part)
        for end in (0, len(volume) - 1):
            if i == end:
                blurred += np.multiply(plane, w, out=part)
        np.multiply(blurred, w, out=part)
        blurred *= 1 - 2 * w
        blurred[1:] += part[:-1]
        blurred[:-1] += part[1:]
        blurred[0] += part[0]
        blurred[-1] += part[-1]
        result[i] = blurred
    return result


def rician(signal: np.ndarray, sigma: float, blur: float, rng: np.random.Generator) -> np.ndarray:
    """Adds complex noise to a signal and returns the magnitude, which has Rician noise.

    Args:
        signal: the signal without noise.
        sigma: standard deviation of the noise in the real and in the imaginary part, after the blur.
        blur: weight of each in-plane neighbour when the noise is blurred; see `neighbours`.
        rng: source of the noise.
    """
    keep = np.float32(
        sigma / ((1 - 2 * blur) ** 2 + 2 * blur**2)
    )  # the blur along two axes multiplies the variance by the square of this denominator
    real = neighbours(rng.standard_normal(signal.shape, dtype=np.float32), blur)
    real *= keep
    real += signal
    imaginary = neighbours(rng.standard_normal(signal.shape, dtype=np.float32), blur)
    imaginary *= keep
    return np.hypot(real, imaginary, out=real)
