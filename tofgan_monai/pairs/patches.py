"""Functions that cut image-label patches from the axial slices of a volume.

Vessel-centred patches have a vessel voxel at their centre; random patches have any voxel of the brain at their centre.
A voxel is an admissible centre if it lies in the brain and the whole patch around it fits into the slice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms import MapTransform, Orientation

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import normalise_patch
from tofgan_monai.volumes.patch_grid import PATCH_SIZE, centre_box, padding_of

_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def extract_pairs(
    image: np.ndarray,
    label: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    n_vessel: int,
    n_random: int,
    size: int = PATCH_SIZE,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts random pairs from a volume; returns the pairs (n, 2, size, size), float32, and their centres (n, 3).

    Channel 0 of a pair is the image, min-max scaled per patch to [-1, 1] (a constant patch becomes -1). Channel 1 is
    the label in {-1, +1}. The centre of a patch lies at [size // 2, size // 2] of this patch. No voxel is the centre of
    two patches. A slice narrower than a patch is padded on both sides, the image with the minimum of the volume and the
    label with background.

    Args:
        image: volume (X, Y, Z) in RAS order, so that the slices (X, Y) are axial.
        label: volume of the same shape as `image`; vessels are above 0.
        mask: brain mask of the same shape, from which all centres are drawn. Without a mask, the centres are drawn from
            the whole volume.
        n_vessel: number of patches with a vessel voxel at the centre.
        n_random: number of patches with any voxel of the mask at the centre.
        size: edge of a patch in voxels.
        rng: random generator for the draws.

    Returns:
        The pairs, vessel-centred ones first, and the centres as voxel indices of the given volume.

    Raises:
        InputError: the shapes differ, or there are fewer admissible centres than requested; the message states both
            numbers.
    """
    shapes = {volume.shape for volume in (image, label, mask) if volume is not None}
    if len(shapes) > 1 or image.ndim != 3:
        raise InputError(f"image, label and mask have the shapes {sorted(shapes)}; give 3D volumes of the same shape")
    vessels = label > 0
    centres = _draw_centres(vessels, mask, n_vessel, n_random, size, rng)
    padding = padding_of(image.shape, size)
    if any(map(any, padding)):
        image, vessels = np.pad(image, padding, constant_values=image.min()), np.pad(vessels, padding)
    corners = centres + [before for before, _ in padding] - [size // 2, size // 2, 0]
    order = np.argsort(centres[:, 2], kind="stable")
    pairs = np.empty((len(centres), 2, size, size), np.float32)
    for z in np.unique(centres[:, 2]):
        image_slice, vessel_slice = np.ascontiguousarray(image[..., z]), np.ascontiguousarray(vessels[..., z])
        first, last = np.searchsorted(centres[order, 2], [z, z + 1])
        for i in order[first:last]:
            window = tuple(slice(corner, corner + size) for corner in corners[i, :2])
            pairs[i, 0] = image_slice[window]
            pairs[i, 1] = vessel_slice[window]
    pairs[:, 0] = normalise_patch(pairs[:, 0])
    pairs[:, 1] = pairs[:, 1] * 2 - 1
    return pairs, centres


def _draw_centres(
    vessels: np.ndarray, mask: np.ndarray | None, n_vessel: int, n_random: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws distinct centres (n, 3), first among the admissible vessel voxels, then among all other admissible voxels.

    Raises:
        InputError: there are too few admissible voxels.
    """
    box = centre_box(vessels.shape, size)
    inside = vessels[box]
    allowed = np.ones(inside.shape, bool) if mask is None else mask[box] > 0
    on_vessels = np.flatnonzero(inside & allowed)
    n_allowed = int(np.count_nonzero(allowed))
    problems = []
    if len(on_vessels) < n_vessel:
        problems.append(
            f"{n_vessel} vessel-centred patches were requested, but only {len(on_vessels)} of {int(vessels.sum())} "
            f"vessel voxels can be the centre of a whole {size}x{size} patch in the brain; give a smaller n_vessel"
        )
    if n_allowed - n_vessel < n_random:
        problems.append(
            f"{n_random} random and {n_vessel} vessel-centred patches were requested, but the brain has only "
            f"{n_allowed} voxels that can be the centre of a whole {size}x{size} patch; give a smaller n_random"
        )
    if problems:
        raise InputError(problems)
    first = rng.choice(on_vessels, n_vessel, replace=False)
    allowed.flat[first] = False
    second = rng.choice(np.flatnonzero(allowed), n_random, replace=False)
    lows = [side.start for side in box]
    return np.stack(np.unravel_index(np.concatenate([first, second]), allowed.shape), axis=1) + lows


class VesselPatchesd(MapTransform):
    """MONAI transform that cuts a list of `n_vessel + n_random` patches, one dictionary each, from one scan's volumes.

    The volumes are channel-first (1, X, Y, Z) MetaTensors in any orientation; the patches are axial. Each dictionary
    holds under `keys` the image (1, size, size) in [-1, 1] and the label in {-1, +1}, both float32. It also holds
    `centre` (3,), the voxel index of the centre in the volume turned to RAS; `spacing_mm` (3,); and the bools
    `vessel_centred` and `padded`. See `extract_pairs`.

    The choice of the patches depends only on `seed` and on the text under `subject_key`. So the same call gives the
    same patches, and a new patient in a cohort does not change the patches of other patients.

    Args:
        keys: the key of the image and the key of the label.
        mask_key: the key of the brain mask. Without a mask, patches are drawn from the whole volume.
        n_vessel: number of patches with a vessel voxel at the centre.
        n_random: number of patches with any voxel of the brain at the centre.
        size: edge of a patch in voxels.
        seed: seed for the choice of the patches.
        subject_key: the key of the name that is unique for each volume of a cohort.

    Raises:
        InputError: there are too few admissible centres; the message names the subject and the numbers.
    """

    def __init__(
        self,
        keys: tuple[str, str] = ("image", "label"),
        mask_key: str = "mask",
        *,
        n_vessel: int = 500,
        n_random: int = 500,
        size: int = PATCH_SIZE,
        seed: int = 0,
        subject_key: str = "subject",
    ) -> None:
        super().__init__(keys)
        if len(self.keys) != 2:
            raise InputError(f"VesselPatchesd got the keys {self.keys}; give two keys, first image, then label")
        self.mask_key = mask_key
        self.n_vessel = n_vessel
        self.n_random = n_random
        self.size = size
        self.seed = seed
        self.subject_key = subject_key

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Returns the patches, one dictionary each, of one dictionary of volumes."""
        subject = str(data.get(self.subject_key, ""))
        present = [*self.keys, *([self.mask_key] if self.mask_key in data else [])]
        volumes = [_axial(data[key]) for key in present]
        counts: dict[str, Any] = {"n_vessel": self.n_vessel, "n_random": self.n_random, "size": self.size}
        try:
            arrays = (volume[0].numpy() for volume in volumes)
            pairs, centres = extract_pairs(*arrays, **counts, rng=_generator(self.seed, subject))
        except InputError as error:
            raise InputError([f"{subject or 'volume'}: {problem}" for problem in error.problems]) from error
        shared: dict[Hashable, Any] = {
            "spacing_mm": volumes[0].pixdim.to(torch.float32),
            "padded": min(volumes[0].shape[1:3]) < self.size,
        }
        image_key, label_key = self.keys
        return [
            {image_key: pair[:1], label_key: pair[1:], "centre": centre, "vessel_centred": i < self.n_vessel, **shared}
            for i, (pair, centre) in enumerate(zip(torch.from_numpy(pairs), torch.from_numpy(centres), strict=True))
        ]


def _axial(volume: torch.Tensor) -> Any:
    """Returns the volume (1, X, Y, Z) turned to RAS, on the CPU; a tensor without an affine counts as RAS."""
    return Orientation(axcodes="RAS", labels=_LABELS)(MetaTensor(volume).cpu())


def _generator(seed: int, subject: str) -> np.random.Generator:
    """Returns a random generator that depends only on the seed and the subject's name.

    The name is hashed by SHA-256, as Python's own hash differs in each run.
    """
    digest = hashlib.sha256(subject.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
