"""A clinic's folder for the tests of an audit."""

from __future__ import annotations

import pytest

from tests.helpers.clinic import GAN, SEGMENTATION, SIZES, trained_gan, write_stacks
from tofgan_monai.exchange.installing import unpack


@pytest.fixture
def clinic(tmp_path, write_pairs, bundle_files):
    """A folder with a GAN's and a segmentation's bundle and the stacks of members, non-members and references."""
    for name in (GAN, SEGMENTATION):
        unpack(bundle_files(name), tmp_path / name)
    write_stacks(tmp_path, SIZES, "real", write_pairs)
    return tmp_path


@pytest.fixture
def run(clinic):
    """The output folder of the training that made the GAN bundle's weights from the members' pairs."""
    return trained_gan(clinic / "run", clinic / "members.npy", clinic / GAN / "models/model.pt")
