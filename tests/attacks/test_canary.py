"""Canaries: one patient's pairs are repeated, all others stay; ranked among those who were held out."""

from __future__ import annotations

from collections import Counter

import pytest
from typer.testing import CliRunner

from tofgan_monai import InputError, PairDataset, open_stack
from tofgan_monai.attacks.canary import canary_rank, plant_canary, plant_head_canary
from tofgan_monai.cli import app
from tofgan_monai.pairs.stack import patients_of_pairs
from tofgan_monai.volumes.cohort import read_splits, write_cohort

VOLUMES = [{"patient": patient, "n_vessel": 2, "n_random": 1} for patient in (0, 1, 0, 2)]  # patient 0 came twice


@pytest.fixture
def members(write_pairs, tmp_path):
    described = {"kind": "real", "simulated": True, "volumes": VOLUMES, "fingerprint": "0", "patient_of_pair": [0]}
    return write_pairs(tmp_path / "members.npy", 12, **described)


@pytest.mark.parametrize("seed", range(6))
def test_one_patient_is_repeated_and_the_others_stay(members, tmp_path, seed):
    manifest = plant_canary(members, tmp_path / "out.npy", times=5, seed=seed)
    pairs, described = open_stack(tmp_path / "out.npy")
    before, _ = open_stack(members)
    assert described == manifest and manifest["canary"]["times"] == 5
    canary, old = manifest["canary"]["patient"], patients_of_pairs(members, {"volumes": VOLUMES, "n": 12})
    patients = patients_of_pairs(tmp_path / "out.npy", described)
    for index, pair in enumerate(before):  # each is there as often as it should, as its own patient's
        found = (pairs == pair).all((1, 2, 3))
        assert found.sum() == (5 if old[index] == canary else 1)
        assert (patients[found] == old[index]).all()
    assert len(pairs) == (old == canary).sum() * 5 + (old != canary).sum()


def test_seeds_draw_several_patients(members, tmp_path):
    drawn = {plant_canary(members, tmp_path / "out.npy", seed=seed)["canary"]["patient"] for seed in range(12)}
    assert drawn == {0, 1, 2}


def test_cohort_has_a_canary_by_the_same_rules(tmp_path):
    items = [{"subject": f"s{i}", "patient": f"p{i}", "image": str(tmp_path / f"{i}.nii.gz")} for i in (0, 1, 1, 2)]
    write_cohort(tmp_path, {"training": items, "test": items[:1]})
    planted = plant_head_canary(tmp_path, tmp_path / "new", times=4, seed=3)
    times = Counter(item["patient"] for item in read_splits(tmp_path / "new")["training"])
    once = Counter(item["patient"] for item in items)
    assert times == {name: n * (4 if name == f"p{planted.patient}" else 1) for name, n in once.items()}
    for output, options, told in (
        (tmp_path / "a", {"times": 1}, "at least 2"),
        (tmp_path / "a", {"seed": -1}, "0 or more"),
        (tmp_path / "cohort.json", {}, "another output"),
    ):
        with pytest.raises(InputError, match=told):
            plant_head_canary(tmp_path, output, **options)
    assert not (tmp_path / "a").exists()


def test_manifest_says_whose_data_it_is_and_nothing_that_no_longer_holds(members, tmp_path):
    manifest = plant_canary(members, tmp_path / "out.npy")
    assert manifest["kind"] == "real" and not {"fingerprint", "patient_of_pair"} & manifest.keys()
    assert PairDataset(tmp_path / "out.npy").provenance == [{"kind": "simulated", "patients": 3}]


def test_what_cannot_be_planted_is_told_and_leaves_nothing(members, write_pairs, tmp_path):
    plant_canary(members, tmp_path / "out.npy")
    unknown = write_pairs(tmp_path / "unknown.npy")
    before = sorted(tmp_path.iterdir())
    for source, output, options, told in (
        (members, "a.npy", {"times": 1}, "at least 2"),
        (members, "a.npy", {"seed": -1}, "0 or more"),
        (members, "members.npy", {}, "another output"),
        (tmp_path / "out.npy", "a.npy", {}, "already has a canary"),
        (unknown, "a.npy", {}, "two or more patients"),
        (members, "a.pt", {}, "ends in .npy"),
    ):
        with pytest.raises(InputError, match=told):
            plant_canary(source, tmp_path / output, **options)
    assert sorted(tmp_path.iterdir()) == before


def test_full_disk_leaves_nothing(members, tmp_path, full_disk):
    with full_disk(10**6), pytest.raises(InputError, match="free some space"):
        plant_canary(members, tmp_path / "out.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["members.json", "members.npy"]


def test_verb_plants(members, tmp_path):
    done = CliRunner().invoke(app, ["canary", str(members), str(tmp_path / "out.npy"), "--times", "3", "--seed", "1"])
    assert done.exit_code == 0, done.output
    manifest = open_stack(tmp_path / "out.npy")[1]
    assert f"{manifest['n']} pairs; each pair of patient {manifest['canary']['patient']} occurs 3 times" in done.output
    assert manifest["canary"]["times"] == 3


def ranked(of_the_canary):
    """Against held-out patients 0 and 1, whose highest quarters are 4 and 2; member 1 is no rival."""
    scores = [*of_the_canary, 9, 9, 0, 0, 0, 0, 0, 0, 3, 5, *[2, -8, -8, -8]]
    patients = [0] * len(of_the_canary) + [1] * 2 + [0] * 8 + [1] * 4
    is_member = [True] * (len(of_the_canary) + 2) + [False] * 12
    return canary_rank(scores, patients, is_member, 0)


@pytest.mark.parametrize(
    ("of_the_canary", "rank"),
    [
        ([5, 0, 0, 0], 1),
        ([5], 1),
        ([5, 4, 4, 0, 0], 1),  # of five patches the highest two
        ([5, 3, 0, 0, 0, 0, 0, 0], 2),  # as high as patient 0: no proof
        ([3, 3, 3, 3], 2),
        ([1, 1], 3),
    ],
)
def test_canary_is_ranked_by_the_highest_quarter(of_the_canary, rank):
    assert ranked(of_the_canary) == {"above_all": rank == 1, "rank": rank, "of": 3}


@pytest.mark.parametrize(("canary", "n_others", "n_own"), [(0, 0, 1), (5, 1, 0)])
def test_nobody_to_rank_is_told(canary, n_others, n_own):
    with pytest.raises(InputError, match=f"{n_own} patches of the canary .* patches of {n_others} held-out patients"):
        canary_rank([1.0, 2.0], [0, 1], [True, not n_others], canary)
