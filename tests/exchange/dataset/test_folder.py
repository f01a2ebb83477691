"""Datasets: what leaves, with whose leave, what it says, and that mlcroissant gives every pair back."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from datetime import date

import numpy as np
import pytest
from mlcroissant import GenerationError
from PIL import Image
from typer.testing import CliRunner

from tests.helpers.audits import audit, changed
from tests.helpers.refusals import refused
from tofgan_monai import Citation, InputError, PairDataset, open_stack, release_stack
from tofgan_monai.audit.record import read_audit
from tofgan_monai.audit.verdict import MIN_PATIENTS
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.cli import app
from tofgan_monai.exchange.data_card import as_text, card
from tofgan_monai.exchange.dataset.folder import preview
from tofgan_monai.exchange.installing import unpack
from tofgan_monai.exchange.layout import CARD
from tofgan_monai.training.weights import weights_file_digest

N, SHA256 = 6, "ab" * 32
REASON = "the ethics board has asked for it, vote 12"
STATED = Citation(
    "cc-by-4.0", ("Muster, Anna", "Clinic A"), "Pairs", "1.0.0", date(2026, 12, 1), "https://example.org/x"
)
QUALITY = {
    "distances": [{"name": "Frechet distance, images", "value": 3.25, "floor": 1.5, "n": 1000, "more": 1}],
    "manifold": {
        **dict.fromkeys(("precision", "recall", "density", "coverage"), 0.625),
        "floor": dict.fromkeys(("precision", "recall", "density", "coverage"), 0.75),
        "n": 1000,
    },
    "vessels": [{"name": "vessel radius", "real": [1, 2, 3]}],
}


@pytest.fixture
def synthetic(tmp_path, write_pairs):
    """A stack of a generator that nobody knows."""
    made = {"kind": "synthetic", "bundle": "clinic_gan", "weights_sha256": SHA256, "label_threshold": -0.5}
    return write_pairs(tmp_path / "pairs.npy", N, **made, fingerprint="f")


@pytest.fixture
def audited(tmp_path):
    """Callable (stack, *path, to) -> the folder of an audit of a stack's pairs, with a change."""

    def made(stack, *path, to=None):
        content = audit("stack") | {"quality": QUALITY}
        content["target"]["stack"] |= {"digest": PairDataset(stack).digest}  # n is what the rule wants
        (tmp_path / "audit").mkdir(exist_ok=True)
        (tmp_path / "audit" / "audit.json").write_text(json.dumps(changed(content, *path, to=to) if path else content))
        return tmp_path / "audit"

    return made


@pytest.fixture
def records(tmp_path, monkeypatch):
    """Callable (folder) -> what mlcroissant loads from a dataset: images and labels, two dicts from name to array."""
    import mlcroissant
    from etils import epath

    monkeypatch.setattr(
        "mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path / "extracted")
    )

    def load(folder):
        described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
        assert described.metadata.ctx.issues.report() == ""  # no error and no warning
        return tuple(
            {record[f"{kind}/name"].decode(): np.asarray(record[f"{kind}/png"]) for record in described.records(kind)}
            for kind in ("images", "labels")
        )

    return load


def texts(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if file.suffix in (".md", ".json")}


def sensitive(folder):
    """What croissant.json says about patients, a list of sentences."""
    said = json.loads((folder / "croissant.json").read_text())["rai:personalSensitiveInformation"]
    return [said] if isinstance(said, str) else said


def test_dataset_is_whole_and_mlcroissant_gives_every_pair_back(synthetic, audited, tmp_path, records):
    folder, path = tmp_path / "out", audited(synthetic)
    assert release_stack(synthetic, folder, STATED, audit=path) == N
    (images_zip, labels_zip) = sorted(file.name for file in folder.glob("*.zip"))
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [
            *("README.md", "SHA256SUMS", "audit.json", "croissant.json", "pairs.json", "pairs.npy", "preview.png"),
            *(images_zip, labels_zip),
        ]
    )
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {file.name for file in folder.iterdir()} - {"SHA256SUMS"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    pairs, manifest = open_stack(folder / "pairs.npy")
    np.testing.assert_array_equal(pairs, open_stack(synthetic)[0])
    assert manifest["audit"] == read_audit(path).summary("data") and "fingerprint" not in manifest
    assert json.loads((folder / "audit.json").read_text()) == read_audit(path).figures
    images, labels = records(folder)
    assert list(images) == list(labels) == [f"pair_{index:06d}" for index in range(N)]
    grey = np.stack(list(images.values()))
    assert grey.dtype == np.uint16
    np.testing.assert_allclose(grey / 65535 * 2 - 1, pairs[:, 0].astype(float), atol=1 / 65535)
    np.testing.assert_array_equal(np.stack(list(labels.values())), np.where(pairs[:, 1] > 0, 255, 0))
    assert str(tmp_path) not in "".join(texts(folder).values())


def test_mlcroissant_refuses_an_archive_that_has_changed(synthetic, audited, tmp_path, records):
    release_stack(synthetic, tmp_path / "out", STATED, audit=audited(synthetic))
    with open(next((tmp_path / "out").glob("labels_*.zip")), "ab") as stream:
        stream.write(b" ")
    with pytest.raises(GenerationError) as caught:
        records(tmp_path / "out")
    assert "Hash of downloaded file" in str(caught.value.__cause__)


def test_card_says_that_the_anatomy_of_a_refiners_pairs_is_simulated(tmp_path, write_pairs):
    made = {"kind": "synthetic", "weights_sha256": SHA256, "anatomy": "simulated"}
    release_stack(write_pairs(tmp_path / "a.npy", 2, **made), tmp_path / "out", STATED, despite=REASON)
    readme = " ".join(texts(tmp_path / "out")["README.md"].split())
    assert (
        "Anatomy and labels of the pairs are simulated. A network gave the images the look of scans; it was" in readme
    )
    assert "that the simulation does not draw is in no pair" in readme and "random numbers" not in readme


def test_manifest_keeps_what_is_known_and_the_rest_is_told(tmp_path, write_pairs, caplog):
    said = {"overridden": True, "reason": REASON, "summary": None}
    made = {"kind": "synthetic", "weights_sha256": SHA256, "note": "x", "volumes": [], "audit": said}
    with caplog.at_level("INFO"):
        release_stack(write_pairs(tmp_path / "a.npy", 2, **made), tmp_path / "out", STATED, despite="another reason")
    manifest = open_stack(tmp_path / "out" / "pairs.npy")[1]
    assert manifest.keys() == {"kind", "weights_sha256", "audit", "n", "shape", "dtype"}
    assert manifest["audit"]["reason"] == "another reason"
    assert "a.npy: left out of the released manifest: note, volumes" in caplog.text


def test_same_pairs_give_the_same_dataset(synthetic, audited, tmp_path):
    path = audited(synthetic)
    for name in ("a", "b"):
        release_stack(synthetic, tmp_path / name, STATED, audit=path)
    assert (tmp_path / "a" / "SHA256SUMS").read_text() == (tmp_path / "b" / "SHA256SUMS").read_text()


def test_card_states_origin_licence_audit_and_quality(synthetic, audited, tmp_path):
    release_stack(synthetic, tmp_path / "out", STATED, audit=audited(synthetic))
    told = texts(tmp_path / "out")
    readme = " ".join(told["README.md"].split())
    for words in (
        "6 pairs of an image and a vessel label",
        "A generative network made the pairs from random numbers. It was trained on an unknown number of patients.",
        "Muster, Anna; Clinic A (2026). Pairs (version 1.0.0) [Data set]. https://example.org/x",
        "[CC-BY-4.0](https://spdx.org/licenses/CC-BY-4.0.html)",
        f"Digest of the generator's weights: {SHA256}",
        "- Threshold of the labels: -0.5",
        "Outcome: **passed**",
        f"on {MIN_PATIENTS} patients of the training",
        "in 52% of cases (95% interval 42% to 62%); 50% is guessing",
        "they recognised patients whose pairs had been repeated",
        "differential privacy, epsilon 7.4 at delta 1e-05 for each patient of 200",
        "| Frechet distance, images | 3.25 | 1.5 | 1000 |",
        "| recall of the images, higher is better | 0.625 | 0.750 | 1000 |",
        "| vessel radius | ",
        "No person has drawn or checked the labels.",
    ):
        assert words in readme, words
    assert "A person released" not in readme and "simulat" not in readme
    croissant = json.loads(told["croissant.json"])
    assert croissant["license"] == "https://spdx.org/licenses/CC-BY-4.0.html" and croissant["version"] == "1.0.0"
    assert croissant["datePublished"] == "2026-12-01" and croissant["citeAs"] in readme
    assert croissant["creator"] == [
        {"@type": "sc:Person", "name": "Muster, Anna"},
        {"@type": "sc:Organization", "name": "Clinic A"},
    ]
    assert "passed for the data by rule" in croissant["rai:personalSensitiveInformation"]


def test_pairs_of_patients_are_never_released(tmp_path, write_pairs):
    for kind in ("real", "trial"):
        stack = write_pairs(tmp_path / f"{kind}.npy", 2, kind=kind)
        refused("are never released", release_stack, stack, tmp_path / "out", STATED, despite=REASON)
    assert not (tmp_path / "out").exists()


def test_simulated_pairs_need_no_audit_and_say_so(tmp_path, write_pairs):
    volumes = [{"patient": 0, "n_vessel": 1, "n_random": 1, "spacing_mm": [0.5, 0.6, 0.8], "voxels": "0" * 64}]
    stack = write_pairs(tmp_path / "a.npy", 2, kind="simulated", simulation=[2], volumes=volumes)
    refused("simulated pairs need no audit", release_stack, stack, tmp_path / "out", STATED, despite=REASON)
    release_stack(stack, tmp_path / "out", Citation("CC0-1.0", ("Clinic A",), "", "1.0.0", date(2026, 12, 1)))
    readme = (tmp_path / "out" / "README.md").read_text()
    assert readme.startswith("# Simulated image-label pairs of brain angiographies (TOF-MRA)\n")
    assert "cut from simulated heads. No patient's data went into them." in readme
    (said,) = sensitive(tmp_path / "out")
    assert said == "The pairs tell nothing about any patient: the heads were simulated, and no audit is needed."
    assert (
        said in readme
        and "imitate a simulation, not patients" in readme
        and "not compared with pairs of patients" in readme
    )
    assert not (tmp_path / "out" / "audit.json").exists()
    assert open_stack(tmp_path / "out" / "pairs.npy")[1]["volumes"] == volumes


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("copies", "p"), 0.01, "failed for a release of the data: .*2 near-copies"),
        (("canary",), None, "inconclusive for a release of the data"),
        (("target", "stack", "digest"), "1" * 16, "is about other pairs than .*give the audited stack"),
        (("target", "stack", "weights_sha256"), "1" * 64, "is about other pairs than"),
        (("target", "stack"), None, "is not an audit of pairs"),
        (("attacks",), audit("segmentation")["attacks"], "has no attack on the data"),
        (("cohorts", "members", "kind"), "simulated", "the members of this audit are simulated"),
    ],
)
def test_audit_that_does_not_do_is_refused(synthetic, audited, tmp_path, path, value, told):
    path = audited(synthetic, *path, to=value)
    refused(told, release_stack, synthetic, tmp_path / "out", STATED, audit=path)
    assert not (tmp_path / "out").exists()


def test_pairs_of_an_unknown_generator_need_an_audit_or_a_reason(synthetic, audited, tmp_path):
    refused("no audit of them; give one that passed", release_stack, synthetic, tmp_path / "out", STATED)
    release_stack(synthetic, tmp_path / "out", STATED, despite=REASON)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert f'**A person released these pairs without an audit, for this reason: "{REASON}"**' in readme
    assert sensitive(tmp_path / "out") == [
        f'A person released these pairs without an audit, for this reason: "{REASON}"'
    ]
    assert open_stack(tmp_path / "out" / "pairs.npy")[1]["audit"]["reason"] == REASON
    failed = audited(synthetic, "copies", "p", to=0.01)
    release_stack(synthetic, tmp_path / "b", STATED, audit=failed, despite=REASON)
    readme = (tmp_path / "b" / "README.md").read_text()
    assert "although the audit did not pass" in readme and "Outcome: **failed**" in readme
    assert "\n  - the stack holds 2 near-copies of training pairs, where chance explains 1.5" in readme


def test_stack_made_for_an_audit_is_known_by_the_audits_digest(synthetic, audited, tmp_path, write_pairs):
    path = audited(synthetic)
    made = {"kind": "synthetic", "weights_sha256": SHA256, "near_copies_dropped": 2}
    summary = read_audit(path).summary("data")
    stack = write_pairs(tmp_path / "few.npy", 3, seed=1, audit=summary, **made)
    release_stack(stack, tmp_path / "out", STATED, audit=path)
    assert "Near-copies of training pairs that were left out: 2" in (tmp_path / "out" / "README.md").read_text()
    said = {"overridden": True, "reason": REASON, "summary": summary}
    stack = write_pairs(tmp_path / "despite.npy", 3, seed=1, audit=said, **made)
    release_stack(stack, tmp_path / "b", STATED, audit=path)
    stack = write_pairs(tmp_path / "other.npy", 3, seed=1, audit={**summary, "sha256": "0" * 64}, **made)
    refused("is about other pairs", release_stack, stack, tmp_path / "c", STATED, audit=path)


def test_card_of_the_bundle_says_what_the_generator_has_seen(tmp_path, bundle_files, write_pairs):
    bundle = tmp_path / "clinic_gan"
    unpack(bundle_files("tof_mra_wgan_gp_sn"), bundle)
    digest = weights_file_digest(bundle / "models" / "model.pt")
    (bundle / CARD).write_bytes(as_text(card(digest, [{"kind": "simulated", "patients": 96}], "a test")))
    stack = write_pairs(tmp_path / "a.npy", 2, kind="synthetic", weights_sha256=digest)
    refused("there is no audit", release_stack, stack, tmp_path / "out", STATED)  # unknown without the bundle
    release_stack(stack, tmp_path / "out", STATED, bundle=bundle)
    readme = (tmp_path / "out" / "README.md").read_text()
    (said,) = sensitive(tmp_path / "out")
    assert said.startswith("The data card of the generator says that no patient's data were used") and said in readme
    assert "It was trained on 96 simulated heads." in readme
    shipped = weights_file_digest(bundle_path("tof_mra_wgan_gp_sn") / "models" / "model.pt")
    stack = write_pairs(tmp_path / "b.npy", 2, kind="synthetic", weights_sha256=shipped)
    release_stack(stack, tmp_path / "b", STATED)  # shipped bundles are known


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"license": "CC-BY"}, "--license CC-BY: no identifier of spdx.org/licenses"),
        ({"version": "one"}, "--version one: not a version"),
        ({"url": "example.org"}, "--url example.org: no address"),
        ({"creators": ()}, "nobody to cite"),
        ({"creators": ("",)}, "--creator '': give one line"),
        ({"creators": ("FAMILY, GIVEN",)}, "give a name"),
        ({"title": "two\nlines"}, "--title .*give one line"),
        ({"title": "Pairs of sub-012"}, "--title: .*tells the subject"),
    ],
)
def test_statements_are_checked_before_any_work(synthetic, tmp_path, changes, told):
    stated = Citation(**{**vars(STATED), **changes})
    refused(told, release_stack, synthetic, tmp_path / "out", stated, despite=REASON)
    assert not (tmp_path / "out").exists()


def test_licence_may_be_an_address_or_an_expression():
    assert STATED.license_address == "https://spdx.org/licenses/cc-by-4.0.html"
    for text in ("https://example.org/terms", "MIT OR Apache-2.0", "LicenseRef-Clinic"):
        assert Citation(**{**vars(STATED), "license": text}).license_address == text


def test_manifest_that_tells_of_this_machine_is_refused(tmp_path, write_pairs):
    stack = write_pairs(tmp_path / "a.npy", 2, kind="synthetic", weights_sha256=SHA256, bundle="/home/anna/gans/my_gan")
    problem = r"its manifest: .*tells the path of this machine"
    refused(problem, release_stack, stack, tmp_path / "out", STATED, despite=REASON)


def test_without_mlcroissant_the_extra_is_named(synthetic, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    refused(r"pip install 'tofgan-monai\[release\]'", release_stack, synthetic, tmp_path / "out", STATED)


def test_full_disk_leaves_no_half_dataset(synthetic, tmp_path, full_disk):
    with full_disk(20000):
        refused("cannot be written", release_stack, synthetic, tmp_path / "out", STATED, despite=REASON)
    assert not (tmp_path / "out").exists()


def test_picture_shows_images_above_their_labels(tmp_path):
    pairs = np.full((3, 2, 96, 96), -1.0)
    pairs[1, 0], pairs[2, 1] = 1, 1
    shown = np.asarray(Image.open(io.BytesIO(preview(pairs))))
    assert shown.shape == (2 * 100 + 4, 3 * 100 + 4)
    assert [shown[50, 50 + 100 * i] for i in range(3)] == [0, 255, 0]
    assert [shown[150, 50 + 100 * i] for i in range(3)] == [0, 0, 255]


def test_verbs_pass_on_what_the_user_says(synthetic, tmp_path):
    def tofgan(*words):
        return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200", "NO_COLOR": "1"})

    stated = ["--license", "CC-BY-4.0", "--creator", "A, B", "--creator", "Clinic", "--published", "2026-12-01"]
    ran = tofgan("release", synthetic, tmp_path / "out", *stated, "--despite", REASON, "--version", "2.0.0")
    assert ran.exit_code == 0, ran.exception
    assert f"{tmp_path / 'out'}: {N} pairs; read {tmp_path / 'out' / 'README.md'} before" in ran.output
    assert "A, B; Clinic (2026). Synthetic image-label pairs" in (tmp_path / "out" / "README.md").read_text()
    ran = tofgan("export", synthetic, tmp_path / "png", "--to", "png", "--spacing", "0.5,0.6")
    assert ran.exit_code == 0 and f"{N} pairs for png" in ran.output
    assert json.loads((tmp_path / "png" / "dataset.json").read_text())["spacing_mm"] == [[0.5, 0.6, 1.0]]
    assert isinstance(
        tofgan("export", synthetic, tmp_path / "x", "--to", "png", "--spacing", "a").exception, InputError
    )
