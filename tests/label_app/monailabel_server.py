"""Drives a real MONAI Label server over its REST API: `bash scripts/monailabel.sh --test`, not with the other tests.

The server has an environment of its own, of 2 GB; these tests run in the project's.
"""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.helpers.dicom import write_slice
from tofgan_monai import VesselUNet3D
from tofgan_monai.bundle_runs.paths import bundle_path
from tofgan_monai.label_app.working_copy import BUNDLE, WEIGHTS
from tofgan_monai.training.weights import load_weights, save_weights
from tofgan_monai.volumes.cohort import write_cohort

ROOT = Path(__file__).parents[2]
STUDIES = ("sub-01", "sub-02", "sub-03")
APPS = ("tofgan", "monaibundle")


class Server:
    """A MONAI Label server on a free port."""

    def __init__(self, folder: Path, studies: Path, app: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.app, self.studies, self.log = folder / app, studies, folder / f"{app}.log"
        self.bundle = self.app / "model" / BUNDLE
        self.start()

    def start(self) -> None:
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                ["bash", "scripts/monailabel.sh", str(self.studies), "--port", str(self.port)],
                cwd=ROOT,
                env={**os.environ, "TOFGAN_LABEL_APP": str(self.app)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        began = time.monotonic()
        while True:
            try:
                self.info = self.get("/info/")
                break
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() - began < 900, self.log.read_text()
                time.sleep(0.5)
        print(f"{self.app.name}: up after {time.monotonic() - began:.0f} s")

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        """The answer's body; an HTTPError for a status of 400 or more."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body or None, {"Content-Type": kind}, method=method
        )
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.read()

    def get(self, path: str) -> dict:
        return json.loads(self.ask("GET", path))

    def post(self, path: str, **content: object) -> dict:
        return json.loads(self.ask("POST", path, json.dumps(content).encode()))

    def error(self, path: str) -> tuple[int, str]:
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.ask("POST", path)
        return caught.value.code, caught.value.read().decode()

    def segment(self, image: str, model: str = BUNDLE) -> nib.Nifti1Image:
        began = time.monotonic()
        label = self.ask("POST", f"/infer/{model}?image={image}&output=image")
        print(f"{self.app.name}: {image} segmented in {time.monotonic() - began:.1f} s")
        return nib.Nifti1Image.from_bytes(gzip.decompress(label))

    def submit(self, image: str, label: Path) -> None:
        """As a client submits a label that somebody corrected."""
        form = (
            b'--x\r\nContent-Disposition: form-data; name="params"\r\n\r\n{}\r\n'
            b'--x\r\nContent-Disposition: form-data; name="label"; filename="label.nii.gz"\r\n\r\n'
            + label.read_bytes()
            + b"\r\n--x--\r\n"
        )
        self.ask("PUT", f"/datastore/label?image={image}&tag=final", form, "multipart/form-data; boundary=x")

    def wait(self, task: str) -> dict:
        """The task in the background when it has ended."""
        while (state := self.get(f"/{task}/"))["status"] in ("SUBMITTED", "RUNNING"):
            time.sleep(0.5)
        return state

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Three crops of simulated heads with their labels: one in LPS, one oblique, one as it comes."""
    folder = tmp_path_factory.mktemp("heads")
    command = [sys.executable, "-m", "tofgan_monai", "phantom", str(folder), "--small", "--site", "B", "-n", "3"]
    subprocess.run(command, cwd=ROOT, check=True)
    for subject, source in zip(STUDIES, sorted(folder.glob("sub-*")), strict=True):
        for name in ("image", "label"):
            volume = nib.load(source / f"{name}.nii.gz").slicer[32:160, 32:160, 8:16]
            if subject == "sub-01":
                lps = nib.orientations.axcodes2ornt("LPS")
                volume = volume.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(volume.affine), lps))
            elif subject == "sub-02":
                turn = nib.eulerangles.euler2mat(0.2, 0.1, 0.15)
                affine = nib.affines.from_matvec(turn, [3, 5, -7]) @ volume.affine
                volume = nib.Nifti1Image(np.asarray(volume.dataobj), affine)
            (folder / name).mkdir(exist_ok=True)
            nib.save(volume, folder / name / f"{subject}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def by_bundle(heads, tmp_path_factory):
    """Where `monai.bundle run` left the vessels of the same studies."""
    folder = tmp_path_factory.mktemp("by_bundle")
    items = [{"subject": s, "patient": s, "image": str(heads / "image" / f"{s}.nii.gz")} for s in STUDIES]
    write_cohort(folder, {"unsplit": items})
    shipped = bundle_path(BUNDLE)
    overrides = {"bundle_root": shipped, "dataset_dir": folder, "output_dir": folder}
    words = [word for name, value in overrides.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(shipped / "configs/inference.yaml")]
    subprocess.run([*command, *words], cwd=folder, check=True)
    return {subject: nib.load(folder / f"{subject}_vessels.nii.gz") for subject in STUDIES}


@pytest.fixture(scope="module", params=APPS)
def server(request, heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    studies = folder / "studies"
    studies.mkdir()
    for subject in STUDIES:
        (studies / f"{subject}.nii.gz").write_bytes((heads / "image" / f"{subject}.nii.gz").read_bytes())
    running = Server(folder, studies, request.param)
    yield running
    running.stop()


ours = pytest.mark.parametrize(
    "server", ["tofgan"], indirect=True
)  # the stock app lacks it, or answers with a bare error


def test_info_names_the_model_and_the_studies(server):
    assert list(server.info["models"]) == list(server.info["trainers"]) == [BUNDLE]
    assert server.info["labels"] == ["vessel"]
    assert server.info["datastore"]["total"] == len(STUDIES)


@pytest.mark.parametrize("subject", STUDIES)
def test_label_lies_where_the_bundle_puts_it(server, by_bundle, subject):
    label, expected = server.segment(subject), by_bundle[subject]
    found = np.asarray(label.dataobj)
    assert set(np.unique(found)) == {0, 1}
    assert np.allclose(label.affine, expected.affine, atol=1e-5)
    assert np.array_equal(found, np.asarray(expected.dataobj))  # Dice 1.0
    assert not (server.bundle / "output").exists()  # no second copy of the label


@ours
def test_dicom_folder_is_segmented_by_its_path(server, heads, tmp_path):
    voxels = np.asarray(nib.load(heads / "image" / "sub-03.nii.gz").dataobj)
    for z in range(voxels.shape[2]):
        write_slice(tmp_path / f"{z}.dcm", np.ascontiguousarray(voxels[..., z].T), (0.0, 0.0, 0.7 * z))
    label = server.segment(str(tmp_path))
    assert label.shape == voxels.shape and np.asarray(label.dataobj).any()
    assert np.allclose(np.abs(label.affine).sum(0)[:3], (0.5, 0.6, 0.7))


@ours
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/infer/nope?image=sub-01", "no model 'nope'"),
        (f"/infer/{BUNDLE}?image=nobody", "nobody: is none of the 3 studies in"),
        ("/train/nope", f"nope: no such model; the only model is {BUNDLE}"),
        ("/batch/infer/nope", f"nope: no such model; the only model is {BUNDLE}"),
        ("/activelearning/nope", "no such strategy 'nope'"),
    ],
)
def test_error_says_what_is_unknown(server, path, words):
    status, text = server.error(path)
    assert status == 404
    assert words in text


def test_batch_inference_labels_every_study(server):
    server.post(
        f"/batch/infer/{BUNDLE}?images=all", **({"multi_gpu": False} if server.app.name == "monaibundle" else {})
    )
    assert server.wait("batch/infer")["status"] == "DONE"
    labels = sorted(path.name for path in (server.studies / "labels" / "original").glob("*.nii.gz"))
    assert labels == [f"{subject}.nii.gz" for subject in STUDIES]


def test_active_learning_offers_a_study(server):
    assert server.post("/activelearning/random")["id"] in STUDIES


@ours
def test_active_learning_offers_what_the_network_is_least_sure_of(server):
    server.post("/scoring/epistemic")
    assert server.wait("scoring")["status"] == "DONE"
    objects = json.loads((server.studies / "datastore_v2.json").read_text())["objects"]
    entropies = {name: study["image"]["info"]["epistemic_entropy"] for name, study in objects.items()}
    assert len(set(entropies.values())) == len(STUDIES) and min(entropies.values()) > 0
    assert server.post("/activelearning/epistemic")["id"] == max(entropies, key=lambda name: entropies[name])


@ours
def test_training_without_a_patient_to_hold_out_says_so(server, heads):
    server.submit("sub-01", heads / "label" / "sub-01.nii.gz")
    server.post(f"/train/{BUNDLE}", max_epochs=1)
    state = server.wait("train")
    assert state["status"] == "ERROR"
    assert "a training run needs two, to hold one out" in "".join(state["details"])


def test_training_takes_corrected_labels_and_inference_the_new_weights(server, heads):
    untouched = (bundle_path(BUNDLE) / WEIGHTS).read_bytes()
    weights = load_weights(server.bundle / WEIGHTS)
    weights["head.bias"] -= 4  # so few vessels are found that a few steps make it better
    save_weights(weights, server.bundle / WEIGHTS)
    before, shipped = server.segment("sub-03"), (server.bundle / WEIGHTS).read_bytes()
    for subject in STUDIES:
        server.submit(subject, heads / "label" / f"{subject}.nii.gz")
    config = server.bundle / "configs" / "train.json"
    small = {"steps_per_epoch": 4, "n_validation": 4, "simulated": 1, "small": "true"}
    for name, value in small.items():
        config.write_text(re.sub(rf'"{name}": \w+', f'"{name}": {value}', config.read_text()))
    server.restart()  # MONAI Label reads the configuration once
    server.post(f"/train/{BUNDLE}", max_epochs=2, val_split=0.34)
    state = server.wait("train")
    assert state["status"] == "DONE", state
    (training,) = (server.bundle / "trainings").iterdir()
    epochs = (training / "losses.jsonl").read_text().splitlines()
    assert len(epochs) == 2
    used, best = (server.bundle / WEIGHTS).read_bytes(), (training / "best.pt").read_bytes()
    assert used == best != shipped == (server.bundle / "models" / f"until_{training.name}.pt").read_bytes()
    assert (bundle_path(BUNDLE) / WEIGHTS).read_bytes() == untouched
    after = server.segment("sub-03")
    assert not np.array_equal(np.asarray(after.dataobj), np.asarray(before.dataobj))


@ours
def test_weights_of_another_width_are_refused(server):
    save_weights(VesselUNet3D(width=8).state_dict(), server.bundle / WEIGHTS)
    status, text = server.error(f"/infer/{BUNDLE}?image=sub-01")
    assert status == 422
    assert "model.pt holds weights" in text and "set width" in text
