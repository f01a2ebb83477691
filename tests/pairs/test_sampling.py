"""Stacks of sampled pairs: what they hold, what their manifest tells and hides, when they are sampled anew."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose

from tofgan_monai import InputError, PairSource, ReadScand, VesselPatchesd, extract, open_stack, read_cohort
from tofgan_monai.pairs.extraction import first_patients
from tofgan_monai.pairs.sampling import sample_pairs
from tofgan_monai.pairs.stack import patients_of_pairs
from tofgan_monai.volumes.digests import voxels_digest

SPLITS = {"training": ["sub-01", "sub-02", "sub-03"], "validation": ["sub-04"], "test": ["sub-05"]}


@pytest.fixture
def cohort(tmp_path):
    """A prepared folder; each volume's intensities tell whose it is: patient k has k * 100 in its brightest voxel."""
    folder = tmp_path / "prepared"
    datalist = {"format": 1}
    for split, subjects in SPLITS.items():
        datalist[split] = [write_subject(folder, subject) for subject in subjects]
    (folder / "cohort.json").write_text(json.dumps(datalist))
    return folder


def write_subject(folder, subject, shape=(100, 104, 4)):
    rng = np.random.default_rng(int(subject[-2:]))
    volumes = {
        "image": rng.random(shape, dtype=np.float32),
        "label": (rng.random(shape) < 0.3).astype(np.uint8),
        "mask": np.ones(shape, np.uint8),
    }
    (folder / subject).mkdir(parents=True)
    item = {"subject": subject, "patient": subject}
    for key, volume in volumes.items():
        item[key] = f"{subject}/{key}.nii.gz"
        nib.save(nib.Nifti1Image(volume, np.diag([0.5, 0.5, 0.7, 1])), folder / item[key])
    return item


def edit(path, change):
    """Applies a change to the content of a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def transform(n=6, seed=0):
    return Compose([ReadScand(), VesselPatchesd(n_vessel=n, n_random=n, seed=seed)])


def test_stack_holds_both_halves_of_every_patient(cohort, tmp_path):
    manifest = extract(cohort, tmp_path / "real.npy", n_vessel=6, n_random=4)
    pairs, _ = open_stack(tmp_path / "real.npy")
    assert pairs.shape == (30, 2, 96, 96)
    halves = pairs.reshape(3, 10, 2, 96, 96)
    assert (halves[:, :6, 1, 48, 48] == 1).all()
    assert patients_of_pairs("real.npy", manifest).tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert manifest["volumes"][1] == {
        "patient": 1, "n_vessel": 6, "n_random": 4, "spacing_mm": [0.5, 0.5, 0.7], "padded": False,
        "voxels": voxels_digest(cohort / "sub-02" / "image.nii.gz"),
    }  # fmt: skip
    assert manifest["seed"] == 0 and manifest["split"] == "training" and manifest["dtype"] == "float16"


def test_patches_are_those_of_the_volumes_as_they_lie_on_disk(cohort, tmp_path):
    """The bundle's pipeline turns volumes to RAS; that changes no pair, whatever the orientation on disk."""
    pipeline = Compose([ReadScand(), VesselPatchesd(n_vessel=6, n_random=4, seed=3)])
    sample_pairs(read_cohort(cohort, "training"), pipeline, tmp_path / "plain.npy")
    extract(cohort, tmp_path / "real.npy", n_vessel=6, n_random=4, seed=3)
    for path in cohort.rglob("*.nii.gz"):
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("PIR"))
        nib.save(image.as_reoriented(turn), path)
    extract(cohort, tmp_path / "turned.npy", n_vessel=6, n_random=4, seed=3)
    plain, real, turned = ((tmp_path / f"{name}.npy").read_bytes() for name in ("plain", "real", "turned"))
    assert plain == real == turned


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        ([{"simulated": True}] * 3, "simulated"),  # as earlier versions wrote them
        ([{"kind": "simulated"}, {"simulated": True}, {"kind": "simulated"}], "simulated"),
        ([{"kind": "simulated"}, {}, {"kind": "simulated"}], "real"),
    ],
)
def test_a_stack_is_simulated_if_all_its_volumes_are(cohort, tmp_path, records, kind):
    edit(
        cohort / "cohort.json", lambda c: [item.update(told) for item, told in zip(c["training"], records, strict=True)]
    )
    assert extract(cohort, tmp_path / "real.npy", n_vessel=1, n_random=1)["kind"] == kind


def test_manifest_names_nobody(cohort, tmp_path):
    extract(cohort, tmp_path / "real.npy", n_vessel=2, n_random=2)
    told = (tmp_path / "real.json").read_text()
    assert "sub-" not in told and str(tmp_path) not in told and "/" not in told


def test_a_volume_is_known_again_by_its_voxels(cohort, tmp_path):
    first, second = (
        extract(cohort, tmp_path / "real.npy", n_vessel=2, n_random=2, seed=seed)["volumes"] for seed in (0, 1)
    )
    assert first == second and len({volume["voxels"] for volume in first}) == 3
    image = nib.load(cohort / "sub-01" / "image.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), np.eye(4)), tmp_path / "other.nii")
    assert voxels_digest(tmp_path / "other.nii") == first[0]["voxels"]


def test_same_call_gives_the_same_bytes(cohort, tmp_path):
    for name in ("a", "b"):
        extract(cohort, tmp_path / f"{name}.npy", n_vessel=3, n_random=3)
    for suffix in ("npy", "json"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_float16_costs_less_than_a_12_bit_scanner_resolves(cohort, tmp_path):
    extract(cohort, tmp_path / "real.npy", n_vessel=3, n_random=3)
    exact = np.stack([patch["image"].numpy() for patch in transform(3)(read_cohort(cohort, "training")[0])])
    stored = open_stack(tmp_path / "real.npy")[0][:6, :1]
    assert np.abs(stored - exact).max() <= 2 / 4096 / 2


def test_splits_never_share_a_pair(cohort, tmp_path):
    seen = []
    for split, subjects in SPLITS.items():
        extract(cohort, tmp_path / f"{split}.npy", split=split, n_vessel=5, n_random=5)
        pairs, _ = open_stack(tmp_path / f"{split}.npy")
        assert len(pairs) == 10 * len(subjects)
        seen += [pair.tobytes() for pair in pairs]
    assert len(set(seen)) == len(seen)


def test_one_more_patient_changes_nobody_elses_patches(cohort, tmp_path):
    extract(cohort, tmp_path / "three.npy", n_vessel=4, n_random=4)
    edit(cohort / "cohort.json", lambda content: content["training"].insert(0, write_subject(cohort, "sub-00")))
    extract(cohort, tmp_path / "four.npy", n_vessel=4, n_random=4)
    np.testing.assert_array_equal(open_stack(tmp_path / "four.npy")[0][8:], open_stack(tmp_path / "three.npy")[0])


def test_first_patients_are_nested_and_take_all_their_sessions():
    items = [{"patient": f"p{i // 2}", "subject": f"s{i}"} for i in range(20)]
    chosen = [first_patients(items, n, seed=3) for n in (1, 4, 10)]
    assert [len(c) for c in chosen] == [2, 8, 20]
    assert all(item in chosen[1] for item in chosen[0]) and chosen[2] == items
    with pytest.raises(InputError, match="10"):
        first_patients(items, 11, seed=3)


def test_every_patient_with_too_few_centres_is_told_and_nothing_is_left(cohort, tmp_path):
    with pytest.raises(InputError) as caught:
        extract(cohort, tmp_path / "real.npy", n_vessel=100_000, n_random=1)
    told = [problem.split(":")[0] for problem in caught.value.problems if "smaller n_vessel" in problem]
    assert told == SPLITS["training"]
    assert not list(tmp_path.glob("*.npy"))


def test_failed_extraction_leaves_the_stack_of_before(cohort, tmp_path):
    extract(cohort, tmp_path / "real.npy", n_vessel=2, n_random=2)
    before = (tmp_path / "real.npy").read_bytes()
    (cohort / "sub-02" / "image.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError, match="sub-02"):
        extract(cohort, tmp_path / "real.npy", n_vessel=3, n_random=2)
    assert (tmp_path / "real.npy").read_bytes() == before and len(list(tmp_path.glob("*.npy"))) == 1


def test_volumes_without_labels_are_refused(cohort, tmp_path):
    edit(cohort / "cohort.json", lambda content: content["training"][1].pop("label"))
    with pytest.raises(InputError, match="sub-02 has no label"):
        extract(cohort, tmp_path / "real.npy")


def test_source_takes_a_list_of_items(cohort, tmp_path):
    items = read_cohort(cohort, "training")[:2]
    source = PairSource(items, transform(), tmp_path / "cache.npy")
    assert len(source) == 24


def test_source_samples_once_and_again_when_something_changed(cohort, tmp_path):
    cache = tmp_path / "cache.npy"
    source = PairSource(cohort, transform(), cache)
    assert len(source) == 36 and source[0]["reals"].shape == (2, 96, 96)
    sampled = cache.stat().st_mtime_ns
    PairSource(cohort, transform(), cache)
    assert cache.stat().st_mtime_ns == sampled
    PairSource(cohort, transform(seed=1), cache)
    assert cache.stat().st_mtime_ns != sampled


def test_source_samples_again_when_a_volume_changed(cohort, tmp_path):
    cache = tmp_path / "cache.npy"
    before = PairSource(cohort, transform(), cache)[0]["reals"]
    for key in ("image", "label"):
        (cohort / "sub-01" / f"{key}.nii.gz").write_bytes((cohort / "sub-04" / f"{key}.nii.gz").read_bytes())
    assert not PairSource(cohort, transform(), cache)[0]["reals"].equal(before)


def test_source_takes_given_stacks_and_pools_them(cohort, tmp_path):
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path in paths:
        extract(cohort, path, n_vessel=2, n_random=2)
    source = PairSource(tmp_path / "nowhere", transform(), tmp_path / "cache.npy", pairs=paths)
    assert len(source) == 24 and not (tmp_path / "cache.npy").exists()


def test_source_never_overwrites_a_stack_from_elsewhere(cohort, tmp_path):
    extract(cohort, tmp_path / "cache.npy", n_vessel=2, n_random=2)
    edit(tmp_path / "cache.json", lambda manifest: manifest.pop("fingerprint"))
    with pytest.raises(InputError, match="no training run has sampled"):
        PairSource(cohort, transform(), tmp_path / "cache.npy")


def test_split_without_volumes_is_named(cohort, tmp_path):
    edit(cohort / "cohort.json", lambda datalist: datalist.update(validation=[]))
    with pytest.raises(InputError, match=r"the validation split of the cohort has no volumes .*--counts"):
        PairSource(cohort, transform(), tmp_path / "cache.npy", split="validation")


def test_transforms_must_end_in_patches(cohort, tmp_path):
    item = {"subject": "sub-01", "image": str(cohort / "sub-01" / "image.nii.gz")}
    with pytest.raises(InputError, match="VesselPatchesd"):
        sample_pairs([item], ReadScand("image"), tmp_path / "real.npy")
