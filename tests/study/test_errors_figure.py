"""Fig. 4: two networks on the first test patient, in windows where large vessels are, and small ones."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from tofgan_monai import HalfUNet
from tofgan_monai.study.errors_figure import WINDOW_MM, densest_window, draw
from tofgan_monai.volumes.cohort import write_cohort


@pytest.fixture
def prepared(tmp_path):
    """One test patient: a thick tube in slice 2, thin ones in slice 6."""
    rng = np.random.default_rng(0)
    label = np.zeros((120, 110, 9), bool)
    label[20:80, 20:26, 1:5] = True
    label[60:110, 80:100:4, 6] = True
    image = rng.normal(100, 5, label.shape) + 80 * label
    paths = {"image": image, "label": label}
    for name, volume in paths.items():
        nifti = nibabel.Nifti1Image(volume.astype(np.int16), np.diag([0.5, 0.7, 0.7, 1]))
        nibabel.save(nifti, tmp_path / f"{name}.nii.gz")
    item = {"subject": "s", "patient": "s", **{name: str(tmp_path / f"{name}.nii.gz") for name in paths}}
    write_cohort(tmp_path, {"training": [], "validation": [], "test": [item]})
    return tmp_path


def test_window_is_where_most_of_the_weight_is(prepared):
    label = nibabel.load(prepared / "label.nii.gz").get_fdata()
    x, y, z = densest_window(label * (np.arange(9) == 6), (0.5, 0.7, 0.7))
    assert z == 6 and x.stop - x.start == round(WINDOW_MM / 0.5) and y.stop - y.start == round(WINDOW_MM / 0.7)
    assert label[x, y, z].sum() == label[..., 6].sum()


def test_picture_has_a_column_a_network_and_the_papers_colours(prepared):
    weights = {}
    for name, bias in (("all background", -50.0), ("all vessel", 50.0)):
        network = HalfUNet(2)
        state = network.state_dict()
        last = [key for key in state if key.endswith("bias")][-1]
        state[last] = torch.full_like(state[last], bias)
        weights[name] = prepared / f"{name}.pt"
        torch.save(state, weights[name])
    draw(prepared, weights, prepared / "errors.png", width=2)
    picture = np.asarray(Image.open(prepared / "errors.png").convert("RGB")).astype(int)
    left, right = np.split(picture[: int(picture.shape[0] * 0.93)], [picture.shape[1] // 2], axis=1)

    def n_of(half, colour):
        return int((np.abs(half - colour).sum(-1) < 12).sum())

    yellow, green, red = (255, 221, 0), (46, 204, 64), (214, 48, 39)
    assert n_of(left, yellow) > 1000 and n_of(left, green) == n_of(left, red) == 0
    assert n_of(right, green) > 1000 and n_of(right, red) > 1000 and n_of(right, yellow) == 0
