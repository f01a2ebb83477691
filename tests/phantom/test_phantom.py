"""The simulated heads: reproducible, plausible, and what their documentation says."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tofgan_monai import InputError
from tofgan_monai.phantom import PARAMETERS, SEEDS, SOURCES, Head, cohorts, contrast, simulate_head, write_heads
from tofgan_monai.phantom.anatomy import intracranial
from tofgan_monai.phantom.fields import SmoothField
from tofgan_monai.phantom.growth import grow
from tofgan_monai.phantom.raster import along, rasterise
from tofgan_monai.phantom.sources import VERSION, draw_parameters
from tofgan_monai.phantom.trunks import Branch, circle_of_willis
from tofgan_monai.volumes.volume import simulation_version

DOCS = Path(__file__).parents[2] / "docs" / "explanation" / "phantoms.md"
SITE = {p.name for p in PARAMETERS if p.A[0] == p.A[1] or p.B[0] == p.B[1]}  # fixed by what the site's scanner does


@pytest.fixture(scope="module")
def heads() -> dict[tuple[str, int], Head]:
    wanted = [("A", 10_000), ("A", 10_001), ("A", 10_002), ("B", 10_000), ("C", 0)]
    return {key: simulate_head(*key, small=True) for key in wanted}


# --- the table and the seeds


def test_seed_ranges_are_disjoint() -> None:
    for one, other in combinations(SEEDS.values(), 2):
        assert not set(one) & set(other)


@pytest.mark.parametrize(
    "name",
    ["snr", "bias", "coil_rim", "tortuosity", "flip_angle", "magnetisation_transfer", "velocity", "fat", "grey_level"],
)
def test_sites_a_and_b_are_disjoint_where_it_matters(name: str) -> None:
    (a_low, a_high), (b_low, b_high) = SOURCES["A"][name], SOURCES["B"][name]
    assert a_high < b_low or b_high < a_low


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.name not in SITE], ids=lambda p: p.name)
def test_c_is_wider_than_both_sites(parameter) -> None:
    widths = {s: np.ptp(np.log(SOURCES[s][parameter.name])) if parameter.log else np.ptp(SOURCES[s][parameter.name])
              for s in "ABC"}  # fmt: skip
    assert widths["C"] >= 1.5 * max(widths["A"], widths["B"])


@pytest.mark.parametrize("source", "ABC")
def test_parameters_are_drawn_within_their_ranges(source: str) -> None:
    for seed in range(50):
        for name, value in draw_parameters(source, np.random.default_rng(seed)).items():
            low, high = SOURCES[source][name]
            assert low - 1e-9 <= value <= high + 1e-9, name


def test_the_documentation_has_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for p in PARAMETERS:
        ranges = " | ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in (p.A, p.B, p.C))
        assert f"| `{p.name}` | {p.unit} | {ranges} | {p.meaning} |" in text


# --- whole heads


def test_the_same_seed_gives_the_same_head_and_another_another(heads: dict[tuple[str, int], Head]) -> None:
    first, again = heads["A", 10_000], simulate_head("A", 10_000, small=True)
    for name in ("image", "label", "mask", "affine"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    labels = [heads[key].label[:192, :192, :24].tobytes() for key in heads]
    assert len(set(labels)) == len(labels)


def test_small_heads_have_room_for_vessel_centred_patches(heads: dict[tuple[str, int], Head]) -> None:
    for key, head in heads.items():
        assert head.image.shape[0] >= 192 and head.image.shape[1] >= 192, key
        inside = head.label[48:-48, 48:-48] * head.mask[48:-48, 48:-48]
        assert inside.sum() >= 500, key
        assert head.label.sum() >= 3000, key


def test_heads_hold_what_their_types_say(heads: dict[tuple[str, int], Head]) -> None:
    for head in heads.values():
        assert head.image.dtype == np.float32 and np.array_equal(head.image, np.rint(head.image))
        assert head.image.min() >= 0 and head.image.max() < 2**15
        assert set(np.unique(head.label)) == {0, 1} and head.label.dtype == np.uint8
        assert set(np.unique(head.mask)) <= {0, 1} and head.mask.mean() > 0.5


def test_vessels_are_about_one_percent_of_the_brain_and_brighter(heads: dict[tuple[str, int], Head]) -> None:
    for (source, _), head in heads.items():
        brain = head.mask > 0
        share = head.label[brain].mean()
        assert (
            0.005 < share < 0.022 if source != "C" else 0.003 < share < 0.06
        )  # C's raters outline partial volumes too
        vessel, rest = head.image[brain & (head.label > 0)], head.image[brain & (head.label == 0)]
        assert np.median(vessel) > 1.5 * np.median(rest)


def test_no_single_threshold_segments_site_a(heads: dict[tuple[str, int], Head]) -> None:
    site = [head for (source, _), head in heads.items() if source == "A"]

    def dice(threshold: float) -> float:
        found = [(h.image * h.mask > threshold, h.label * h.mask > 0) for h in site]
        return float(np.mean([2 * (f & t).sum() / (f.sum() + t.sum()) for f, t in found]))

    assert 0.5 < max(dice(t) for t in range(200, 700, 20)) < 0.82


def test_spacing_and_orientation_stand_in_the_affine(heads: dict[tuple[str, int], Head]) -> None:
    for source, spacing in (("A", (0.5, 0.5, 0.7)), ("B", (0.5, 0.7, 0.7))):
        affine = heads[source, 10_000].affine
        np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing)
        assert nibabel.aff2axcodes(affine) == ("R", "A", "S")


def test_a_small_head_is_a_crop_of_the_full_one(heads: dict[tuple[str, int], Head]) -> None:
    small, full = heads["A", 10_000], simulate_head("A", 10_000)
    assert full.image.shape == (312, 384, 127)
    assert 0.004 < full.label[full.mask > 0].mean() < 0.016
    corner = np.linalg.solve(full.affine, small.affine @ [0, 0, 0, 1])[:3]
    first = np.rint(corner).astype(int)
    np.testing.assert_allclose(corner, first, atol=1e-6)
    window = tuple(slice(a, a + n) for a, n in zip(first, small.label.shape, strict=True))
    assert (full.label[window] != small.label).mean() < 1e-4
    assert (full.mask[window] != small.mask).mean() < 1e-3


@pytest.mark.parametrize(("source", "seed"), [("D", 1), ("A", -1)])
def test_unknown_heads_are_refused(source: str, seed: int) -> None:
    with pytest.raises(InputError, match=f"{source}.*{seed}"):
        simulate_head(source, seed)


# --- files


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heads of a few voxels in place of simulated ones; the list of seeds that were asked for."""
    asked: list[int] = []

    def head(source: str, seed: int, *, small: bool) -> Head:
        asked.append(seed)
        volume = np.arange(60).reshape(3, 4, 5)
        angle = np.radians(4)
        affine = np.eye(4)
        affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine[:3, :3] *= (0.5, 0.7, 0.7)
        affine[:3, 3] = (-70, -90, 20)
        return Head(volume.astype(np.float32), (volume > 30).astype(np.uint8), (volume > 9).astype(np.uint8), affine)

    monkeypatch.setattr(cohorts, "simulate_head", head)
    return asked


def test_a_cohort_is_a_folder_a_patient(tmp_path: Path, tiny: list[int]) -> None:
    write_heads(tmp_path, "A", range(10_003, 10_005))
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == [f"sub-A1000{i}/{n}.nii.gz" for i in (3, 4) for n in ("image", "label", "mask")]
    for name, dtype in (("image", np.int16), ("label", np.uint8), ("mask", np.uint8)):
        nifti = nibabel.load(tmp_path / "sub-A10003" / f"{name}.nii.gz")
        assert nifti.get_data_dtype() == dtype
        np.testing.assert_allclose(nifti.get_qform(), nifti.get_sform(), atol=1e-5)
        np.testing.assert_allclose(nifti.header.get_zooms(), (0.5, 0.7, 0.7), rtol=1e-6)


def test_heads_that_are_there_stay_and_bytes_are_the_same(tmp_path: Path, tiny: list[int]) -> None:
    assert write_heads(tmp_path / "one", "A", [1]) == 0
    assert write_heads(tmp_path / "one", "A", [1, 2]) == 1
    assert tiny == [1, 2]
    write_heads(tmp_path / "two", "A", [1])
    for name in ("image", "label", "mask"):
        one, two = (tmp_path / folder / "sub-A00001" / f"{name}.nii.gz" for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_head_cut_off_is_written_again(tmp_path: Path, tiny: list[int]) -> None:
    write_heads(tmp_path, "A", [1])
    (tmp_path / "sub-A00001" / "image.nii.gz").unlink()  # the image is written last
    write_heads(tmp_path, "A", [1])
    assert tiny == [1, 1]
    assert (tmp_path / "sub-A00001" / "image.nii.gz").exists()


# --- arteries


def test_the_tree_obeys_murray_and_stays_inside_the_skull() -> None:
    rng = np.random.default_rng(3)
    drawn = draw_parameters("A", rng)

    def distance(points: np.ndarray) -> np.ndarray:
        return intracranial(points.T)

    named = circle_of_willis(drawn, rng)
    n_named = len(named)
    tree = grow(named, drawn, distance, rng)
    daughters: dict[int, list[int]] = {}
    for i, branch in enumerate(tree):
        assert branch.parent < i
        if i >= n_named:
            daughters.setdefault(branch.parent, []).append(i)
            assert (distance(branch.points_mm[1:-1]) < 0.5).all()
            start = tree[branch.parent].points_mm[branch.parent_node]
            np.testing.assert_allclose(branch.points_mm[0], start, atol=1e-9)
    pairs = 0
    for parent, children in daughters.items():
        if parent >= n_named:
            cubes = sum(tree[c].radius_mm[0] ** 3 for c in children)
            assert cubes <= tree[parent].radius_mm[0] ** 3 * (1 + 1e-9)
            if len(children) == 2:
                pairs += 1
                assert cubes == pytest.approx(tree[parent].radius_mm[0] ** 3)
    assert pairs > 100
    thinnest = min(branch.radius_mm.min() for branch in tree[n_named:])
    assert 0.15 < thinnest < 0.22


def test_a_tube_fills_its_volume() -> None:
    line = np.zeros((80, 5))
    line[:, :3] = np.linspace((3.0, 4.0, 1.0), (7.0, 5.0, 27.0), 80)
    line[:, 3:] = (1.1, 3.0)
    rows = along(line, 1.1)
    fraction, total = rasterise(
        rows[:, :3], rows[:, 3], rows[:, 4], shape=(20, 18, 40), spacing_mm=np.array([0.5, 0.5, 0.7])
    )
    length = np.linalg.norm(rows[-1, :3] - rows[0, :3])
    expected = np.pi * 1.1**2 * length + 4 / 3 * np.pi * 1.1**3
    assert fraction.sum() * 0.5 * 0.5 * 0.7 == pytest.approx(expected, rel=0.03)
    assert fraction.min() == 0 and fraction.max() == 1
    np.testing.assert_allclose(total, 3 * fraction, rtol=1e-5)


def test_a_tube_outside_the_grid_leaves_it_empty() -> None:
    fraction, total = rasterise(np.full((3, 3), 99.0), np.ones(3), np.ones(3), shape=(4, 4, 4), spacing_mm=np.ones(3))
    assert not fraction.any() and not total.any()


# --- contrast


def test_blood_saturates_from_fresh_to_the_steady_state() -> None:
    flip = np.radians(18.0)
    signal = contrast.blood_signal(
        np.array([0.0, 0.1, 0.5, 100.0]), {"repetition_time": 22.0, "field_strength": 3.0}, np.asarray(flip)
    )
    assert signal[0] == pytest.approx(np.sin(flip))
    assert signal[-1] == pytest.approx(contrast.steady_state(contrast.BLOOD_T1_MS, 22.0, np.asarray(flip)))
    assert (np.diff(signal) < 0).all()


def test_blood_ages_along_a_vessel_and_is_fresh_in_the_next_slab() -> None:
    drawn = draw_parameters("A", np.random.default_rng(0)) | {"slab": 10.0, "flow_spread": 0.0, "velocity": 100.0}
    z = np.linspace(0.5, 14.5, 141)
    points = np.column_stack([0 * z, 0 * z, z])
    tree = [
        Branch("", points, np.full(141, 1.5), -1),
        Branch("", points[60:61] + np.array([0, 0, 0.1]), np.array([1.5]), 0, 60),
    ]
    slabs = contrast.Slabs(drawn, phase=0.0, rng=np.random.default_rng(0))
    trunk, side = contrast.transit_times(tree, [z, z[60:61]], slabs, drawn, np.random.default_rng(0))
    assert trunk[90] == pytest.approx(9.0 / 100)
    assert trunk[96] < 0.02  # past the slab's edge at 10 mm
    assert side[0] >= trunk[60]


def test_noise_is_rician_of_the_asked_width_with_and_without_correlation() -> None:
    for blur in (0.0, 0.2):
        rng = np.random.default_rng(1)
        air = contrast.rician(np.zeros((64, 64, 32), np.float32), 0.1, blur, rng)
        assert air.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)
        bright = contrast.rician(np.full((64, 64, 32), 5, np.float32), 0.1, blur, rng)
        assert bright.std() == pytest.approx(0.1, rel=0.03)


def test_a_field_is_the_same_in_any_window() -> None:
    field = SmoothField.random(np.random.default_rng(0), 6.0)
    axes = [np.linspace(-40, 40, 30), np.linspace(-50, 20, 25), np.linspace(0, 30, 20)]
    whole = field.on_grid(*axes)
    wide = field.on_grid(*[np.linspace(-150, 150, 100)] * 3)  # 25 times the scale each way: its own average tells
    assert abs(wide.mean()) < 0.05 and wide.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(field.on_grid(axes[0][7:11], axes[1][3:], axes[2]), whole[7:11, 3:])


def test_blood_and_tissue_relax_faster_at_a_lower_field_strength() -> None:
    for tissue, power in contrast.T1_EXPONENTS.items():
        assert contrast.t1_at(tissue, 1000.0, 3.0) == 1000.0
        assert contrast.t1_at(tissue, 1000.0, 1.5) == pytest.approx(1000.0 * 0.5**power)


def test_a_slab_has_one_gain_and_its_neighbour_another() -> None:
    drawn = draw_parameters("C", np.random.default_rng(0)) | {"slab_step": 0.1, "slab": 20.0}
    z_mm = np.arange(-40, 40, 0.7)
    slabs = contrast.Slabs(drawn, phase=0.3, rng=np.random.default_rng(0))
    gains, index = slabs.gain(z_mm), slabs.index(z_mm)
    assert len(set(gains)) == len(set(index)) > 3
    assert all(np.ptp(gains[index == i]) == 0 for i in set(index))


def test_the_version_stands_in_the_header_and_in_the_cohort(tmp_path, heads: dict[tuple[str, int], Head]) -> None:
    cohorts.write_head(tmp_path / "sub-C00000", heads["C", 0])
    path = tmp_path / "sub-C00000" / "image.nii.gz"
    assert simulation_version(path) == VERSION == 2
    scan = nibabel.load(path)
    for text, version in ((b"simulated by tofgan phantom", 1), (b"a scanner", None)):
        scan.header["descrip"] = text
        nibabel.save(scan, tmp_path / "other.nii.gz")
        assert simulation_version(tmp_path / "other.nii.gz") == version
