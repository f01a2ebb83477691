"""An audit's page: self-contained, escaped, every verdict named, missing parts told, and no patch where none may be.

All figures here are made up; they only have the form of an audit's.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tofgan_monai.audit.questions import MAPPING
from tofgan_monai.audit.verdict import WORST_AUC
from tofgan_monai.errors import InputError
from tofgan_monai.report import write_audit_report
from tofgan_monai.report.audit.methods import ATTACKS
from tofgan_monai.report.audit.text import SIGNS

ON_DATA = ("nearest image", "nearest label", "GAN-Leaks image", "GAN-Leaks label", "Monte Carlo", "density ratio")
SHA256 = "3f2a91c04b7d" + "0" * 52
N_CLOSEST = 2


def interval(value: float, half: float, n: int = 80) -> dict[str, Any]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0), "n": n}


def risk(auc: float, half: float, n: int) -> dict[str, Any]:
    return {
        "auc": interval(auc, half),
        "advantage": interval(min(2 * abs(auc - 0.5) + 0.08, 1.0), 0.06),
        "tpr": {
            "0.01": interval(0.02, 0.01) if n >= 1000 else None,
            "0.1": interval(0.13, 0.04) if n >= 100 else None,
        },
        "epsilon": 0.41 if auc > 0.7 else 0.0,
        "epsilon_ceiling": 2.1,
        "n_members": n,
        "n_non_members": n,
    }


def of_attack(name: str, release: str, auc: float) -> dict[str, Any]:
    has_strangers = release == "data"
    rates = np.linspace(0, 1, 40)
    return {
        "name": name,
        "release": release,
        "patch": risk(0.5 + 0.7 * (auc - 0.5), 0.03, 2000),
        "patient": risk(auc, 0.17, 40),
        "member_only": {"patch": risk(0.49, 0.05, 1000), "patient": risk(0.46, 0.24, 20)},
        "strangers": {"patch": risk(0.502, 0.03, 2000), "patient": risk(0.51, 0.17, 40)} if has_strangers else None,
        "excess": {"patch": interval(0.01, 0.03), "patient": {"value": -0.004, "low": -0.1, "high": 0.1, "n": 80}}
        if has_strangers
        else None,
        "roc": np.stack([rates, rates ** ((1 - auc) / auc)], axis=1).round(4).tolist(),
    }


def of_vessels(name: str, unit: str, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    edges = np.arange(0, 11)
    sets = {key: rng.gamma(3, scale, 400) for key, scale in (("synthetic", 1.2), ("real", 1.0), ("others", 1.05))}
    shares = {key: (np.histogram(of.clip(0, 9.9), edges)[0] / len(of)).tolist() for key, of in sets.items()}
    return {"name": name, "unit": unit, "distance": 0.61, "floor": 0.08, "edges": edges.tolist(), **shares}


def quality() -> dict[str, Any]:
    measured = {"precision": 0.71, "recall": 0.44, "density": 0.9, "coverage": 0.62}
    return {
        "n": 2000,
        "extractor": {"name": "FD(EfficientNet-Lite0)", "sha256": "c0ffee" + "0" * 58},
        "distances": [
            {"name": f"{name}, {of}", "value": value, "floor": value / 4, "n": 1000, **errors}
            for of in ("images", "labels", "images and labels jointly")
            for name, value, errors in (
                ("Frechet distance", 24.1, {}),
                ("Kernel distance (KID)", 0.0123, {"standard_error": 0.0004, "floor_standard_error": 0.0002}),
            )
        ],
        "manifold": {**measured, "floor": {name: 0.95 for name in measured}, "n": 1000},
        "diversity": {"name": "MS-SSIM", "synthetic": 0.231, "real": 0.217, "others": 0.219, "n_comparisons": 600},
        "vessels": [
            of_vessels(name, unit, seed)
            for seed, (name, unit) in enumerate(
                [
                    ("vessel radius", "pixels"),
                    ("length density", "pixels per 100 square pixels"),
                    ("branch points", "per patch"),
                    ("components", "per patch"),
                    ("loops", "per patch"),
                    ("contrast to noise", "standard deviations of the tissue"),
                ]
            )
        ],
        "warning": "A stack of copies of the training set has the best of these distances.",
    }


def verdict(outcome: str, *reasons: str) -> dict[str, Any]:
    return {"outcome": outcome, "rule": 1, "reasons": list(reasons)}


def generator_audit(kind: str = "real") -> dict[str, Any]:
    """An audit of a generator with everything in it: the pairs passed, the generator failed."""
    aucs = np.linspace(0.47, 0.55, len(ON_DATA)).round(3)
    attacks = [of_attack(name, "data", auc) for name, auc in zip(ON_DATA, aucs, strict=True)]
    attacks += [of_attack("latent recovery", "generator", 0.74), of_attack("LOGAN", "critic", 0.97)]
    stack = {"digest": "0123456789abcdef", "n": 2000, "seed": 0, "label_threshold": -0.5, "weights_sha256": SHA256}
    sizes = {"members": 40, "non_members": 40, "references": 20}
    closest = [
        {
            "synthetic": 17 * index,
            "member": 1000 + index,
            "similarity": 0.91 - 0.01 * index,
            "channel": "image" if index % 2 else "label",
            "shift": [3, -2],
            "flip": "none" if index else "horizontal",
        }
        for index in range(N_CLOSEST)
    ]
    return {
        "format": 1,
        "target": {"kind": "generator", "bundle": "tof_mra_wgan_gp", "weights_sha256": SHA256, "stack": stack},
        "cohorts": {
            name: {"patients": n, "pairs": 50 * n, "digest": f"{n:016d}", "kind": kind} for name, n in sizes.items()
        },
        "guarantee": {"epsilon": 7.4, "delta": 1e-5, "unit": "patch", "n_units": 2000, "accountant": "PRV"},
        "power": {"detectable_auc": 0.72, "required_patients": {"auc": 0.75, "patients": 36}, "n_attacks": 8},
        "attacks": attacks,
        "planted": {
            "n": 20,
            "attacks": {name: {"auc": interval(0.98, 0.02), "caught": name != "density ratio"} for name in ON_DATA},
        },
        "canary": {
            "times": 50,
            "repeats": [{"above_all": True, "rank": 1, "of": 41, "attack": "nearest image"} for _ in range(3)],
        },
        "copies": {
            "threshold": {"image": 0.93, "label": 0.9},
            "p": 0.21,
            "n_copies": 0,
            "n_near_copies": 3,
            "n_expected": 1.2,
            "near_copies": [4, 66, 1703],
            "nndr": {
                channel: {name: {"median": 0.951, "q05": 0.7} for name in ("members", "non_members")}
                for channel in ("image", "label")
            },
            "authenticity_pct": 91.2,
            "mifid": {
                name: {"frechet": 24.1, "distance": 0.05, "mifid": value}
                for name, value in (("members", 482.0), ("non_members", 431.0))
            }
            | {"n": 1000},
            "closest": closest,
        },
        "quality": quality(),
        "verdicts": {
            "data": verdict("passed", "no attack tells the 40 members from the 40 non-members beyond its control"),
            "generator": verdict("failed", *(f"latent recovery, reason {number}" for number in range(1, 7))),
            "critic": verdict("failed", "LOGAN tells members from non-members by patient: AUC 0.97"),
        },
    }


def segmentation_audit() -> dict[str, Any]:
    """An audit of a network, and nothing in it but attacks."""
    made = generator_audit()
    made["target"] = {"kind": "segmentation", "bundle": None, "weights_sha256": SHA256, "stack": None}
    made["attacks"] = [of_attack(name, "network", 0.6) for name in ("loss", "confidence", "LiRA")]
    made["verdicts"] = {"network": verdict("inconclusive", "no training with a repeated patient (canary)")}
    made["canary"] = made["copies"] = made["quality"] = made["planted"] = made["guarantee"] = None
    return made


def write_audit(folder: Path, audit: dict[str, Any], n_pictures: int | None = N_CLOSEST) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(audit))
    if n_pictures is not None:
        rng = np.random.default_rng(0)
        arrays = {
            name: rng.choice([-1, 1], (n_pictures, 2, 96, 96)).astype(np.float16)
            for name in ("synthetic", "member", "non_member")
        }
        np.savez(folder / "pictures.npz", **arrays)
    return folder


class Page(HTMLParser):
    """What a page would load, its table rows, its cards by verdict; its tags are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.targets: set[str] = set()
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "iframe", "object", "link", "base")
        self.loaded += [value or "" for key, value in attrs if key in ("src", "srcset", "data", "xlink:href")]
        self.targets |= {value or "" for key, value in attrs if key == "id"}
        self.links += [value or "" for key, value in attrs if key == "href"]
        if tag == "img":
            assert dict(attrs)["alt"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "tr" in self.open:
            self.rows[-1][-1] += ("|" if "span" in self.open else "") + data

    def row(self, label: str, n_cells: int) -> list[str]:
        return next(row for row in self.rows if row[0].split("|")[0].strip() == label and len(row) == n_cells)


def written(folder: Path, audit: dict[str, Any], *, patches: bool = True, n_pictures: int | None = N_CLOSEST) -> Page:
    return Page(write_audit_report(write_audit(folder, audit, n_pictures), patches=patches))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(tmp_path_factory.mktemp("audit"), generator_audit())


def test_the_page_loads_nothing(page: Page) -> None:
    assert len(page.loaded) == 3 * N_CLOSEST
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert not re.search(r"url\(|@import|https?:", page.source)
    assert all(link.startswith("#") and link[1:] in page.targets for link in page.links)


def test_every_verdict_is_named_by_a_word_and_a_sign_and_the_critic_never_leaves(page: Page) -> None:
    cards = re.findall(
        r'<article class="card (\w+)">\s*<p class="release">([^<]+)</p>(.*?)</article>', page.source, re.S
    )
    assert [(sign, release) for sign, release, _ in cards] == [
        ("passed", "Releasing the synthetic pairs"),
        ("failed", "Releasing the generator"),
        ("never", "Releasing the critic"),
    ]
    for sign, _, body in cards:
        assert f"<strong>{SIGNS[sign][0]}</strong>" in body and '<svg class="sign"' in body
    assert len({re.search(r"<svg.*?</svg>", body, re.S)[0] for _, _, body in cards}) == 3  # no two by colour alone


def test_the_first_page_shows_some_reasons_and_a_later_one_all(page: Page) -> None:
    first, _, rest = page.text.partition("All reasons")
    assert "reason 4" in first and "reason 5" not in first and "and 2 more reasons" in first
    assert all(f"Latent recovery, reason {number}" in rest for number in range(1, 7))


@pytest.mark.parametrize("outcome", ["passed", "failed", "inconclusive"])
def test_a_stack_has_its_verdict_and_the_rest_is_not_audited(tmp_path: Path, outcome: str) -> None:
    audit = generator_audit()
    audit["target"] |= {"kind": "stack", "bundle": None, "weights_sha256": None}
    audit["attacks"] = audit["attacks"][: len(ON_DATA)]
    audit["verdicts"] = {"data": verdict(outcome, "because")}
    page = written(tmp_path, audit)
    signs = re.findall(r'<article class="card (\w+)">', page.source)
    assert signs == [outcome, "missing", "never"] and "Because" in page.text


def test_the_table_of_attacks_has_the_figures_and_says_what_cannot_be_estimated(page: Page) -> None:
    latent = page.row("latent recovery", 8)
    assert latent[1:] == [
        "0.74|0.57 to 0.91",
        "not estimable|100 others needed",
        "not estimable|1,000 others needed",
        "0.56|0.50 to 0.62",
        "0.41|ceiling 2.10",
        "40",
        "40",
    ]
    of_patches = [row for row in page.rows if row[0].startswith("nearest image") and row[-1] == "2,000"]
    assert of_patches[0][2:4] == ["0.13|0.09 to 0.17", "0.02|0.01 to 0.03"]


def test_controls_planted_copies_and_canaries_are_told(page: Page) -> None:
    assert page.row("nearest image", 7)[1:3] == ["0.46|0.22 to 0.70", "0.49|0.44 to 0.54"]
    assert page.row("nearest image", 7)[5] == "0.00|\u22120.10 to +0.10"
    assert page.row("LOGAN", 7)[3:] == ["\u2013"] * 4
    assert page.row("density ratio", 3)[2] == "missed" and page.row("Monte Carlo", 3)[2] == "caught"
    assert page.row("training 3", 4)[1:] == ["nearest image", "1 of 41", "caught"]


def test_the_forest_plot_places_each_auc_on_its_axis(page: Page) -> None:
    start = 0.25  # no interval that is drawn starts lower
    track = re.search(r'<span class="name">latent recovery .*?</svg>', page.source, re.S)[0]
    half, limit = (float(x) for x in re.findall(r'class="(?:half|limit)" x1="([\d.]+)%', track))
    assert (half, limit) == pytest.approx([100 * (auc - start) / (1 - start) for auc in (0.5, WORST_AUC)], abs=0.01)
    marks = re.findall(r'<g class="(\w+)"><line x1="([\d.]+)%" y1="\d+" x2="([\d.]+)%"', track)
    assert [kind for kind, *_ in marks] == ["patient", "patch", "member_only"]
    for at, auc in zip(map(float, marks[0][1:]), (0.57, 0.91), strict=True):
        assert at == pytest.approx(100 * (auc - start) / (1 - start), abs=0.05)


def test_copies_and_quality_stand_beside_chance_and_warnings(page: Page) -> None:
    assert "3 synthetic pairs are near-copies" in page.text and "1.2 are expected by chance (p 0.21, each" in page.text
    assert "These figures alone prove nothing." in page.text and "arXiv:2505.01524" in page.text
    assert page.row("NNDR, label maps, 5% quantile", 4)[1:] == ["0.7", "0.7", "2,000"]
    assert page.row("MiFID", 4)[1:] == ["482", "431", "1,000"]
    assert page.row("authenticity (AuthPct), %", 4)[1:] == ["91.2", "\u2013", "2,000"]
    assert "A stack of copies of the training set has the best of these distances." in page.text
    assert page.row("Kernel distance (KID), images", 4)[1:] == [
        "0.0123|\u00b1 0.0004",
        "0.00308|\u00b1 0.0002",
        "1,000",
    ]
    assert page.row("MS-SSIM within a set", 5)[1:] == ["0.231", "0.219", "0.217", "600"]
    assert page.row("coverage", 5)[1:] == ["0.62", "0.95", "\u2013", "1,000"] and "c0ffee0000000000" in page.text
    assert page.source.count('<path class="synthetic"') == 6 + 1  # the statistics, and the key


def test_the_officers_questions_come_with_the_figures_of_their_attacks(page: Page) -> None:
    for entry in MAPPING:
        spoken = not entry["attacks"] or set(entry["attacks"]) & {*ON_DATA, "latent recovery"}
        assert (entry["cannot_say"].replace("'", "\u2019") in page.text) == bool(spoken)
    assert "No attack of this audit speaks to: A segmentation network trained on patients" in page.text
    assert "latent recovery: 0.74 (0.57 to 0.91)" in page.text
    assert "Largest advantage over patients, of latent recovery: 0.56 (0.50 to 0.62)." in page.text  # not LOGAN's
    assert "It is no probability of re-identification" in page.text
    assert (
        "\u03b5 = 7.4 at \u03b4 = 1e\u22125, for one patch, there or not, among 2,000 patches (PRV accountant)"
        in page.text
    )
    assert "for a patient the guarantee is far weaker" in page.text


def test_all_attacks_of_the_officers_questions_have_a_method_with_a_source() -> None:
    named = {name for entry in MAPPING for name in entry["attacks"]}
    assert named <= ATTACKS.keys() and all("arXiv:" in source for _, source in ATTACKS.values())


def test_a_segmentation_audit_with_nothing_but_attacks_names_what_is_missing(tmp_path: Path) -> None:
    page = written(tmp_path, segmentation_audit(), n_pictures=None)
    assert re.findall(r'<article class="card (\w+)">', page.source) == ["inconclusive"]
    for words in (
        "Releasing the segmentation network",
        "No planted copies",
        "No canary",
        "No copy search: this audit has none, as a segmentation network makes no pairs",
        "No quality",
        "no training with one patient repeated many times (a canary) was tried",
        "None: the training gives no mathematical guarantee",
    ):
        assert words in page.text
    assert page.loaded == [] and "None" not in re.sub("None: the training", "", page.text)


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
    few = written(tmp_path, audit).text
    spots = few.partition("What this audit cannot tell")[2]
    assert spots.strip().startswith("Too few patients") and "it takes 36 training" in spots and "40 and 14" in spots


def test_simulated_patients_are_labelled(page: Page, tmp_path: Path) -> None:
    assert "Simulated" not in page.text
    audit = generator_audit("simulated")
    assert "All patients are simulated" in written(tmp_path / "all", audit).text
    audit["cohorts"]["members"]["kind"] = "real"
    text = written(tmp_path / "some", audit).text
    assert "Simulated, and no patients: the held-out patients and the reference patients" in text


def test_without_patches_nothing_of_a_patient_is_on_the_page(page: Page, tmp_path: Path) -> None:
    assert "Stays inside." in page.text and "Synthetic pair 17, training pair 1001" in page.text
    folder = write_audit(tmp_path, generator_audit())
    path = write_audit_report(folder, patches=False)
    shared = Page(path)
    assert path == folder / "audit_for_sharing.html" and not (folder / "audit.html").exists()
    assert shared.loaded == [] and "data:image" not in shared.source
    assert "No patch of a patient is on this page" in shared.text
    assert "training pair 1001" not in shared.text and "1703" not in shared.text
    audit = generator_audit()
    digests = [audit["target"]["stack"]["digest"], *(cohort["digest"] for cohort in audit["cohorts"].values())]
    assert all(digest in page.text and digest not in shared.source for digest in digests)
    assert f"seed {audit['target']['stack']['seed']}" in page.text and "(label threshold" in shared.text
    assert (
        "<polyline" in page.source
        and "<polyline" not in shared.source
        and "No ROC curves: they stay at the clinic" in shared.text
    )
    assert audit["target"]["weights_sha256"] in shared.text


def test_without_pictures_the_closest_pairs_are_told_in_words(tmp_path: Path) -> None:
    page = written(tmp_path, generator_audit(), n_pictures=None)
    assert page.loaded == [] and "there is no pictures.npz" in page.text and "Stays inside." not in page.text
    assert "Similarity 0.90 of the images, shifted by 3 and \u22122 pixels. Synthetic pair 17" in page.text


def test_text_is_escaped_and_nobody_is_promised_anonymity(page: Page, tmp_path: Path) -> None:
    audit = generator_audit()
    audit["target"]["bundle"] = "<b>bundle</b>"
    audit["verdicts"]["data"]["reasons"] = ["<script>alert(1)</script>"]
    audit["attacks"][0]["name"] = 'a"<i>'
    text = written(tmp_path, audit).source
    assert "<b>" not in text and "<script" not in text and "<i>" not in text and 'a"' not in text
    told = re.findall(r"[^.]*\banonymous\b[^.]*\.", page.text)
    assert told and all("does not make it anonymous" in sentence for sentence in told)


def test_the_same_audit_gives_the_same_bytes_where_it_is_told_to(tmp_path: Path) -> None:
    folder = write_audit(tmp_path, generator_audit())
    output = tmp_path / "elsewhere" / "x.html"
    assert write_audit_report(folder, output) == output
    assert output.read_bytes() == write_audit_report(folder).read_bytes()
    assert str(tmp_path) not in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("[1", "not readable as JSON"),
        ("[]", "format None"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "lacks target"),
    ],
)
def test_an_audit_of_another_form_is_named(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(InputError, match=f"audit.json: .*{named}"):
        write_audit_report(tmp_path)
    with pytest.raises(InputError, match="no audit"):
        write_audit_report(tmp_path / "elsewhere")


def test_pictures_of_another_audit_are_refused(tmp_path: Path) -> None:
    folder = write_audit(tmp_path, generator_audit(), n_pictures=1)
    with pytest.raises(InputError, match=r"pictures.npz: synthetic of shape \(1, 2, 96, 96\)"):
        write_audit_report(folder)
    (folder / "pictures.npz").write_text("?")
    with pytest.raises(InputError, match=r"pictures.npz: not readable"):
        write_audit_report(folder)
    assert not (folder / "audit.html").exists()
