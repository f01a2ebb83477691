"""Random changes of the segmentation bundles' trainings: image and label stay in one place."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose

from tests.helpers.bundles import parsed

OVERLAYS = {
    "half U-Net": ("tof_mra_vessel_segmentation", "train.yaml"),
    "half U-Net, classical": ("tof_mra_vessel_segmentation", "train.yaml", "classical.yaml"),
    "3D U-Net": ("tof_mra_vessel_segmentation_3d", "train.yaml"),
}


def changes(files):
    """Random transforms of a window, each made to happen always."""
    parser = parsed(*files)
    cut = 1 if "3d" in files[0] else 0  # the first one cuts a window from a head
    settings = parser["augmentation"]["transforms"][cut:]
    found = [f"augmentation#transforms#{i + cut}" for i, one in enumerate(settings) if "prob" in one]
    parser.update({f"{name}#prob": 1.0 for name in found})
    return {parser[f"{name}#_target_"] + name[-1]: parser.get_parsed_content(name) for name in found}


CASES = {f"{name}: {which}": change for name, files in OVERLAYS.items() for which, change in changes(files).items()}


def ball(shape):
    """A bright ball, (1, *shape), with a soft edge; its label is its brighter half."""
    places = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).float()
    middle = torch.tensor([edge // 2 - 2.0 for edge in shape]).view(-1, *[1] * len(shape))
    image = 10 * torch.exp(-((places - middle) ** 2).sum(0) / 18)[None]
    return {"image": image, "label": (image > 5).float()}


def centre(volume):
    """Centroid in voxels of what is brighter than a fifth of the range."""
    weights = (volume - volume.min())[0].as_subclass(torch.Tensor).float()
    weights = (weights - 0.2 * weights.max()).clamp(min=0)
    places = torch.stack(torch.meshgrid(*map(torch.arange, weights.shape), indexing="ij"))
    return (weights * places).flatten(1).sum(1) / weights.sum()


@pytest.mark.parametrize("case", CASES)
def test_image_and_label_stay_in_one_place(case):
    change = Compose([CASES[case]]).set_random_state(0)
    shape = (48, 48, 32) if case.startswith("3D") else (48, 48)
    pairs = [change(ball(shape)) for _ in range(12)]
    apart = torch.stack([centre(pair["image"]) - centre(pair["label"]) for pair in pairs])
    assert apart.mean(0).abs().max() < 0.1  # voxels
    assert apart.abs().max() < 0.3
