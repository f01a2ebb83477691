"""The most similar patches of a stack, whatever their contrast, mirroring and a shift of up to 16 pixels.

Similarity is the normalised cross-correlation of a query's central 64 x 64 pixels with a window of a patch of the
stack: 1 if both are equal up to a linear change of intensity, about 0 if they are unrelated. All patches, mirrorings
and shifts are first searched at a quarter of the resolution, by one matrix product for each block. The best few are
then compared at full resolution. Images and label maps are searched alike. Unrelated label maps with few small vessels
also agree well, so a similarity means something only beside that of patients who cannot have been copied.
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
# Standard deviation of values in [-1, 1]. A flatter image, or a label map with fewer than 24 vessel pixels, matches
# nothing: two dots are equal no matter which patients they belong to.
LEAST_STD = {"image": 0.05, "label": 0.15}
CENTRE = PATCH_SIZE - 2 * MAX_SHIFT
COARSE = 4  # the coarse search averages over COARSE x COARSE pixels
OFFSETS = (0, COARSE // 2)  # pixels down and to the right; they double the density of searched positions on a diagonal
CANDIDATES = 8  # patches for each query that are compared at full resolution
QUERIES, ITEMS, COMPARED = 256, 64, 512  # block sizes: queries and patches of a product, windows at full resolution


@dataclass(frozen=True, eq=False)
class Matches:
    """The k most similar patches of a stack for each of q queries, the best first.

    Attributes:
        similarity: (q, k) in [-1, 1]; 0 where the query or the window is flat or empty.
        item: (q, k) indices into the stack.
        flip: (q, k) indices into FLIPS: how the query was mirrored.
        shift: (q, k, 2) pixels down and to the right, from the centre of the mirrored query to the matching window;
            at most 16.
    """

    similarity: np.ndarray
    item: np.ndarray
    flip: np.ndarray
    shift: np.ndarray

    def of(self, queries: np.ndarray) -> Matches:
        """The matches of some of the queries, which are given by their indices or by a mask (q,)."""
        return Matches(*(values[queries] for values in vars(self).values()))


def nearest(
    queries: np.ndarray,
    stack: np.ndarray,
    *,
    k: int = 3,
    patients: tuple[np.ndarray, np.ndarray] | None = None,
    channel: str = "image",
) -> Matches:
    """The k patches of a stack that are most similar to each query.

    Args:
        queries: (q, 96, 96) images or label maps, for example `pairs[:, 0]` of a memory map.
        stack: (n, 96, 96) patches of the same channel.
        k: number of matches for each query; all patches if the stack has fewer. They are chosen among the best eight,
            or the best k if k is larger, of the coarse search.
        patients: patient indices of the queries (q,) and of the stack's patches (n,). Patches of the query's own
            patient are not compared; the similarity is -1 where fewer than k patches are left.
        channel: "image" or "label"; sets what counts as flat, see LEAST_STD.

    Raises:
        InputError: the patches have another shape, or there are none.
    """
    for name, patches in (("queries", queries), ("stack", stack)):
        if patches.ndim != 3 or patches.shape[1:] != (PATCH_SIZE, PATCH_SIZE) or not len(patches):
            raise InputError(f"{name} of shape {patches.shape}; give (n, {PATCH_SIZE}, {PATCH_SIZE}) with n > 0")
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
    """The matches of pairs (q, 2, 96, 96) in a stack of pairs (n, 2, 96, 96), for "image" and for "label"."""
    return {name: nearest(queries[:, at], stack[:, at], channel=name) for name, at in CHANNELS.items()}


def joined(first: Matches, second: Matches, n_first: int) -> Matches:
    """The best matches of the same queries in two stacks, as if these were one; the first stack has n_first patches."""
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
    # A coarse pixel is the mean over three times its width, so thin vessels between two searched positions still match.
    return avg_pool2d(patches[:, None], 3 * COARSE, COARSE, COARSE, count_include_pad=False)[:, 0]


def _normalised(rows: torch.Tensor) -> torch.Tensor:
    """The rows, shifted to zero mean and scaled to unit norm; rows that hardly vary become 0."""
    rows = rows - rows.mean(dim=-1, keepdim=True)
    norm = rows.norm(dim=-1, keepdim=True)
    return torch.where(norm > 1e-2, rows / norm.clamp_min(1e-2), 0)


def _mirrored(patches: torch.Tensor) -> torch.Tensor:
    """The four mirrored forms of each patch, (b, 4, H, W), in the order of FLIPS."""
    return torch.stack([patches.flip(dims) for dims in FLIPS.values()], dim=1)


def _centres(patches: torch.Tensor) -> torch.Tensor:
    return patches[:, MAX_SHIFT:-MAX_SHIFT, MAX_SHIFT:-MAX_SHIFT]


def _search(queries: torch.Tensor, coarse_stack: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The coarse similarity (b, n) of each query to each patch at the best shift and flip, and that flip (b, n)."""
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
    """The fields of Matches for given patches and flips (b, k), sorted by the similarity at full resolution."""
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
    """Normalised cross-correlation (b, 33, 33) of templates (b, 64, 64) with patches (b, 96, 96) at all shifts."""
    n, width = CENTRE**2, 2 * MAX_SHIFT + 1
    templates = templates - templates.mean(dim=(1, 2), keepdim=True)
    patches = patches - patches.mean(dim=(1, 2), keepdim=True)
    size = patches.shape[1:]  # windows that start within the first 33 pixels do not wrap around
    spectrum = torch.fft.rfft2(templates, s=size).conj() * torch.fft.rfft2(patches)
    products = torch.fft.irfft2(spectrum, s=size)[:, :width, :width]
    variance = _window_sums(patches**2) / n - (_window_sums(patches) / n) ** 2
    spread = templates.square().mean(dim=(1, 2)).sqrt()[:, None, None] * variance.clamp_min(0).sqrt()
    enough = (templates.square().mean(dim=(1, 2))[:, None, None] >= least_std**2) & (variance >= least_std**2)
    return torch.where(enough, products / n / spread.clamp_min(least_std**2), 0).float().clamp(-1, 1)


def _window_sums(patches: torch.Tensor) -> torch.Tensor:
    """Sums over all 64 x 64 windows, (b, 33, 33), by running sums along both axes."""
    for dim in (2, 1):
        patches = patches.cumsum(dim)
        last, width = patches.narrow(dim, CENTRE - 1, 2 * MAX_SHIFT + 1), 2 * MAX_SHIFT
        patches = torch.cat([last.narrow(dim, 0, 1), last.narrow(dim, 1, width) - patches.narrow(dim, 0, width)], dim)
    return patches
