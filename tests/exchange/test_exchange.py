"""Archives between clinics: the same bytes each time, nothing of the sender in them, installed whole or not at all."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import subprocess
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from tests.helpers.refusals import refused
from tofgan_monai import (
    Critic,
    Generator,
    InputError,
    PairDataset,
    check_cohort,
    extract,
    install,
    open_stack,
    pack,
    prepare,
    sha256,
    verify,
    weights_file_digest,
)
from tofgan_monai.audit.target import read_target
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.bundle_runs.runs import run_bundle
from tofgan_monai.cli import app
from tofgan_monai.exchange import adoption, leaks
from tofgan_monai.exchange.archive import write
from tofgan_monai.exchange.data_card import CARD, seen_by, seen_of
from tofgan_monai.exchange.installing import unpack
from tofgan_monai.exchange.layout import METADATA, README
from tofgan_monai.exchange.signatures import signature_path
from tofgan_monai.phantom.cohorts import write_head
from tofgan_monai.phantom.head import Head
from tofgan_monai.training.checkpoint import FORMAT
from tofgan_monai.training.weights import load_weights, save_weights

ROOT = Path(__file__).parents[2]
GAN, UNET = "tof_mra_wgan_gp_sn", "tof_mra_vessel_segmentation"
ALL = [
    "tof_mra_dcgan",
    "tof_mra_wgan_gp",
    GAN,
    "tof_mra_dp_wgan_gp",
    "tof_mra_refiner",
    UNET,
    "tof_mra_vessel_segmentation_3d",
]
MODEL = "models/model.pt"


@pytest.fixture
def clinic(tmp_path, bundle_files):
    """A clinic's own bundle."""
    folder = tmp_path / "a" / "clinic_gan"
    unpack(bundle_files(GAN), folder)
    return folder


def tofgan(*words):
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200", "NO_COLOR": "1"})


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- pack


@pytest.mark.parametrize("name", ALL)
def test_own_bundles_pass_with_no_exception_made(name, tmp_path):
    path = pack(bundle_path(name), tmp_path)
    version = json.loads((bundle_path(name) / "configs/metadata.json").read_text("utf-8"))["version"]
    assert path.name == f"{name}-{version}.zip"
    found = verify(path)
    assert found.lines[1].startswith("models/model.pt ") and "has seen simulated (" in found.lines[1]
    assert found.lines[1].endswith("audit: none")
    unpack(found.content.files, tmp_path / "theirs")
    theirs, ours = tree(tmp_path / "theirs"), tree(ROOT / "bundles" / name)
    del theirs["manifest.json"], theirs[MODEL], ours[MODEL]  # of the weights torch writes another file
    assert theirs == ours
    digest = weights_file_digest(ROOT / "bundles" / name / MODEL)
    sums = json.loads(found.content.files["manifest.json"])["files"]
    assert sums["models/model.safetensors"] == digest == found.card["weights"][MODEL]["sha256"]


def test_same_files_make_the_same_bytes(clinic, tmp_path):
    first = pack(clinic, tmp_path / "one.zip").read_bytes()
    copied = shutil.copytree(
        clinic, tmp_path / "b" / "clinic_gan", copy_function=shutil.copyfile
    )  # other times and modes
    (copied / "LICENSE").chmod(0o600)
    assert pack(copied, tmp_path / "two.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        entries = archive.infolist()
    assert {(entry.date_time, entry.external_attr >> 16) for entry in entries} == {((1980, 1, 1, 0, 0, 0), 0o100644)}
    (copied / "LICENSE").write_text("other")
    assert pack(copied, tmp_path / "two.zip").read_bytes() != first


def test_archive_tells_nothing_of_the_sender(clinic, tmp_path, write_pairs):
    """Trained, adopted and packed in a folder of telling names: none of them is in the archive."""
    private = tmp_path / "Muster_Hospital" / "sub-007"
    private.mkdir(parents=True)
    real = write_pairs(private / "sub-007_real.npy", 8, kind="real")
    tiny = {"width": 2, "max_epochs": 1, "batch_size": 4, "pairs": str(real), "output_dir": str(private / "run")}
    run_bundle(clinic, ["train.yaml"], tiny)
    adoption.adopt(private / "run", clinic, validation_pairs=real)
    data = pack(clinic, tmp_path / "a.zip", despite="a test").read_bytes()
    telling = ["Muster_Hospital", "sub-007", str(tmp_path), str(ROOT)]
    # Shorter names occur by chance among the weights' bytes, and root is a word of logging.conf.
    telling += [name for name in (platform.node(), getpass.getuser()) if len(name) > 5]
    assert [word for word in telling if word.encode().lower() in data.lower()] == []


def test_nothing_of_the_file_of_weights_leaves_but_the_weights(clinic, tmp_path):
    """torch.save keeps the file's name, attributes, notes, and the rest of a storage of which a tensor is a part."""
    plain = pack(clinic, tmp_path / "a.zip").read_bytes()
    weights = OrderedDict(load_weights(clinic / MODEL))
    weights.patients = {"name": "Hans"}
    weights["0.weight"] = torch.full((99_999,), 7.0)[: weights["0.weight"].numel()].view_as(weights["0.weight"])
    weights["0.weight"].copy_(load_weights(clinic / MODEL)["0.weight"])
    torch.save(weights, tmp_path / "sub-01_Mueller.pt")
    shutil.copy(tmp_path / "sub-01_Mueller.pt", clinic / MODEL)
    assert pack(clinic, tmp_path / "b.zip").read_bytes() == plain


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (nn.Linear(1, 1), "is a file of Python objects, such as a whole network"),
        ({"state": {"critic": Critic(2).state_dict()}}, "not a bare state dict: .*`tofgan adopt` takes the network"),
        ([torch.zeros(1)], "not a bare state dict"),
        (Critic(2).state_dict(), "does not fit network_def"),
        (dict(Generator(width=2).named_parameters()), "does not fit network_def: .* is missing"),
    ],
)
def test_file_that_is_no_state_dict_of_the_network_is_not_packed(clinic, tmp_path, content, told):
    torch.save(content, clinic / MODEL)
    refused(told, pack, clinic, tmp_path / "a.zip", data="real")
    assert not (tmp_path / "a.zip").exists()


def test_what_must_not_leave_is_refused_by_name(clinic, tmp_path, write_pairs):
    write_pairs(clinic / "output" / "pairs_training.npy", 2)
    left = [
        "output/checkpoint.pt",
        "output/tensorboard/events.out.tfevents.1",
        "prepared/a/image.nii.gz",
        "cohort.json",
    ]
    for name in left:
        (clinic / name).parent.mkdir(parents=True, exist_ok=True)
        (clinic / name).write_bytes(b"")
    (clinic / "docs" / "secret.md").symlink_to(tmp_path / "a.zip")
    with pytest.raises(InputError) as caught:
        pack(clinic, tmp_path / "a.zip")
    told = "\n".join(caught.value.problems)
    kinds = ["a checkpoint", "a TensorBoard log", "a stack of pairs", "training data", "a list of patients", "a link"]
    assert [what for what in kinds if what not in told] == []
    assert len(caught.value.problems) == 7  # a stack is two files
    assert not (tmp_path / "a.zip").exists()


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("docs/README.md", "Trained on `/data/charite/tof`.\n", "tells the path"),
        ("docs/README.md", "Trained in C:\\Users\\x.\n", "tells the path"),
        ("configs/train.yaml", "# from /data/charite/tof\n", "tells the path"),
        ("docs/README.md", "of |/home/jane/mri|\n", "tells the path"),
        ("docs/README.md", "**/home/jane/mri**\n", "tells the path"),
        ("docs/README.md", "<a href=file:///mri>\n", "tells the path"),
        ("docs/README.md", "lies in \\\\nas\\mri\n", "tells the path"),
        ("docs/README.md", "mounted at /data\n", "tells the path"),
        ("LICENSE", "see /home/jane/licence\n", "tells the path"),
        ("configs/train.yaml", '# from "/data/charite/tof"\n', "tells the path"),
        ("configs/train.yaml", "# a,/data/charite/tof\n", "tells the path"),
        ("configs/train.yaml", 'note: "of C:\\\\Users\\\\jane"\n', "tells the path"),
        ("configs/train.yaml", "note: \"$@bundle_root or '/data/charite'\"\n", "tells the path"),
        ("configs/more.json", '{"note": "of \\/home\\/jane"}', "tells the path"),
        ("configs/more.json", '{"note": "of C:\\\\Users\\\\jane"}', "tells the path"),
        ("configs/more.json", '{"sub_01": 1}', "tells the subject"),
        ("docs/notes.md", "sub-012 was left out\n", "tells the subject"),
        ("docs/notes.md", "SUB-1 was left out\n", "tells the subject"),
        ("docs/notes.md", "PAT-0001 was left out\n", "tells the subject"),
        ("docs/notes.md", "the study 1.2.840.113619.2.55.3\n", "tells the study"),
        ("docs/notes.md", "by jane@clinic.org\n", "tells the person"),
        ("docs/notes.md", "born 1950-01-31\n", "tells the day"),
        ("docs/notes.md", "born 31.1.1950\n", "tells the day"),
        ("docs/notes.md", "by jdoe on the ward's computer\n", "tells the user"),
        ("configs/paper.yaml", "# runs on ward-7\n", "tells the host"),
        ("configs/train.yaml", "tracking: /data/charite/runs\n", "leads out of the bundle"),
    ],
)
def test_paths_and_names_in_texts_are_refused_at_their_line(clinic, tmp_path, monkeypatch, file, text, told):
    monkeypatch.setattr(leaks.getpass, "getuser", lambda: "jdoe")
    monkeypatch.setattr(leaks.platform, "node", lambda: "ward-7.clinic.org")
    path = clinic / file
    before = path.read_text("utf-8") if path.exists() else ""
    path.write_text(before + text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        pack(clinic, tmp_path / "a.zip")
    line = before.count("\n") + 1
    assert any(p.startswith(f"clinic_gan/{file}:{line}: ") and told in p for p in caught.value.problems), caught.value


def test_honest_texts_are_no_leaks(clinic, tmp_path):
    (clinic / "docs" / "notes.md").write_text(
        "See https://a.org/b/c, [here](docs/README.md) and/or `configs/train.yaml`; 1/2 of 24 patients, MONAI 1.6.1.\n"
        "Write $DATA/prepared/x and <b>bold</b>; `@bundle_root + '/prepared'`; `train#dataset`; 192.168.0.1, 2026.\n"
    )
    (clinic / "configs" / "more.yaml").write_text("there: \"$@bundle_root + '/prepared/data'\"  # 1/2 of data/x\n")
    (clinic / "LICENSE").write_text("Copyright 2026 Jane <jane@clinic.org>, https://www.apache.org/licenses/LICENSE\n")
    verify(pack(clinic, tmp_path / "a.zip"))


@pytest.mark.parametrize("name", ["CON", "nul", "Aux", "COM1"])
def test_names_of_devices_are_refused(clinic, tmp_path, name):
    (clinic / "docs" / f"{name}.md").write_text("x")
    refused(f"docs/{name}.md: is a device of Windows", pack, clinic, tmp_path / "a.zip")
    (clinic / "docs" / f"{name}.md").rename(clinic / "docs" / f"{name}1x.md")
    verified = verify(pack(clinic, tmp_path / "a.zip"))
    refused("no device", install, verified, name=name)
    refused("no device", pack, clinic.rename(clinic.with_name(name)), tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(write(verified.content._replace(name=name)))
    refused("a path that", verify, tmp_path / "b.zip")


def test_version_is_the_metadatas(clinic, tmp_path):
    content = verify(pack(clinic, tmp_path / "a.zip")).content
    (tmp_path / "b.zip").write_bytes(write(content._replace(version="99.9")))
    refused(r"manifest\.json:1: has version '99\.9', but configs/metadata\.json has '0", verify, tmp_path / "b.zip")
    path = clinic / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "version": "../1"}))
    refused(r"version '\.\./1'; give one like", pack, clinic, tmp_path)


def test_names_that_no_archive_can_have(clinic, tmp_path):
    refused(r"ends in \.zip", pack, clinic, tmp_path / "a.tar")
    refused("rename the folder", pack, clinic.rename(clinic.with_name("clinic gan")), tmp_path / "a.zip")


# ---- the data card


def test_weights_without_a_card_are_not_packed_until_someone_says(clinic, tmp_path):
    save_weights(Generator(width=2).state_dict(), clinic / MODEL)
    refused(r"data_card\.json:\d+: is of weights .*tofgan pack --data", pack, clinic, tmp_path / "a.zip")
    verified = verify(pack(clinic, tmp_path / "a.zip", data="real", despite="a test"))
    assert (
        "has seen real (known from: 'declared by whoever packed it'), audit: overridden by a person"
        in verified.lines[1]
    )


def test_declared_data_may_not_hide_what_the_card_says(clinic, tmp_path):
    content = json.loads((clinic / CARD).read_text())
    content["weights"][MODEL]["seen"] = [{"kind": "real", "patients": 3}]
    (clinic / CARD).write_text(json.dumps(content))
    refused(r"says real \(3 patients\); leave --data simulated out", pack, clinic, tmp_path / "a.zip", data="simulated")
    assert "real (3 patients)" in verify(pack(clinic, tmp_path / "a.zip", despite="a test")).lines[1]


def trained(folder, tmp_path, bundle=GAN, **overrides):
    tiny = {"width": 2, "max_epochs": 1, "batch_size": 4, "output_dir": str(tmp_path / folder), **overrides}
    run_bundle(bundle_path(bundle), ["train.yaml"], tiny)
    return tmp_path / folder


def test_adopted_weights_bring_what_they_have_seen(clinic, tmp_path, write_pairs):
    real = write_pairs(tmp_path / "real.npy", 8, kind="real", volumes=[{"patient": 0}, {"patient": 1}, {"patient": 1}])
    synthetic = write_pairs(tmp_path / "synthetic.npy", 8, kind="synthetic", weights_sha256="ab")
    run = trained("run", tmp_path, pairs=[str(real), str(synthetic)])
    adoption.adopt(run, clinic)
    first = [{"kind": "real", "patients": 2}, {"kind": "synthetic", "weights_sha256": "ab"}]
    assert seen_by(run, clinic) == first
    adoption.adopt(run, clinic)  # the note in the README stands once
    told = "have seen 2 patients and pairs of another generator"
    assert told in json.loads((clinic / METADATA).read_text())["data_source"]
    shipped = (bundle_path(GAN) / README).read_text("utf-8").splitlines()
    title, _, note, _, *rest = (clinic / README).read_text("utf-8").splitlines()
    assert [title, *rest] == shipped and note.startswith("> ") and told in note
    entry = json.loads((clinic / CARD).read_text())["weights"][MODEL]
    assert entry == {
        "sha256": weights_file_digest(clinic / MODEL),
        "seen": first,
        "known_from": "the training's records",
        "audit": None,
    }
    other = write_pairs(tmp_path / "other.npy", 8, seed=1, kind="simulated?")  # a kind that nobody knows is real
    again = trained("again", tmp_path, pairs=str(other), pretrained=str(clinic / MODEL))
    assert seen_by(again, clinic) == [{"kind": "real", "patients": None}, *first]  # the card of what it started from
    elsewhere = tmp_path / "elsewhere.pt"
    save_weights(Generator(width=2).state_dict(), elsewhere)
    third = trained("third", tmp_path, pairs=str(synthetic), pretrained=str(elsewhere))
    assert seen_by(third, clinic) == [first[1], {"kind": "real", "patients": None}]  # nobody knows: real
    private = {"bundle": "tof_mra_dp_wgan_gp", "accountant": "rdp", "critic_width": 2, "n_fakes": 4}
    public = trained("public", tmp_path, "tof_mra_wgan_gp", pairs=str(synthetic)) / "checkpoint.pt"
    fourth = trained("fourth", tmp_path, pairs=str(real), pretrained=str(public), **private)
    assert seen_by(fourth, clinic) == first  # a checkpoint tells for itself


def test_patients_of_two_trainings_are_not_taken_for_the_same(clinic, tmp_path):
    data = [{"kind": "real", "patients": 41}, {"kind": "simulated", "patients": 9}]
    recipe = {"pairs": {"provenance": data}, "pretrained": {"sha256": "ab", "seen": data}}
    save_weights({"format": FORMAT, "state": {}, "recipe": recipe}, tmp_path / "run" / "checkpoint.pt")
    assert [entry["patients"] for entry in seen_by(tmp_path / "run", clinic)] == [41, 9, 41]


@pytest.mark.parametrize(
    "recipe",
    [
        {"pairs": {"digest": "0123"}},
        {"pairs": {"provenance": [{"kind": "simulated", "patients": 9}]}},  # and what it started from?
        {"data": "[{'kind': 'simulated', 'patients': 9}]", "pretrained": "None"},  # an earlier version's
    ],
)
def test_training_whose_records_do_not_tell_counts_as_real(clinic, tmp_path, recipe):
    run = tmp_path / "run"
    save_weights(Generator(width=2).state_dict(), run / "best.pt")
    number = {} if "data" in recipe else {"format": FORMAT}
    save_weights({**number, "state": {}, "recipe": recipe}, run / "checkpoint.pt")
    assert seen_by(run, clinic) == seen_by(tmp_path, clinic) == [{"kind": "real", "patients": None}]
    adoption.adopt(run, clinic)
    assert "has seen real (" in verify(pack(clinic, tmp_path / "a.zip", despite="a test")).lines[1]


def test_simulated_heads_are_told_from_patients_all_the_way(tmp_path):
    rng = np.random.default_rng(0)
    for i, folder in enumerate(("simulated", "mixed", "mixed")):
        label = rng.random((112, 104, 4)) < 0.05
        head = Head(
            image=(50 + 200 * label + rng.uniform(0, 9, label.shape)).astype(np.float32),
            label=label,
            mask=np.ones_like(label),
            affine=np.diag([0.5, 0.5, 0.7, 1.0]),
        )
        write_head(tmp_path / folder / f"sub-{i}", head)
    import nibabel

    image = tmp_path / "mixed" / "sub-2" / "image.nii.gz"
    patient = nibabel.load(image)
    patient.header["descrip"] = b"a scanner's"
    nibabel.save(nibabel.Nifti1Image(np.asarray(patient.dataobj), patient.affine, patient.header), image)
    seen = {}
    for folder in ("simulated", "mixed"):
        check_cohort(tmp_path / folder, tmp_path / folder, no_split=True)
        prepare(tmp_path / folder, tmp_path / f"{folder}_prepared", skull_strip="given")
        extract(tmp_path / f"{folder}_prepared", tmp_path / f"{folder}.npy", split="all", n_vessel=2, n_random=2)
        seen[folder] = PairDataset(tmp_path / f"{folder}.npy").provenance
    assert seen["simulated"] == [{"kind": "simulated", "patients": 1, "simulation": [2]}]
    assert seen["mixed"] == [{"kind": "real", "patients": 2}]


@pytest.mark.parametrize(
    ("where", "key", "value", "told"),
    [
        (("weights",), "\x1b[2J\nsigned by clinic-a@example.org", {}, "was unexpected"),
        (("weights",), "zz", [1], "'zz' was unexpected"),
        ((), "audited", True, "'audited' was unexpected"),
        (("weights", MODEL), "signed", "by me", "'signed' was unexpected"),
        (("weights", MODEL, "seen", 0), "patients", -5, "patients are null"),
        (("weights", MODEL, "seen", 0), "patients", 10**4000, "patients are null"),
        (("weights", MODEL, "seen", 0), "patients", True, "patients are null"),
        (("weights", MODEL, "seen", 0), "names", ["x"], "patients are null"),
        (("weights", MODEL, "seen", 0), "kind", ["real"], "kinds are"),
        (("weights", MODEL, "seen", 0), "weights_sha256", "\n", "hexadecimal"),
    ],
)
def test_card_says_what_a_card_says_and_no_more(clinic, tmp_path, where, key, value, told):
    content = verify(pack(clinic, tmp_path / "a.zip")).content
    card = json.loads(content.files[CARD])
    part = card
    for step in where:
        part = part[step]
    part[key] = value
    files = {**content.files, CARD: json.dumps(card, indent=2).encode()}
    (tmp_path / "b.zip").write_bytes(write(content._replace(files=files)))
    with pytest.raises(InputError) as caught:
        verify(tmp_path / "b.zip")
    (problem,) = caught.value.problems
    assert problem.startswith(f"b.zip: {CARD}:") and told in problem and problem.isprintable()


def test_what_a_card_says_is_printed_on_one_line(clinic, tmp_path):
    content = json.loads((clinic / CARD).read_text())
    content["weights"][MODEL].update(known_from="\x1b[2J\nsigned by x")
    (clinic / CARD).write_text(json.dumps(content))
    lines = verify(pack(clinic, tmp_path / "a.zip")).lines
    assert len(lines) == 3 and all(line.isprintable() for line in lines)


def named_by_version_0_1_0(folder):
    """Puts the name that version 0.1.0 gave to the weights, the SHA-256 of their file, into the card."""
    old, text = sha256(folder / MODEL), (folder / CARD).read_text()
    (folder / CARD).write_text(text.replace(weights_file_digest(folder / MODEL), old))
    return old


def test_old_name_of_weights_is_understood_where_their_file_is_known(clinic, tmp_path):
    old, here = named_by_version_0_1_0(clinic), [{"kind": "simulated", "patients": 2}]
    assert seen_of(old, clinic) == seen_of(weights_file_digest(clinic / MODEL), clinic) == here
    card = verify(pack(clinic, tmp_path / "a.zip")).card["weights"][MODEL]
    assert card["sha256"] == weights_file_digest(clinic / MODEL) and card["seen"] == here
    assert seen_of(sha256(bundle_path(GAN) / MODEL), clinic) == [{"kind": "simulated", "patients": 24}]  # as shipped
    for unknown in (old, sha256(clinic / CARD), ""):  # without the file nobody can tell: it counts as real
        assert seen_of(unknown, tmp_path) == [{"kind": "real", "patients": None}]
    save_weights(Generator(width=2).state_dict(), clinic / MODEL)
    assert seen_of(weights_file_digest(clinic / MODEL), clinic) == [{"kind": "real", "patients": None}]


# ---- signatures


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    public = path.with_suffix(".pub").read_text()
    (tmp_path / "signers").write_text(f"clinic-a@example.org {public}")
    return path


def test_signature_tells_who_packed_it(clinic, key, tmp_path):
    path = pack(clinic, tmp_path / "a.zip", key=key)
    signers = tmp_path / "signers"
    assert verify(path, signers=signers, signer="clinic-a@example.org").signature == "signed by clinic-a@example.org"
    assert verify(path).signature.startswith("signed; the signer was not checked")
    refused("not signed by clinic-b", verify, path, signers=signers, signer="clinic-b@example.org")
    refused("belong together", verify, path, signers=signers)
    (clinic / "LICENSE").write_text("another licence")
    other = pack(clinic, tmp_path / "b.zip")
    shutil.copy(signature_path(path), signature_path(other))
    refused("not signed by clinic-a", verify, other, signers=signers, signer="clinic-a@example.org")


def test_unsigned_archive_is_refused_where_a_signer_is_asked_for(clinic, key, tmp_path):
    path = pack(clinic, tmp_path / "a.zip", key=key)
    pack(clinic, path)  # anew, and unsigned: the old signature goes
    assert not signature_path(path).exists()
    refused(
        r"a\.zip\.sig: no signature found", verify, path, signers=tmp_path / "signers", signer="clinic-a@example.org"
    )
    refused("cannot sign", pack, clinic, tmp_path / "b.zip", key=tmp_path / "none")
    assert not (tmp_path / "b.zip").exists()


def test_missing_ssh_keygen_is_told(clinic, key, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("ssh-keygen: not found", pack, clinic, tmp_path / "a.zip", key=key)


# ---- install


def test_installed_bundle_is_found_by_its_name_and_runs(clinic, tmp_path, installed):
    archive = pack(clinic, tmp_path / "a.zip")
    done = tofgan("install", archive)
    assert done.exit_code == 0 and done.output.strip() == str(installed / "clinic_gan"), done.output
    assert {**tree(clinic), "manifest.json": tree(installed / "clinic_gan")["manifest.json"]} == tree(
        installed / "clinic_gan"
    )
    assert bundle_path("clinic_gan") == installed / "clinic_gan"
    made = tofgan("generate", "clinic_gan", tmp_path / "made.npy", "-n", 3)
    assert made.exit_code == 0, made.output
    pairs, manifest = open_stack(tmp_path / "made.npy")
    assert pairs.shape == (3, 2, 96, 96) and manifest["weights_sha256"] == weights_file_digest(clinic / MODEL)
    assert pack(installed / "clinic_gan", tmp_path / "again.zip").read_bytes() == archive.read_bytes()  # as it came


def test_another_version_takes_the_place_of_an_unchanged_one_only(clinic, tmp_path, installed):
    verified = verify(pack(clinic, tmp_path / "a.zip"))
    target = install(verified)
    assert install(verified) == target
    (clinic / "docs" / "notes.md").write_text("better now\n")
    newer = verify(pack(clinic, tmp_path / "b.zip"))
    install(newer)
    assert (target / "docs" / "notes.md").exists()
    (target / "output").mkdir()
    (target / "output" / "synthetic.npy").write_bytes(b"")
    before = tree(target)
    refused("was changed after it was installed", install, verified)
    assert tree(target) == before
    other = install(verified, name="clinic_gan_2")
    assert bundle_path("clinic_gan_2") == other and sorted(p.name for p in installed.iterdir()) == [
        "clinic_gan",
        "clinic_gan_2",
    ]
    elsewhere = install(verified, folder=tmp_path / "elsewhere")
    assert elsewhere == tmp_path / "elsewhere" / "clinic_gan" and elsewhere.is_dir()


def test_weights_of_an_installed_bundle_are_known_by_their_digest(clinic, tmp_path):
    verified = verify(pack(clinic, tmp_path / "a.zip"))
    model = install(verified) / MODEL
    before = load_weights(model)
    save_weights(dict(reversed(before.items())), model)  # another file of the same weights
    assert install(verified) and load_weights(model).keys() == before.keys()
    save_weights({**before, "0.weight": before["0.weight"] + 1}, model)
    refused("was changed after it was installed", install, verified)


def test_bundle_installed_by_version_0_1_0_gives_way_if_it_is_unchanged(clinic, tmp_path, installed):
    verified = verify(pack(clinic, tmp_path / "a.zip"))
    old = shutil.copytree(clinic, installed / "clinic_gan")
    sums = {path: sha256(old / path) for path in tree(old)}
    (old / "manifest.json").write_text(json.dumps({"format": 1, "files": sums}))
    assert "models/model.safetensors" in json.loads((install(verified) / "manifest.json").read_text())["files"]
    (old / "manifest.json").write_text(json.dumps({"format": 1, "files": {**sums, MODEL: "0" * 64}}))
    refused("was changed after it was installed", install, verified)


def test_bundle_that_came_with_the_package_keeps_its_name(tmp_path):
    verified = verify(pack(bundle_path(GAN), tmp_path))
    refused(f"--name clinic_{GAN}", install, verified)
    refused("plain letters", install, verified, name="../a")


def test_full_disk_leaves_the_old_version(clinic, tmp_path, installed, full_disk):
    target = install(verify(pack(clinic, tmp_path / "a.zip")))
    (clinic / "docs" / "notes.md").write_text("better now\n")
    newer = verify(pack(clinic, tmp_path / "b.zip"))
    before = tree(installed)
    with full_disk(20_000), pytest.raises(InputError, match=r"cannot be written \(File too large\)"):
        install(newer)
    assert tree(installed) == before and [p.name for p in installed.iterdir()] == [target.name]


def test_refused_archive_is_not_installed(clinic, tmp_path, installed):
    path = pack(clinic, tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-1])
    done = tofgan("install", path)
    assert isinstance(done.exception, InputError) and not installed.exists()


def test_verbs_say_what_they_did(clinic, tmp_path):
    assert tofgan("pack", clinic, tmp_path / "a.zip").output == f"{tmp_path / 'a.zip'}\n"
    shown = tofgan("verify", tmp_path / "a.zip").output.splitlines()
    version, files = json.loads((clinic / "configs/metadata.json").read_text("utf-8"))["version"], len(tree(clinic))
    assert shown[:2] == [
        "passed: the archive holds nothing beyond the list of what is allowed",
        f"clinic_gan {version}, {files + 1} files",
    ]
    assert len(shown) == 4
    refused("cannot be read", verify, tmp_path / "none.zip")


WINDOWS = {  # what an editor on Windows makes of a text, and what is said of it at which line
    "UTF-8 with a byte-order mark": (lambda text: text.encode("utf-8-sig"), 1),
    "UTF-16": (lambda text: text.encode("utf-16"), 1),
    "UTF-16 or UTF-32": (lambda text: text.encode("utf-16-le"), 1),
    "not UTF-8, perhaps Latin-1 or Windows-1252": (
        lambda text: text.replace("\n", "\nf\xfcr\n", 1).encode("latin-1"),
        2,
    ),
}


@pytest.mark.parametrize("file", ["configs/metadata.json", "configs/train.yaml", CARD, "docs/README.md"])
@pytest.mark.parametrize("encoding", WINDOWS)
def test_text_in_another_encoding_is_told_by_file_line_and_encoding(clinic, tmp_path, file, encoding):
    encode, line = WINDOWS[encoding]
    files = verify(pack(clinic, tmp_path / "a.zip")).content
    data = encode(files.files[file].decode("utf-8"))
    (clinic / file).write_bytes(data)
    told = f"{file}:{line}: the encoding is {encoding}"
    (tmp_path / "b.zip").write_bytes(write(files._replace(files={**files.files, file: data})))
    verbs = [("pack", clinic, tmp_path / "a.zip"), ("verify", tmp_path / "b.zip")]
    if file != "docs/README.md":  # no run reads it
        verbs += [("generate", clinic, "a.npy"), ("train", clinic, "--output-dir", "run", "--pairs", "a.npy")]
    for words in verbs:
        (problem,) = tofgan(*words).exception.problems
        assert told in problem and "save the file as UTF-8 without a byte-order mark" in problem, words


def test_line_ends_of_windows_change_nothing(clinic, tmp_path):
    for path in clinic.rglob("*"):
        if path.suffix in (".yaml", ".json", ".md", ".conf") or path.name == "LICENSE":
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    install(verify(pack(clinic, tmp_path / "a.zip")))
    assert tofgan("generate", "clinic_gan", tmp_path / "made.npy", "-n", 3).exit_code == 0


def test_bundle_with_paths_of_another_version_says_so_where_it_is_run(clinic):
    config = clinic / "configs" / "inference.yaml"
    config.write_text(config.read_text("utf-8").replace("tofgan_monai.Generator", "tofgan_monai.networks.Generator"))
    refused(
        r"clinic_gan: names .*networks\.Generator.*ask for a newer bundle", run_bundle, clinic, ["inference.yaml"], {}
    )
    refused(r"clinic_gan: names .*networks\.Generator.*ask for a newer bundle", read_target, clinic)  # of an audit
    refused(
        r"inference\.yaml:\d+: the target .* is a path of tofgan_monai 0\.1\.0", pack, clinic, clinic.parent / "a.zip"
    )
