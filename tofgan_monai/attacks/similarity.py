"""Search for the patches of a stack that are most similar to a query patch (its nearest neighbours).

A query is a patch that the search looks for; a stack is a file of patches. The search allows any linear change of
intensity, mirroring, and a shift of up to 16 pixels. Similarity is the normalised cross-correlation of the central
64 x 64 pixels of the query with a window of a patch in the stack. The similarity is 1 if both are equal up to a linear
change of intensity, and about 0 if they are unrelated. The coarse search compares all patches, mirrorings and shifts at
a quarter of the resolution, with one matrix product for each chunk. The best few patches are then compared at full
resolution. Images and label maps are searched in the same way. Unrelated label maps with few small vessels are similar,
too. Therefore compare each similarity with the similarity to patients who cannot have been copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from tofgan_monai.errors import InputError
from tofgan_monai.volumes.patch_grid import PATCH_SIZE

MAX_SHIFT = 16  # pixels
FLIPS: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (-1,), "vertical": (-2,), "both": (-2, -1)}
CHANNELS = {"image": 0, "label": 1}
# Least standard deviation of values in [-1, 1]. A flatter image, or a label map with fewer than 24 vessel pixels, gets
# similarity 0, because two small dots are equal no matter which patients they belong to.
LEAST_STD = {"image": 0.05, "label": 0.15}
CENTRE = PATCH_SIZE - 2 * MAX_SHIFT
COARSE = 4  # the coarse search averages over COARSE x COARSE pixels
OFFSETS = (0, COARSE // 2)  # shifts of the query down and to the right, in pixels; two shifts double the positions
CANDIDATES = 8  # number of patches that are compared with each query at full resolution
QUERIES, ITEMS, COMPARED = 256, 64, 512  # chunk sizes: queries and patches in a product, windows at full resolution


@dataclass(frozen=True, eq=False)
class Matches:
    """Nearest neighbours: for each of q queries the k most similar patches of a stack, the most similar first.

    Attributes:
        similarity: similarity of the query and the patch, (q, k), in [-1, 1]; 0 if the query or the window is flat or
            empty.
        item: index of the patch in the stack, (q, k).
        flip: index into FLIPS of the mirroring of the query, (q, k).
        shift: shift from the centre of the mirrored query to the most similar window of the patch, (q, k, 2), in pixels
            down and to the right; at most 16 in each direction.
    """

    similarity: np.ndarray
    item: np.ndarray
    flip: np.ndarray
    shift: np.ndarray

    def of(self, queries: np.ndarray) -> Matches:
        """Returns the nearest neighbours of some queries, selected by their indices or by a boolean mask (q,)."""
        return Matches(*(values[queries] for values in vars(self).values()))


def nearest(
    queries: np.ndarray,
    stack: np.ndarray,
    *,
    k: int = 3,
    patients: tuple[np.ndarray, np.ndarray] | None = None,
    channel: str = "image",
) -> Matches:
    """Searches a stack for the k patches that are most similar to each query.

    Args:
        queries: images or label maps to search for, (q, 96, 96), for example `pairs[:, 0]` of a memory map.
        stack: patches of the same channel in which the search is made, (n, 96, 96).
        k: number of patches to find for each query. If the stack has fewer patches, all patches are found. The k
            patches are chosen among the best max(k, 8) patches of the coarse search.
        patients: two arrays, the patient index of each query (q,) and of each patch in the stack (n,). Patches of the
            query's own patient are then left out. The similarity is -1 if fewer than k patches remain.
        channel: "image" or "label"; it sets the standard deviation below which a patch counts as flat, see LEAST_STD.

    Raises:
        InputError: the queries or the stack have another shape or are empty.
    """
    for name, patches in (("queries", queries), ("stack", stack)):
        if patches.ndim != 3 or patches.shape[1:] != (PATCH_SIZE, PATCH_SIZE) or not len(patches):
            raise InputError(
                f"argument {name} has shape {patches.shape}; give patches (n, {PATCH_SIZE}, {PATCH_SIZE}) with n > 0"
            )
    coarse_stack = torch.cat([_coarse(_tensor(stack[at])) for at in _blocks(len(stack), 1024)])  # (n, 24, 24)
    found = []
    with tqdm(total=len(queries), desc=f"nearest {channel}s", unit="patch", disable=None) as bar:
        for at in _blocks(len(queries), QUERIES):
            block = _tensor(queries[at])
            similarity, flip = _search(block, coarse_stack)  # (b, n)
            if patients is not None:
                similarity[torch.from_numpy(patients[0][at, None] == patients[1])] = -2
            best, item = similarity.topk(min(max(k, CANDIDATES), len(stack)), dim=1)
            refined = _refined(block, stack, item, flip.gather(1, item), best > -2, LEAST_STD[channel])
            found.append([field[:, :k].numpy() for field in refined])
            bar.update(len(block))
    return Matches(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def search(queries: np.ndarray, stack: np.ndarray) -> dict[str, Matches]:
    """Searches a stack of pairs for the nearest neighbours of query pairs, for the images and for the label maps.

    Args:
        queries: image-label pairs to search for, (q, 2, 96, 96).
        stack: image-label pairs in which the search is made, (n, 2, 96, 96).

    Returns:
        Dict from the channel ("image", "label") to the three nearest neighbours of each query.
    """
    return {name: nearest(queries[:, at], stack[:, at], channel=name) for name, at in CHANNELS.items()}


def joined(first: Matches, second: Matches, n_first: int) -> Matches:
    """Merges the nearest neighbours of the same queries in two stacks, as if the two stacks were one.

    Args:
        first: nearest neighbours of the queries in the first stack.
        second: nearest neighbours of the same queries in the second stack.
        n_first: number of patches in the first stack; indices into the second stack start at this number.

    Returns:
        As many nearest neighbours of each query as `first` holds.
    """
    moved = replace(second, item=second.item + n_first)
    both = [np.concatenate(fields, axis=1) for fields in zip(vars(first).values(), vars(moved).values(), strict=True)]
    order = np.argsort(-both[0], axis=1, kind="stable")[:, : first.similarity.shape[1]]
    rows = np.arange(len(order))[:, None]
    return Matches(*(values[rows, order] for values in both))


def _blocks(n: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _tensor(patches: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(patches, dtype=np.float32))


def _coarse(patches: torch.Tensor) -> torch.Tensor:
    # A coarse pixel averages 12 x 12 pixels, so a thin vessel between two searched positions is found, too.
    return avg_pool2d(patches[:, None], 3 * COARSE, COARSE, COARSE, count_include_pad=False)[:, 0]


def _normalised(rows: torch.Tensor) -> torch.Tensor:
    """Shifts each row to zero mean and scales it to unit norm; a row that hardly varies becomes 0."""
    rows = rows - rows.mean(dim=-1, keepdim=True)
    norm = rows.norm(dim=-1, keepdim=True)
    return torch.where(norm > 1e-2, rows / norm.clamp_min(1e-2), 0)


def _mirrored(patches: torch.Tensor) -> torch.Tensor:
    """Mirrors each patch (b, H, W) in the four ways of FLIPS; returns (b, 4, H, W) in the order of FLIPS."""
    return torch.stack([patches.flip(dims) for dims in FLIPS.values()], dim=1)


def _centres(patches: torch.Tensor) -> torch.Tensor:
    return patches[:, MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT]


def _search(queries: torch.Tensor, coarse_stack: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compares each query with each patch at a quarter of the resolution, at all shifts and mirrorings.

    Args:
        queries: patches at full resolution, (b, 96, 96).
        coarse_stack: patches of the stack at a quarter of the resolution, (n, 24, 24).

    Returns:
        The similarity at the best shift and mirroring, (b, n), and the index into FLIPS of this mirroring, (b, n).
    """
    side, margin = CENTRE // COARSE, MAX_SHIFT // COARSE
    moved = torch.cat([queries.roll((-offset, -offset), (1, 2)) for offset in OFFSETS])  # (2 b, 96, 96)
    centres = _mirrored(_coarse(moved)[:, margin:-margin, margin:-margin])  # (2 b, 4, 16, 16)
    templates = _normalised(centres.flatten(2)).flatten(0, 1)  # (2 b 4, 256)
    similarity, flips = [], []
    for at in _blocks(len(coarse_stack), ITEMS):
        windows = coarse_stack[at].unfold(1, side, 1).unfold(2, side, 1)  # (i, 9, 9, 16, 16)
        windows = _normalised(windows.flatten(1, 2).transpose(0, 1).flatten(2))  # (81, i, 256)
        products = templates @ windows.flatten(0, 1).T  # (2 b 4, 81 i)
        best = products.view(len(templates), *windows.shape[:2]).amax(dim=1)  # (2 b 4, i)
        value, flip = best.view(len(OFFSETS), len(queries), len(FLIPS), -1).amax(dim=0).max(dim=1)
        similarity.append(value)
        flips.append(flip)
    return torch.cat(similarity, dim=1), torch.cat(flips, dim=1)


def _refined(
    queries: torch.Tensor,
    stack: np.ndarray,
    item: torch.Tensor,
    flip: torch.Tensor,
    allowed: torch.Tensor,
    least_std: float,
) -> tuple[torch.Tensor, ...]:
    """Compares queries with chosen patches at full resolution; returns the fields of `Matches`, most similar first.

    Args:
        queries: patches to search for, (b, 96, 96).
        stack: patches in which the search is made, (n, 96, 96).
        item: indices of the chosen patches in the stack, (b, k).
        flip: index into FLIPS of the mirroring to use for each chosen patch, (b, k).
        allowed: whether the query may be compared with the patch, (b, k) booleans; the similarity is -1 otherwise.
        least_std: standard deviation below which a query or a window counts as flat.
    """
    b, k = item.shape
    rows, wanted, how = torch.arange(b).repeat_interleave(k), item.flatten(), flip.flatten()
    values, places = [], []
    for at in _blocks(b * k, COMPARED):
        templates = _mirrored(_centres(queries[rows[at]]))[torch.arange(len(how[at])), how[at]]
        value, place = _correlated(templates, _tensor(stack[wanted[at].numpy()]), least_std).flatten(1).max(dim=1)
        values.append(value)
        places.append(place)
    similarity = torch.where(allowed, torch.cat(values).view(b, k), -1.0)
    similarity, order = similarity.sort(dim=1, descending=True, stable=True)
    place = torch.cat(places).view(b, k).gather(1, order)
    width = 2 * MAX_SHIFT + 1
    shift = torch.stack([place // width, place % width], dim=-1) - MAX_SHIFT
    return similarity, item.gather(1, order), flip.gather(1, order), shift


def _correlated(templates: torch.Tensor, patches: torch.Tensor, least_std: float) -> torch.Tensor:
    """Returns the normalised cross-correlation of each template with its patch at all 33 x 33 shifts, (b, 33, 33).

    Args:
        templates: centres of the mirrored queries, (b, 64, 64).
        patches: patches of the stack, one for each template, (b, 96, 96).
        least_std: standard deviation below which a template or a window counts as flat and gets 0.
    """
    n, width = CENTRE**2, 2 * MAX_SHIFT + 1
    templates = templates - templates.mean(dim=(1, 2), keepdim=True)
    patches = patches - patches.mean(dim=(1, 2), keepdim=True)
    size = patches.shape[1:]  # a window that starts within the first 33 pixels does not wrap around
    spectrum = torch.fft.rfft2(templates, s=size).conj() * torch.fft.rfft2(patches)
    products = torch.fft.irfft2(spectrum, s=size)[:, :width, :width]
    variance = _window_sums(patches**2) / n - (_window_sums(patches) / n) ** 2
    spread = templates.square().mean(dim=(1, 2)).sqrt()[:, None, None] * variance.clamp_min(0).sqrt()
    enough = (templates.square().mean(dim=(1, 2))[:, None, None] >= least_std**2) & (variance >= least_std**2)
    return torch.where(enough, products / n / spread.clamp_min(least_std**2), 0).float().clamp(-1, 1)


def _window_sums(patches: torch.Tensor) -> torch.Tensor:
    """Returns the sums over all 64 x 64 windows of patches (b, 96, 96), (b, 33, 33), by running sums on both axes."""
    for dim in (2, 1):
        patches = patches.cumsum(dim)
        last, width = patches.narrow(dim, CENTRE - 1, 2 * MAX_SHIFT + 1), 2 * MAX_SHIFT
        patches = torch.cat([last.narrow(dim, 0, 1), last.narrow(dim, 1, width) - patches.narrow(dim, 0, width)], dim)
    return patches
