"""Copies: thresholds, ratios and distances by hand, and what is said beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from tofgan_monai import InputError
from tofgan_monai.attacks.copies import CAVEAT, authenticity_pct, copied, copies, near_copies, nndr
from tofgan_monai.attacks.similarity import Matches

PATIENTS = (np.arange(9), np.arange(9))


def matches(similarity, item=0, flip=0, shift=(0, 0)) -> Matches:
    similarity = np.atleast_2d(np.asarray(similarity, np.float32))
    full = similarity.shape
    items = np.array(np.broadcast_to(item, full))
    return Matches(similarity, items, np.full(full, flip), np.broadcast_to(shift, (*full, 2)))


def every(*values: float) -> Matches:
    """Matches, each in a pair of its own."""
    return matches(np.array(values)[:, None], item=np.arange(len(values))[:, None])


def test_near_copies_lie_above_the_kth_of_the_non_members() -> None:
    others = np.linspace(0, 0.8, 2000)
    ours = others.copy()
    ours[[5, 7, 9]] = 0.95, 0.99, 0.97
    found = near_copies(every(*ours), every(*others), (np.arange(2000),) * 2)
    assert found.threshold == pytest.approx(others[-2])  # a thousandth of 2000
    assert found.synthetic.tolist() == [7, 9, 5, 1999]
    assert found.n_expected == 2
    assert found.p == pytest.approx(stats.binom.sf(3, 5, 0.5))  # 4 of the members' among 4 + 2 - 1


def test_more_members_are_closer_by_chance() -> None:
    ours, others = every(*np.linspace(0, 0.9, 1000)), every(*np.linspace(0, 0.8, 1000))
    few, many = (near_copies(ours, others, (np.arange(n), np.arange(1000))) for n in (1000, 10_000))
    assert few.n_expected == 1 and many.n_expected == 10
    assert few.p < 1e-20 < many.p


def test_p_counts_a_patient_once() -> None:
    others = every(*np.linspace(0, 0.8, 1000))
    ours = every(*np.linspace(0, 0.8, 1000))
    ours.similarity[:50] = 0.99
    apart, together = (near_copies(ours, others, (np.arange(1000) // n, np.arange(1000) // n)) for n in (1, 50))
    assert len(apart.synthetic) == len(together.synthetic) == 50
    assert apart.p < 1e-10 and together.p == pytest.approx(0.5)  # of one patient, as it may be by chance


def test_p_holds_though_some_patches_are_like_everything() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(30), 4)

    def of_chance() -> Matches:
        plain = rng.normal(size=120) + np.repeat(rng.normal(size=30), 4)  # a patch's own, and its patient's
        similarity = plain + rng.normal(size=(500, 120))
        return Matches(similarity.max(1)[:, None], similarity.argmax(1)[:, None], *[np.zeros((500, 1), int)] * 2)

    found = [near_copies(of_chance(), of_chance(), (patients, patients), rate=0.004).p for _ in range(300)]
    assert np.mean(np.array(found) <= 0.025) <= 0.035  # by pairs it was 0.27


def test_few_copies_are_found_where_counts_say_nothing() -> None:
    others = every(*np.linspace(0, 0.8, 2000))
    ours = every(*np.linspace(0, 0.8, 2000))
    ours.similarity[[3, 5, 9]] = [[0.97], [0.97], [0.85]]  # the last is no closer than half as far
    image, label = ours, Matches(ours.similarity.copy(), ours.item.copy(), ours.flip, ours.shift)
    label.item[5] = 77  # of another pair
    assert copied({"image": image, "label": label}, {"image": others, "label": others}).tolist() == [3]
    assert near_copies(image, others, (np.arange(2000),) * 2).p > 0.05


def test_p_is_uniform_of_chance_alone() -> None:
    rng = np.random.default_rng(0)
    patients = (np.arange(300),) * 2
    found = [near_copies(every(*rng.random(300)), every(*rng.random(300)), patients, rate=0.01).p for _ in range(500)]
    assert np.mean(np.array(found) <= 0.05) <= 0.06
    assert np.mean(np.array(found) <= 0.5) > 0.3


def test_none_lies_above_a_match_that_is_perfect() -> None:
    found = near_copies(every(1, 1, 0.2), every(0.1, 1, 1), PATIENTS)
    assert (len(found.synthetic), found.p) == (0, 1.0)


def test_the_ratio_is_of_the_two_nearest_distances() -> None:
    found = nndr(matches([[0.9, 0.8], [0.5, 0.5], [1.0, 0.2], [1.0, 1.0]]))
    assert found["median"] == pytest.approx(0.75)  # of 0.5, 1, 0, 1
    assert found["q05"] == pytest.approx(0.075)
    with pytest.raises(InputError, match="two nearest"):
        nndr(every(0.5))


def test_authentic_is_what_is_farther_than_another_patient() -> None:
    to_members = Matches(np.array([[0.9], [0.5], [0.65]]), np.array([[1], [1], [0]]), *[np.zeros((3, 1), int)] * 2)
    assert authenticity_pct(to_members, every(0.6, 0.7)) == pytest.approx(100 / 3)  # 0.9 and 0.65 are nearer


def test_the_findings_are_json_and_say_what_they_do_not_prove() -> None:
    similar = matches([[0.4, 0.3], [0.99, 0.3], [0.5, 0.2]], item=7, flip=1, shift=(3, -2))
    others = matches([[0.6, 0.3], [0.5, 0.3], [0.4, 0.2]])
    found = copies({"image": similar, "label": others}, {"image": others, "label": others}, PATIENTS, n_closest=2)
    assert json.loads(json.dumps(found)) == found
    assert found["near_copies"] == [1] and found["n_near_copies"] == 1 and found["n_expected"] == 2
    assert found["threshold"] == pytest.approx({"image": 0.6, "label": 0.6})
    assert found["p"] == 1.0  # 0.5, of two channels
    assert found["n_copies"] == 0  # one label map is like all others
    assert found["caveat"] == CAVEAT and "prove nothing alone" in CAVEAT
    first = found["closest"][0]
    assert first["similarity"] == pytest.approx(0.99)
    assert {key: first[key] for key in ("synthetic", "member", "channel", "shift", "flip")} == {
        "synthetic": 1, "member": 7, "channel": "image", "shift": [3, -2], "flip": "horizontal",
    }  # fmt: skip
    assert [entry["channel"] for entry in found["closest"]] == ["image", "image", "label", "label"]


def test_another_stacks_matches_are_refused() -> None:
    with pytest.raises(InputError, match=r"members. pairs holds 3 .* holds 2"):
        near_copies(every(1, 0, 0), every(0, 0), PATIENTS)
