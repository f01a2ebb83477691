"""The page of an audit: self-contained and escaped, with every verdict, every missing part, and no patch to share.

All figures here are made up; they only have the form of an audit's.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import audits
from tests.helpers.audits import SHA256, interval, risk
from tests.helpers.pages import Page
from tofgan_monai import InputError
from tofgan_monai.audit.questions import MAPPING
from tofgan_monai.audit.verdict import WORST_AUC
from tofgan_monai.report.audit.page import write_audit_report
from tofgan_monai.volumes.writing import write_label

ON_DATA = ("nearest image", "nearest label", "GAN-Leaks image", "GAN-Leaks label", "Monte Carlo", "density ratio")
ON_NETWORK = ("loss", "confidence", "LiRA")
PICTURES = ("synthetic", "member", "non_member")
N_CLOSEST = 2


def attack(name: str, release: str, auc: float) -> dict[str, Any]:
    """An attack with this AUC over patients, and strangers as a control if it is on pairs."""
    made = audits.attack(name, release, strangers=release == "data")
    made["patient"] = {**risk(auc, 0.17), "advantage": interval(0.56 if auc > 0.7 else 0.1, 0.06), "epsilon": 0.41}
    made["patch"]["n_non_members"] = 2000
    made["patch"]["tpr"] = {"0.01": interval(0.02, 0.01), "0.1": interval(0.13, 0.04)}
    made["patient"]["tpr"] = {"0.01": None, "0.1": None}
    return made


def quality() -> dict[str, Any]:
    """Every figure of quality that the page can show."""
    rng = np.random.default_rng(0)
    statistics = {"vessel radius": "pixels", "branch points": "per patch", "loops": "per patch"}
    measured = {"precision": 0.71, "recall": 0.44, "density": 0.9, "coverage": 0.62}
    errors = {"standard_error": 0.0004, "floor_standard_error": 0.0002}
    return {
        "extractor": {"name": "FD(EfficientNet-Lite0)", "sha256": "c0ffee" + "0" * 58},
        "distances": [
            {"name": "Frechet distance, images", "value": 24.1, "floor": 6.025, "n": 1000},
            {"name": "Kernel distance (KID), images", "value": 0.0123, "floor": 0.003075, "n": 1000, **errors},
        ],
        "manifold": {**measured, "floor": dict.fromkeys(measured, 0.95), "n": 1000},
        "diversity": {"name": "MS-SSIM", "synthetic": 0.231, "real": 0.217, "others": 0.219, "n_comparisons": 600},
        "vessels": [
            {"name": name, "unit": unit, "distance": 0.61, "floor": 0.08, "edges": list(range(11))}
            | {key: rng.dirichlet(np.ones(10)).round(4).tolist() for key in ("synthetic", "real", "others")}
            for name, unit in statistics.items()
        ],
        "warning": "A stack of copies of the training set has the best of these distances.",
    }


def verdict(outcome: str, *reasons: str) -> dict[str, Any]:
    return {"outcome": outcome, "rule": 1, "reasons": list(reasons)}


def generator_audit(kind: str = "real") -> dict[str, Any]:
    """An audit of a generator with everything in it: the pairs passed, the generator failed."""
    made = audits.audit("generator")
    made["target"] |= {"bundle": "tof_mra_wgan_gp"}
    made["target"]["stack"] |= {"digest": "0123456789abcdef", "n": 2000, "label_threshold": -0.5}
    for index, name in enumerate(("members", "non_members", "references")):
        made["cohorts"][name] |= {"patients": 40 - 20 * (index == 2), "digest": f"{index + 7:016d}", "kind": kind}
    made["power"] = {"detectable_auc": 0.72, "required_patients": {"auc": 0.75, "patients": 36}, "n_attacks": 8}
    made["guarantee"] |= {"unit": "patch", "n_units": 2000}
    aucs = np.linspace(0.47, 0.55, len(ON_DATA)).round(3).tolist()
    made["attacks"] = [attack(name, "data", auc) for name, auc in zip(ON_DATA, aucs, strict=True)]
    made["attacks"] += [attack("latent recovery", "generator", 0.74), attack("LOGAN", "critic", 0.9)]
    caught = {name: {"auc": interval(0.98, 0.02), "caught": name != "density ratio"} for name in ON_DATA}
    made["planted"] = {"n": 20, "attacks": caught}
    nearest = {name: {"median": 0.951, "q05": 0.7} for name in ("members", "non_members")}
    made["copies"] |= {
        "p": 0.21,
        "n_near_copies": 3,
        "n_expected": 1.2,
        "near_copies": [4, 66, 1703],
        "nndr": {"image": nearest, "label": nearest},
        "mifid": {"members": {"mifid": 482.0}, "non_members": {"mifid": 431.0}, "n": 1000},
        "closest": [
            {"synthetic": 17 * index, "member": 1000 + index, "similarity": 0.91 - 0.01 * index, "channel": channel}
            | {"shift": [3, -2], "flip": "none"}
            for index, channel in enumerate(("label", "image"))
        ],
    }
    made["quality"] = quality()
    made["verdicts"] = {
        "data": verdict("passed", "no attack tells the 40 members from the 40 non-members beyond its control"),
        "generator": verdict("failed", *(f"latent recovery, reason {number}" for number in range(1, 7))),
        "critic": verdict("failed", "LOGAN tells members from non-members by patient: AUC 0.97"),
    }
    return made


def segmentation_audit() -> dict[str, Any]:
    """An audit of a network, and nothing in it but attacks."""
    made = audits.audit("segmentation")
    made["attacks"] = [attack(name, "network", 0.6) for name in ON_NETWORK]
    made["verdicts"] = {"network": verdict("inconclusive", "no training with a repeated patient (canary)")}
    return made | dict.fromkeys(("canary", "copies", "quality", "planted", "guarantee"))


def write_audit(folder: Path, audit: dict[str, Any], n_pictures: int | None = N_CLOSEST) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(audit))
    if n_pictures is not None:
        pixels = np.random.default_rng(0).choice([-1, 1], (n_pictures, 2, 96, 96)).astype(np.float16)
        np.savez(folder / "pictures.npz", **dict.fromkeys(PICTURES, pixels))
    return folder


def written(folder: Path, audit: dict[str, Any], *, patches: bool = True, n_pictures: int | None = N_CLOSEST) -> Page:
    return Page(write_audit_report(write_audit(folder, audit, n_pictures), patches=patches))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(tmp_path_factory.mktemp("audit"), generator_audit())


@pytest.fixture(scope="module")
def of_a_network(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(tmp_path_factory.mktemp("audit"), segmentation_audit(), n_pictures=None)


def signs(page: Page) -> list[str]:
    return re.findall(r'<article class="card (\w+)">', page.source)


def test_the_page_loads_nothing(page: Page) -> None:
    page.assert_self_contained(len(PICTURES) * N_CLOSEST)


def test_every_verdict_is_named_by_a_word_and_a_sign_and_the_critic_never_leaves(page: Page) -> None:
    cards = re.findall(
        r'<article class="card (\w+)">\s*<p class="release">Releasing ([^<]+)</p>.*?(<svg.*?</svg>)\s*<strong>(\w+)',
        page.source,
        re.S,
    )
    assert [(sign, release, word) for sign, release, _, word in cards] == [
        ("passed", "the synthetic pairs", "Passed"),
        ("failed", "the generator", "Failed"),
        ("never", "the critic", "Never"),
    ]
    assert len({drawing for _, _, drawing, _ in cards}) == 3  # colour alone tells no two apart


def test_the_first_page_shows_some_reasons_and_a_later_one_all(page: Page) -> None:
    first, _, rest = page.text.partition("All reasons")
    assert "reason 4" in first and "reason 5" not in first and "2 more reasons" in first
    assert all(f"Latent recovery, reason {number}" in rest for number in range(1, 7))


@pytest.mark.parametrize("outcome", ["passed", "failed", "inconclusive"])
def test_a_stack_has_its_verdict_and_the_rest_is_not_audited(tmp_path: Path, outcome: str) -> None:
    audit = generator_audit()
    audit["target"] |= {"kind": "stack", "bundle": None, "weights_sha256": None}
    audit["attacks"] = audit["attacks"][: len(ON_DATA)]
    audit["verdicts"] = {"data": verdict(outcome, "because")}
    page = written(tmp_path, audit)
    assert signs(page) == [outcome, "missing", "never"] and "Because" in page.text


def test_the_table_of_attacks_has_the_figures_and_says_what_cannot_be_estimated(page: Page) -> None:
    assert page.row("latent recovery", 8)[1:] == [
        "0.74|0.57 to 0.91",
        "not estimable|100 held-out needed",
        "not estimable|1,000 held-out needed",
        "0.56|0.50 to 0.62",
        "0.41|ceiling 2.10",
        "40",
        "40",
    ]
    (of_patches,) = (row for row in page.rows if row[0].startswith("nearest image") and row[-1] == "2,000")
    assert of_patches[2:4] == ["0.13|0.09 to 0.17", "0.02|0.01 to 0.03"]


def test_controls_planted_copies_and_canaries_are_told(page: Page) -> None:
    row = page.row("nearest image", 7)
    assert row[1:3] == ["0.47|0.27 to 0.67", "0.49|0.39 to 0.59"] and row[5] == "+0.02|\u22120.08 to +0.12"
    assert page.row("LOGAN", 7)[3:] == ["\u2013"] * 4
    assert page.row("density ratio", 3)[2] == "missed" and page.row("Monte Carlo", 3)[2] == "detected"
    assert page.row("training 3", 4)[1:] == ["nearest image", "1 of 41", "detected"]


def test_the_forest_plot_places_each_auc_on_its_axis(page: Page) -> None:
    start = 0.25  # no interval that is drawn starts lower
    track = re.search(r'<span class="name">latent recovery .*?</svg>', page.source, re.S)[0]
    half, limit = (float(x) for x in re.findall(r'class="(?:half|limit)" x1="([\d.]+)%', track))
    assert (half, limit) == pytest.approx([100 * (auc - start) / (1 - start) for auc in (0.5, WORST_AUC)], abs=0.01)
    marks = re.findall(r'<g class="(\w+)"><line x1="([\d.]+)%" y1="\d+" x2="([\d.]+)%"', track)
    assert [kind for kind, *_ in marks] == ["patient", "patch", "member_only"]
    for at, auc in zip(map(float, marks[0][1:]), (0.57, 0.91), strict=True):
        assert at == pytest.approx(100 * (auc - start) / (1 - start), abs=0.05)


def test_copies_stand_beside_chance(page: Page) -> None:
    for words in ("3 synthetic pairs are near-copies", "Chance alone explains 1.2 (p 0.21", "arXiv:2505.01524"):
        assert words in page.text
    assert page.row("NNDR, label maps, 5% quantile", 4)[1:] == ["0.7", "0.7", "2,000"]
    assert page.row("MiFID", 4)[1:] == ["482", "431", "1,000"]
    assert page.row("authenticity (AuthPct), %", 4)[1:] == ["91.2", "\u2013", "2,000"]


def test_quality_stands_beside_its_floor_and_its_warning(page: Page) -> None:
    assert "A stack of copies of the training set has the best of these distances." in page.text
    kernel = page.row("Kernel distance (KID), images", 4)
    assert kernel[1:] == ["0.0123|\u00b1 0.0004", "0.00308|\u00b1 0.0002", "1,000"]
    assert page.row("MS-SSIM within a set", 5)[1:] == ["0.231", "0.219", "0.217", "600"]
    assert page.row("coverage", 5)[1:] == ["0.62", "0.95", "\u2013", "1,000"] and "c0ffee0000000000" in page.text
    assert page.source.count('<path class="synthetic"') == 3 + 1  # the statistics, and the key


def test_the_officers_questions_come_with_the_figures_of_their_attacks(page: Page) -> None:
    for entry in MAPPING:
        spoken = not entry["attacks"] or set(entry["attacks"]) & {*ON_DATA, "latent recovery"}
        assert (entry["cannot_say"].replace("'", "\u2019") in page.text) == bool(spoken)
    assert "no attack for: A segmentation network trained on patients" in page.text
    assert "latent recovery 0.74 (0.57 to 0.91)" in page.text
    assert "Largest advantage over patients: latent recovery, 0.56 (0.50 to 0.62)." in page.text  # not LOGAN's
    assert "no probability of re-identification" in page.text


def test_the_guarantee_is_told_with_its_unit(page: Page) -> None:
    for words in ("\u03b5 = 7.4 at \u03b4 = 1e\u22125", "one patch among 2,000 patches (PRV", "far weaker"):
        assert words in page.text


def test_every_attack_has_a_method_with_a_source(page: Page, of_a_network: Page) -> None:
    sources = dict(re.findall(r'<dt>([^<]+)</dt><dd>[^<]{20,}<span class="soft">([^<]*)', page.source))
    sources |= dict(re.findall(r'<dt>([^<]+)</dt><dd>[^<]{20,}<span class="soft">([^<]*)', of_a_network.source))
    named = {name for entry in MAPPING for name in entry["attacks"]}
    assert all("arXiv:" in sources[name] for name in named | {"LOGAN"})


def test_a_segmentation_audit_with_nothing_but_attacks_names_what_is_missing(of_a_network: Page) -> None:
    page = of_a_network
    assert signs(page) == ["inconclusive"] and "Releasing the segmentation network" in page.text
    for words in ("No planted copies", "No canary", "No copy search", "not measure the quality", "no mathematical"):
        assert words in page.text
    assert page.loaded == [] and "None" not in page.text.replace("None. The training", "")


@pytest.mark.parametrize("part", ["guarantee", "planted", "canary", "copies", "quality"])
def test_any_part_may_be_null_or_missing(tmp_path: Path, part: str) -> None:
    audit = generator_audit()
    audit[part] = None
    n_pictures = None if part == "copies" else N_CLOSEST
    null = written(tmp_path / "null", audit, n_pictures=n_pictures)
    del audit[part]
    assert written(tmp_path / "missing", audit, n_pictures=n_pictures).text == null.text


def test_too_few_patients_are_the_first_thing_it_cannot_tell(tmp_path: Path) -> None:
    audit = generator_audit()
    audit["cohorts"]["non_members"]["patients"] = 14
    first = written(tmp_path, audit).text.partition("What this audit cannot tell")[2].strip().splitlines()[0]
    assert "Too few patients" in first and "40 training and 14 held-out" in first and "36 of each" in first


def test_simulated_patients_are_labelled(page: Page, tmp_path: Path) -> None:
    assert "imulated data" not in page.text
    audit = generator_audit("simulated")
    assert "All patients are simulated" in written(tmp_path / "all", audit).text
    audit["cohorts"]["members"]["kind"] = "real"
    assert "held-out patients and the reference patients are simulated" in written(tmp_path / "some", audit).text


def test_without_patches_nothing_of_a_patient_is_on_the_page(page: Page, tmp_path: Path) -> None:
    audit = generator_audit()
    folder = write_audit(tmp_path, audit)
    path = write_audit_report(folder, patches=False)
    shared = Page(path)
    assert path == folder / "audit_for_sharing.html" and not (folder / "audit.html").exists()
    assert shared.loaded == [] and "data:image" not in shared.source and str(tmp_path) not in shared.source
    assert "Stays inside." in page.text and "For sharing." in shared.text
    digests = [audit["target"]["stack"]["digest"], *(cohort["digest"] for cohort in audit["cohorts"].values())]
    seed = f"seed {audit['target']['stack']['seed']}"
    for kept in ("training pair 1001", "<polyline", seed, *digests):
        assert kept in page.source and kept not in shared.source
    assert "1703" not in shared.text and "has no ROC curves: they stay" in shared.text
    assert SHA256 in shared.text and "label threshold \u22120.50" in shared.text


def test_no_page_of_an_audit_shows_the_vessels_of_a_head(tmp_path: Path) -> None:
    """A mesh of a patient is the patient's data, whatever lies in the folder; and a browser would run no script."""
    folder = write_audit(tmp_path, generator_audit())
    label = np.zeros((9, 9, 9), np.uint8)
    label[4, 4] = 1
    for place in ("figures", "error_maps", "."):
        write_label(label, folder / place / "x.nii.gz", affine=np.eye(4))
        Image.new("RGB", (4, 4)).save(folder / place / "x.png")
    for patches in (True, False):
        path = write_audit_report(folder, patches=patches)
        page = Page(path)  # without a script
        text = path.read_text("utf-8").lower()
        assert "plotly" not in text and "vessel-tree" not in text and "<canvas" not in text
        assert page.policy == "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'"


def test_without_pictures_the_closest_pairs_are_told_in_words(tmp_path: Path) -> None:
    page = written(tmp_path, generator_audit(), n_pictures=None)
    assert page.loaded == [] and "no pictures.npz" in page.text and "Stays inside." not in page.text
    assert "Similarity 0.90 of the images, after a shift of 3 pixels down and \u22122 to the right" in page.text


def test_text_is_escaped_and_nobody_is_promised_anonymity(page: Page, tmp_path: Path) -> None:
    audit = generator_audit()
    audit["target"]["bundle"] = "<b>bundle</b>"
    audit["verdicts"]["data"]["reasons"] = ["<script>alert(1)</script>"]
    audit["attacks"][0]["name"] = 'a"<i>'
    text = written(tmp_path, audit).source
    assert "<b>" not in text and "<script" not in text and "<i>" not in text and 'a"' not in text
    told = re.findall(r"[^.]*\banonymous\b[^.]*\.", page.text)
    assert told and all("does not make it anonymous" in sentence for sentence in told)


def test_the_same_audit_gives_the_same_bytes_in_any_folder(tmp_path: Path) -> None:
    pages = [write_audit_report(write_audit(tmp_path / name, generator_audit())) for name in ("one", "other")]
    one, other = (page.read_bytes() for page in pages)
    assert one == other and str(tmp_path).encode() not in one


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[1", "not valid JSON"),
        ("[]", "format None"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "lacks target"),
    ],
)
def test_an_audit_of_another_form_is_named(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(InputError, match=f"audit.json: .*{named}"):
        write_audit_report(tmp_path)
    with pytest.raises(InputError, match="audit cannot be read"):
        write_audit_report(tmp_path / "elsewhere")


def test_pictures_of_another_audit_are_refused(tmp_path: Path) -> None:
    folder = write_audit(tmp_path, generator_audit(), n_pictures=1)
    with pytest.raises(InputError, match=r"pictures.npz: .*synthetic has shape \(1, 2, 96, 96\)"):
        write_audit_report(folder)
    (folder / "pictures.npz").write_text("?")
    with pytest.raises(InputError, match=r"pictures.npz: the file cannot be read"):
        write_audit_report(folder)
    assert not (folder / "audit.html").exists()
