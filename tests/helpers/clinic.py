"""A clinic's folder as an audit needs it: stacks of patients, tiny bundles, and the output folders of trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tofgan_monai import Critic, Generator, HalfUNet, PairDataset
from tofgan_monai.training.checkpoint import FORMAT
from tofgan_monai.training.recipe import described
from tofgan_monai.training.weights import load_weights, save_weights

GAN, SEGMENTATION = "tof_mra_wgan_gp", "tof_mra_vessel_segmentation"
SIZES = {"members": 3, "non_members": 3, "references": 6}  # patients, 10 pairs each


def stacks(clinic: Path) -> dict[str, Path]:
    """The paths of the clinic's three stacks by the names that an audit gives them."""
    return {name: clinic / f"{name}.npy" for name in SIZES}


def write_stacks(folder: Path, patients: Mapping[str, int], kind: str, write_pairs: Callable[..., Any]) -> None:
    """Writes a stack for each name and number of patients, with ten pairs of each patient."""
    for seed, (name, n) in enumerate(patients.items()):
        volumes = [{"patient": i, "n_vessel": 5, "n_random": 5, "voxels": f"{name} {i}"} for i in range(n)]
        write_pairs(folder / f"{name}.npy", 10 * n, seed, kind=kind, volumes=volumes)


def trained_gan(
    folder: Path, pairs: Path, weights: Path | None = None, seed: int = 0, n_steps: int = 100, recipe: Any = ()
) -> Path:
    """The output folder of a GAN's training on some pairs, whose average is in `weights`, or random."""
    torch.manual_seed(seed)
    critic, generator = Critic(2, "instance"), Generator(width=2)
    average = load_weights(weights) if weights else generator.state_dict()
    state = {"generator": generator.state_dict(), "average": average, "critic": critic.state_dict()}
    told = {"generator": generator, "critic": critic, "trainer": {"batch_size": 16}, "seed": seed, **dict(recipe)}
    return _saved(folder, pairs, told, state, average, n_steps)


def trained_unet(folder: Path, pairs: Path | None = None, seed: int = 0) -> Path:
    """The weights of a segmentation's training, without its checkpoint if the pairs are not known."""
    torch.manual_seed(seed)
    network = HalfUNet(2)
    _saved(folder, pairs, {"network": network}, {"network": network.state_dict()}, network.state_dict())
    if not pairs:
        (folder / "checkpoint.pt").unlink()
    return folder / "best.pt"


def _saved(folder: Path, pairs: Path | None, told: Any, state: Any, best: Any, n_steps: int = 100) -> Path:
    history = {"epochs": [{"epoch": 1, "iteration": n_steps}]}
    recipe = described({"pairs": PairDataset(pairs) if pairs else {}, **told})
    content = {"format": FORMAT, "epoch": 1, "recipe": recipe, "state": {**state, "history": history}}
    save_weights(content, folder / "checkpoint.pt")
    save_weights(best, folder / "best.pt")
    return folder
