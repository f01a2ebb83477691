"""Heads that are kept as arrays: which are made or read anew, what is known of them, how often each is drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Orientationd

from tests.helpers.heads import write_small_head, write_small_heads
from tofgan_monai import HeadSampler, HeadSource, InputError, ReadScand, simulated_items
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.segmentation import heads as module
from tofgan_monai.segmentation.heads import MAX_SIMULATED
from tofgan_monai.volumes.cohort import write_cohort


class Reading(Compose):
    """What train.yaml says, but counts."""

    def __init__(self):
        keys = ["image", "label", "mask"]
        super().__init__(
            [ReadScand(keys, allow_missing_keys=True), Orientationd(keys, "RAS", allow_missing_keys=True, labels=None)]
        )

    def __call__(self, item):
        read.append(item["subject"])
        return super().__call__(item)


read: list[str] = []


@pytest.fixture(autouse=True)
def nothing_read():
    read.clear()


@pytest.fixture
def simulating(monkeypatch):
    """Names of the heads that are simulated."""
    made: list[int] = []

    def write(folder, source, seeds, **options):
        made.extend(seeds)
        write_small_heads(folder, source, seeds, **options)

    monkeypatch.setattr(module, "write_heads", write)
    return made


def array(path):
    return np.asarray(nib.load(path).dataobj)


# ---- simulated heads


def test_only_missing_heads_are_simulated(tmp_path, simulating):
    assert len(simulated_items(tmp_path, 2)) == 2 and simulating == [0, 1]
    items = simulated_items(tmp_path, 3)
    assert simulating == [0, 1, 2]
    assert [item["subject"] for item in items] == ["sub-C00000", "sub-C00001", "sub-C00002"]
    assert all(Path(item[key]).is_file() for item in items for key in ("image", "label", "mask"))
    assert {item["kind"] for item in items} == {"simulated"}


def test_more_training_heads_leave_the_validation_heads_as_they_are(tmp_path, simulating):
    validation = simulated_items(tmp_path, 2, split="validation")
    training = simulated_items(tmp_path, 4)
    assert validation == simulated_items(tmp_path, 2, split="validation")
    assert not {item["subject"] for item in training} & {item["subject"] for item in validation}


def test_heads_of_another_version_are_refused(tmp_path, simulating, monkeypatch):
    simulated_items(tmp_path, 1)
    monkeypatch.setattr(module, "VERSION", VERSION + 1)
    with pytest.raises(
        InputError, match=f"version {VERSION} of the simulation, and this is version {VERSION + 1}; giv"
    ):
        simulated_items(tmp_path, 1)


def test_cropped_heads_are_kept_apart(tmp_path, simulating):
    (whole,), (small,) = simulated_items(tmp_path, 1), simulated_items(tmp_path, 1, small=True)
    assert whole["image"] != small["image"] and simulating == [0, 0]


@pytest.mark.parametrize("n", [-1, MAX_SIMULATED + 1])
def test_numbers_without_sense_are_refused(tmp_path, n):
    with pytest.raises(InputError, match=f"give 0 to {MAX_SIMULATED}"):
        simulated_items(tmp_path, n)


@pytest.mark.slow
def test_heads_of_the_phantom_are_taken(tmp_path):
    source = HeadSource(None, Reading(), tmp_path / "cache", simulated=simulated_items(tmp_path, 1, small=True))
    (head,) = source.heads
    assert head.has_mask and len(head.vessels) > 500 and head.image.dtype == np.int16


# ---- heads as arrays


def test_arrays_hold_what_the_files_hold(tmp_path):
    item = write_small_head(tmp_path / "sub-01")
    (head,) = HeadSource([item], Reading(), tmp_path / "cache").heads
    image, label, mask = (array(item[key]) for key in ("image", "label", "mask"))
    np.testing.assert_array_equal(head.image, image)
    np.testing.assert_array_equal(head.marks, label + 2 * mask)
    np.testing.assert_array_equal(head.vessels, np.flatnonzero(label))
    assert head.image.dtype == np.int16 and head.black == image.min() and head.has_mask


def test_scan_in_another_orientation_is_turned_to_ras(tmp_path):
    item = write_small_head(tmp_path / "sub-01")
    image = array(item["image"]).copy()
    for key in ("image", "label", "mask"):
        given = nib.load(item[key])
        nib.save(given.as_reoriented([[1, -1], [2, 1], [0, -1]]), item[key])
    (head,) = HeadSource([item], Reading(), tmp_path / "cache").heads
    np.testing.assert_array_equal(head.image, image)


@pytest.mark.parametrize(("scale", "dtype"), [(1, np.int16), (-3, np.int16), (0.1, np.float32), (1000, np.float32)])
def test_intensities_are_kept_exactly(tmp_path, scale, dtype):
    item = write_small_head(tmp_path / "sub-01")
    image = array(item["image"]).astype(np.float32) * np.float32(scale)
    nib.save(nib.Nifti1Image(image, nib.load(item["label"]).affine), item["image"])
    (head,) = HeadSource([item], Reading(), tmp_path / "cache").heads
    assert head.image.dtype == dtype
    np.testing.assert_array_equal(head.image, image)


def test_head_without_a_mask(tmp_path):
    (head,) = HeadSource([write_small_head(tmp_path / "sub-01", mask=False)], Reading(), tmp_path / "cache").heads
    assert not head.has_mask and set(np.unique(head.marks)) == {0, 1}


def test_heads_are_read_once_until_a_file_changes(tmp_path):
    items = [write_small_head(tmp_path / name, seed) for seed, name in enumerate(("sub-01", "sub-02"))]
    first = HeadSource(items, Reading(), tmp_path / "cache")
    again = HeadSource(items, Reading(), tmp_path / "cache")
    assert read == ["sub-01", "sub-02"] and again.digest == first.digest
    image = nib.load(items[1]["image"])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + 1, image.affine), items[1]["image"])
    changed = HeadSource(items, Reading(), tmp_path / "cache")
    assert read == ["sub-01", "sub-02", "sub-02"] and changed.digest != first.digest
    np.testing.assert_array_equal(changed[1].image, first[1].image + 1)
    np.testing.assert_array_equal(changed[0].image, first[0].image)


def test_head_that_was_not_stored_whole_is_stored_again(tmp_path, monkeypatch):
    item, save = write_small_head(tmp_path / "sub-01"), np.save
    monkeypatch.setattr(np, "save", lambda path, array: 1 / 0 if path.stem == "vessels" else save(path, array))
    with pytest.raises(ZeroDivisionError):
        HeadSource([item], Reading(), tmp_path / "cache")
    monkeypatch.undo()
    assert len(HeadSource([item], Reading(), tmp_path / "cache")[0].vessels)


def test_cohort_and_simulated_heads_together(tmp_path, simulating):
    items = [write_small_head(tmp_path / f"sub-0{i}", i) for i in range(4)]
    items[1]["patient"] = items[0]["patient"]
    write_cohort(tmp_path, {"training": items[:3], "validation": items[3:]})
    source = HeadSource(tmp_path, Reading(), tmp_path / "cache", simulated=simulated_items(tmp_path / "made", 2))
    assert source.n_own == 3 and len(source) == 5
    assert source.provenance == [
        {"kind": "simulated", "patients": 2, "simulation": [VERSION]},
        {"kind": "real", "patients": 2},
    ]
    own, made = source.digest.split("+")
    assert HeadSource(tmp_path, Reading(), tmp_path / "cache").digest == own
    only = HeadSource(None, Reading(), tmp_path / "cache", simulated=simulated_items(tmp_path / "made", 2))
    assert only.digest == made and len(own) == len(made) == 16
    assert len(HeadSource(tmp_path, Reading(), tmp_path / "cache", split="validation")) == 1


def test_patient_who_is_there_twice_is_read_once(tmp_path):
    item = write_small_head(tmp_path / "sub-01")
    source = HeadSource([item, item], Reading(), tmp_path / "cache")
    assert len(source) == 2 and read == ["sub-01"] and source.provenance == [{"kind": "real", "patients": 1}]


def test_no_head_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="no head for validation; give a dataset_dir with this split, or simulated"):
        HeadSource(None, Reading(), tmp_path, split="validation")


def test_scan_without_a_label_is_refused(tmp_path):
    item = write_small_head(tmp_path / "sub-01")
    del item["label"]
    write_cohort(tmp_path, {"training": [item]})
    with pytest.raises(InputError, match="sub-01 has no label"):
        HeadSource(tmp_path, Reading(), tmp_path / "cache")


# ---- how often


@pytest.fixture(params=["real", "simulated"])
def mixed(request, tmp_path, simulating):
    own = [{**write_small_head(tmp_path / "sub-01"), "kind": request.param}]
    return HeadSource(own, Reading(), tmp_path / "cache", simulated=simulated_items(tmp_path / "made", 3))


@pytest.mark.parametrize(("share", "expected"), [(0.3, 0.3), (0.0, 0.0), (1.0, 1.0), (None, 0.75)])
def test_share_of_simulated_heads(mixed, share, expected):
    torch.manual_seed(0)
    drawn = Counter(HeadSampler(mixed, 4000, share))
    assert sum(drawn[index] for index in (1, 2, 3)) / 4000 == pytest.approx(expected, abs=0.03)
    assert max(drawn[index] for index in (1, 2, 3)) < 1.2 * min(drawn[index] for index in (1, 2, 3)) + 1


def test_share_does_not_matter_if_all_heads_are_of_one_kind(tmp_path):
    items = [write_small_head(tmp_path / f"sub-0{i}", i) for i in range(2)]
    sampler = HeadSampler(HeadSource(items, Reading(), tmp_path / "cache"), 400, 0.5)
    torch.manual_seed(0)
    drawn = list(sampler)
    torch.manual_seed(0)
    assert list(sampler) == drawn and len(sampler) == 400 and 150 < sum(drawn) < 250
