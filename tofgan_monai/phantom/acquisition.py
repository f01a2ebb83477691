"""Turns the signal of a simulated head into the image that a scanner exports.

`drawn` always holds the parameters of a head; see `sources.PARAMETERS`. A parameter that is neutral (no ghost, all of
k-space) leaves its step out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import fft

from tofgan_monai.phantom.contrast import neighbours, rician

BLOCK = 8  # edge of a block of JPEG, in pixels
NARROW_WINDOW = 5.0  # an export whose window is below it (in units of grey matter) has 8 bits


def acquire(
    signal: np.ndarray, axes_mm: Sequence[np.ndarray], drawn: Mapping[str, float], noise: np.random.Generator,
    faults: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Applies ghosts, point spread, k-space, noise, the scanner's filters and its export to a signal.

    Args:
        signal: (X, Y, Z), float32, in units of grey matter; may be changed.
        axes_mm: positions of the voxels along the three axes of the scanner, relative to the isocentre.
        drawn: the parameters of the head.
        noise: source of the noise.
        faults: source of all other random draws.

    Returns:
        The image (X, Y, Z), whole numbers as float32.
    """
    signal = _ghosts(signal, drawn, faults)
    signal = neighbours(signal, drawn["blur"])
    kept = [min(1.0, drawn[name]) for name in ("kept_in_plane", "kept_in_plane", "kept_through_plane")]
    if min(kept) < 1:
        image = _zero_filled(signal, drawn, kept, noise)
    else:
        image = rician(signal, 1 / drawn["snr"], drawn["noise_blur"], noise)
    if drawn["distortion"] > 0:
        image = _interpolated(image, axes_mm, drawn["distortion"])
    if drawn["sharpening"] > 0:
        image = np.maximum(image + np.float32(drawn["sharpening"]) * (image - neighbours(image, 0.25)), 0)
    return export(image, drawn)


def _ghosts(signal: np.ndarray, drawn: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Adds shifted weak copies of the head (motion) and of its bright vessels (pulsation) along the phase direction.

    The phase direction is one of the two in-plane axes. The copies lie on both sides, at a drawn share of the field of
    view.
    Source: Wood and Henkelman 1985, Med Phys 12:143 (periodic motion gives copies at fixed distances).
    """
    axis, sides = int(rng.integers(2)), rng.choice([-1.0, 1.0], 2)
    shifts = np.rint(rng.uniform(0.08, 0.5, 2) * signal.shape[axis]).astype(int)
    total = signal
    for name, shift, source in (("motion", shifts[0], signal), ("pulsation", shifts[1], None)):
        if drawn[name] <= 0:
            continue
        copied = np.maximum(signal - np.float32(1.5), 0) if source is None else source
        for side, sign in zip((1, -1), sides, strict=True):
            ghost = np.roll(copied, side * shift, axis)
            ghost *= np.float32(sign * drawn[name])
            ghost += total
            total = ghost
    return total


def _zero_filled(
    signal: np.ndarray, drawn: Mapping[str, float], kept: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Returns the magnitude image of a signal with noise of which only the middle of k-space was acquired.

    The outer fifth of the acquired part falls off like a cosine, as scanners' filters do. The noise has the standard
    deviation 1 / snr afterwards.

    Args:
        signal: (X, Y, Z), float32.
        drawn: the parameters of the head.
        kept: the share of k-space that is acquired along each axis.
        rng: source of the noise.
    """
    filters = [_window(n, share) for n, share in zip(signal.shape, kept, strict=True)]
    power = np.prod([np.mean(f**2) for f in filters])
    sigma = np.float32(1 / (drawn["snr"] * np.sqrt(power)))
    volume = np.empty(signal.shape, np.complex64)
    volume.real = rng.standard_normal(signal.shape, dtype=np.float32) * sigma + signal
    volume.imag = rng.standard_normal(signal.shape, dtype=np.float32) * sigma
    for axis, weights in enumerate(filters):
        if kept[axis] < 1:
            space = fft.fft(volume, axis=axis, overwrite_x=True)
            space *= weights.reshape([-1 if a == axis else 1 for a in range(3)])
            volume = fft.ifft(space, axis=axis, overwrite_x=True)
    return np.abs(volume)


def _window(n: int, share: float) -> np.ndarray:
    """Returns the weights (n,) of k-space along an axis, float32, in the order of an FFT."""
    if share >= 1:
        return np.ones(n, np.float32)
    edge = np.abs(fft.fftfreq(n)) / (0.5 * share)  # 1 at the edge of the acquired part
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((edge - 0.8) / 0.2, 0, 1))).astype(np.float32)


def _interpolated(image: np.ndarray, axes_mm: Sequence[np.ndarray], rim_shift: float) -> np.ndarray:
    """Blurs an image as linear interpolation at positions between voxels does, in bands like those of its rounding.

    A scanner moves each voxel back by the shift that the gradients' nonlinearity caused, which grows with the third
    power of the distance from the isocentre. Interpolation at a fraction f between two voxels is a blur with the weight
    f (1 - f) of each neighbour. The anatomy of this head is already where it belongs, so only the blur is applied.

    Source: Janke et al. 2004, MRM 52:115.

    Args:
        image: (X, Y, Z).
        axes_mm: positions of the voxels along the three axes of the scanner.
        rim_shift: the shift in voxels at 100 mm from the isocentre.
    """
    x, y, z = (np.asarray(a, np.float32) / 100 for a in axes_mm)
    result = np.empty_like(image)
    for i, plane in enumerate(image):  # one plane fits the cache
        shift = np.float32(rim_shift) * (x[i] * x[i] + (y * y)[:, None] + z * z)
        if 0 < i < len(image) - 1:
            plane = _between(image[i - 1], plane, image[i + 1], shift * x[i])
        result[i] = plane
        result[i, 1:-1] = _between(plane[:-2], plane[1:-1], plane[2:], (shift * y[:, None])[1:-1])
    return result


def _between(before: np.ndarray, middle: np.ndarray, after: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Blurs voxels with their two neighbours as interpolation after a shift (in voxels) does; see `_interpolated`."""
    shift = np.abs(shift)
    fraction = shift - np.floor(shift)
    return middle + fraction * (1 - fraction) * (after + before - 2 * middle)


def export(image: np.ndarray, drawn: Mapping[str, float]) -> np.ndarray:
    """Applies the scanner's window and power law, and rounds to whole numbers; a narrow window means 8 bits."""
    window = np.float32(drawn["window"])
    if drawn["gamma"] != 1:
        image = image / window
        np.power(image, np.float32(drawn["gamma"]), out=image)
        image *= window
    if window < 99:
        np.minimum(image, window, out=image)
    level = drawn["grey_level"] if window > NARROW_WINDOW else 255 / window
    numbers = image * np.float32(level)
    np.minimum(np.rint(numbers, out=numbers), 32767, out=numbers)
    if window <= NARROW_WINDOW and drawn["block_noise"] > 0:
        numbers = np.clip(np.rint(_blocks(numbers, drawn["block_noise"])), 0, 255)
    return numbers


def _blocks(image: np.ndarray, step: float) -> np.ndarray:
    """Rounds the cosine coefficients of 8x8 blocks of each axial slice, as JPEG does.

    The step of a coefficient grows from `step` grey levels to four times as many at the highest frequencies, as in the
    usual tables. Source: Wallace 1992, IEEE Trans. Consumer Electronics 38:xviii.
    """
    x, y, z = image.shape
    padded = np.pad(image, ((0, -x % BLOCK), (0, -y % BLOCK), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK, z)
    frequency = np.arange(BLOCK, dtype=np.float32)
    steps = np.float32(step) * (1 + 3 * (frequency[:, None, None, None] + frequency[:, None]) / (2 * BLOCK - 2))
    coefficients = fft.dctn(blocks, axes=(1, 3), norm="ortho")
    coefficients /= steps
    np.rint(coefficients, out=coefficients)
    coefficients *= steps
    return fft.idctn(coefficients, axes=(1, 3), norm="ortho").reshape(padded.shape)[:x, :y]
