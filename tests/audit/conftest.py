"""A clinic's folder for the tests of an audit."""

from __future__ import annotations

import pytest
import safetensors.torch

from tests.helpers.clinic import GAN, SEGMENTATION, SIZES, trained_gan
from tofgan_monai.training.weights import save_weights


@pytest.fixture
def clinic(tmp_path, write_pairs, bundle_files):
    """A folder with a GAN's and a segmentation's bundle and the stacks of members, non-members and references."""
    for name in (GAN, SEGMENTATION):
        files = bundle_files(name)
        save_weights(safetensors.torch.load(files.pop("models/model.safetensors")), tmp_path / name / "models/model.pt")
        for path, content in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(content)
    for seed, (name, n) in enumerate(SIZES.items()):
        volumes = [{"patient": i, "n_vessel": 5, "n_random": 5, "voxels": f"{name} {i}"} for i in range(n)]
        write_pairs(tmp_path / f"{name}.npy", 10 * n, seed, kind="real", volumes=volumes)
    return tmp_path


@pytest.fixture
def run(clinic):
    """The output folder of the training that made the GAN bundle's weights from the members' pairs."""
    return trained_gan(clinic / "run", clinic / "members.npy", clinic / GAN / "models/model.pt")
