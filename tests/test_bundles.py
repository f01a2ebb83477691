"""Every bundle as a user runs it, with MONAI's command alone; and as the model zoo would check it."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import fire
import monai.bundle
import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export, run, verify_metadata, verify_net_in_out
from packaging.requirements import Requirement

from tests.helpers.bundles import BUNDLES, ROOT, command, configs, inference_files, metadata, parsed, run_bundle
from tests.helpers.checkpoints import same
from tests.helpers.patients import write_patient
from tofgan_monai import Generator, HalfUNet, Refiner, SimulatedLatents, open_stack
from tofgan_monai.training.weights import load_weights
from tofgan_monai.volumes.cohort import write_cohort

SCHEMA = ROOT / "tofgan_monai" / "exchange" / "inspection" / "meta_schema_20240725.json"
OPEN_GANS = ["tof_mra_dcgan", "tof_mra_wgan_gp", "tof_mra_wgan_gp_sn"]
PRIVATE = "tof_mra_dp_wgan_gp"
GANS = [*OPEN_GANS, PRIVATE]
REFINER = "tof_mra_refiner"  # no GAN, but it makes pairs, too
GENERATORS = [*GANS, REFINER]
UNET = "tof_mra_vessel_segmentation"
ALL = [*GENERATORS, UNET]
UNET_3D = "tof_mra_vessel_segmentation_3d"  # test_bundle_3d.py trains and runs it
WHOLE = [*ALL, UNET_3D]
TINY = {"width": 2, "max_epochs": 1, "batch_size": 4}
OWN = {  # sizes of their own
    PRIVATE: {"critic_width": 2, "accountant": "rdp", "n_fakes": 4},
    REFINER: {"small": True, "n_heads": 1, "pairs_per_epoch": 12, "objective#n": 8},
}


def train(name, output_dir, *files, **overrides):
    """A tiny training; `output_dir` tells its only epoch."""
    sizes = {**TINY, **OWN.get(name, {}), **overrides}
    run_bundle(name, "train.yaml", *files, output_dir=str(output_dir), **sizes)
    return check_training(output_dir, name)


def segment(output_dir, weights, *files, **overrides):
    """Segments a cohort with tiny weights, or scores that, where `files` say so."""
    given = {"output_dir": str(output_dir), "weights": weights[UNET], "width": 2, **overrides}
    run_bundle(UNET, "inference.yaml", *files, **given)


def tree(folder):
    return sorted(folder.rglob("*"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory, write_pairs):
    return write_pairs(tmp_path_factory.mktemp("stack") / "real.npy", 12)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    orientations = ["RAS", "LPS", "RAS", "oblique", "LPS"]
    items = [write_patient(folder / f"sub-{i:02d}", which, i) for i, which in enumerate(orientations)]
    write_cohort(folder, {"training": items[:2], "validation": items[2:3], "test": items[3:]})
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    unet = HalfUNet(2)
    torch.save(Generator(width=2).state_dict(), folder / "generator.pt")
    torch.save(Refiner(2, SimulatedLatents(small=True)).state_dict(), folder / "refiner.pt")
    torch.save(unet.state_dict(), folder / "unet.pt")
    others = {REFINER: str(folder / "refiner.pt"), UNET: str(folder / "unet.pt")}
    return {**{name: str(folder / "generator.pt") for name in GANS}, **others}


# ---- training


def check_training(output_dir, name):
    weights = torch.load(output_dir / "best.pt", weights_only=True)
    fresh = {UNET: HalfUNet, REFINER: Refiner}.get(name, Generator)(width=2)
    fresh.load_state_dict(weights)
    assert (output_dir / "checkpoint.pt").exists()
    (epoch,) = [json.loads(line) for line in (output_dir / "losses.jsonl").read_text("utf-8").splitlines()]
    assert np.isfinite([value for value in epoch.values() if isinstance(value, float)]).all()
    return epoch


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_trains_on_a_stack_from_elsewhere(name, stack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(BUNDLES / name)
    epoch = train(name, tmp_path / "out", pairs=str(stack))
    assert {UNET: "val_dice", PRIVATE: "epsilon", REFINER: "feature_distance"}.get(name, "sliced_wasserstein") in epoch
    assert epoch["iteration"] == 3
    assert tree(BUNDLES / name) == before


@pytest.mark.slow
@pytest.mark.parametrize("names", [("image", "label", "mask"), ("image", "label")], ids=["mask", "no mask"])
@pytest.mark.parametrize("name", ALL)
def test_trains_on_volumes_with_and_without_a_brain_mask(name, names, tmp_path):
    items = [write_patient(tmp_path / f"sub-{i}", which, i, names) for i, which in enumerate(["RAS", "LPS", "RAS"])]
    write_cohort(tmp_path, {"training": items[:2], "validation": items[2:], "test": []})
    train(name, tmp_path / "out", dataset_dir=str(tmp_path), n_vessel=3, n_random=2)
    pairs, manifest = open_stack(tmp_path / "out" / "pairs_training.npy")
    assert pairs.shape == (10, 2, 96, 96)
    assert [volume["n_vessel"] for volume in manifest["volumes"]] == [3, 3]
    if name != PRIVATE:  # it looks at no validation patients
        assert len(open_stack(tmp_path / "out" / "pairs_validation.npy")[0]) == 5


@pytest.mark.slow
def test_trains_by_command_from_its_own_folder(stack, tmp_path):
    words = ["run", "--config_file", "configs/train.yaml", "--pairs", stack, "--output_dir", tmp_path / "out"]
    tiny = ["--width", 2, "--max_epochs", 1, "--batch_size", 4]
    log = command(*words, *tiny, cwd=BUNDLES / "tof_mra_wgan_gp_sn")
    check_training(tmp_path / "out", "tof_mra_wgan_gp_sn")
    assert "logging.conf" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_wgan_goes_on_with_the_same_rhythm_of_penalties(stack, tmp_path):
    """An epoch has 3 steps and the penalty comes at every 4th, so the second epoch begins between two of them."""
    for folder, n_epochs in (("whole", 2), ("cut", 1), ("cut", 2)):
        given = {**TINY, "max_epochs": n_epochs, "pairs": str(stack), "output_dir": str(tmp_path / folder)}
        run_bundle("tof_mra_wgan_gp", "train.yaml", **given)
    whole, cut = (load_weights(tmp_path / folder / "checkpoint.pt")["state"] for folder in ("whole", "cut"))
    assert whole["objective"] == {"steps": 6}
    for part in ("generator", "average", "critic", "generator_optimizer", "critic_optimizer", "objective"):
        assert same(whole[part], cut[part]), part


# ---- inference


@pytest.mark.parametrize("name", GENERATORS)
def test_generates_a_stack(name, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(BUNDLES / name)
    overrides = {"weights": weights[name], "width": 2, "n": 70, "seed": 3, "output": str(tmp_path / "made.npy")}
    run(config_file="configs/inference.yaml", logging_file=False, **overrides)
    pairs, manifest = open_stack(tmp_path / "made.npy")
    assert pairs.shape == (70, 2, 96, 96)
    assert set(np.unique(pairs[:, 1])) <= {-1, 1}
    assert (manifest["bundle"], manifest["seed"], manifest["kind"]) == (name, 3, "synthetic")


def test_label_threshold_is_chosen_for_other_weights(stack, weights, tmp_path):
    name = GANS[0]
    overrides = {"weights": weights[name], "width": 2, "n": 64, "validation_pairs": str(stack)}
    overrides["bundle_root"] = str(tmp_path)
    run(config_file=configs(name, "inference.yaml"), logging_file=False, **overrides)
    pairs, manifest = open_stack(tmp_path / "output" / "synthetic.npy")
    assert manifest["label_threshold"] != parsed(name, "inference.yaml")["label_threshold"]
    assert (pairs[:, 1] > 0).mean() == pytest.approx((open_stack(stack)[0][:, 1] > 0).mean(), abs=0.02)


def same_geometry(path, image):
    made, given = nib.load(path), nib.load(image)
    assert made.shape == given.shape
    np.testing.assert_allclose(made.affine, given.affine, atol=1e-4)
    assert made.get_data_dtype() == np.uint8
    assert set(np.unique(made.dataobj)) <= {0, 1}
    return np.asarray(made.dataobj)


@pytest.mark.slow
def test_segments_by_command_from_elsewhere(prepared, weights, tmp_path):
    words = ["run", "--config_file", *configs(UNET, "inference.yaml"), "--bundle_root", BUNDLES / UNET]
    given = ["--dataset_dir", prepared, "--output_dir", tmp_path / "out", "--weights", weights[UNET], "--width", 2]
    command(*words, *given, cwd=tmp_path)
    assert len(list((tmp_path / "out").rglob("*.nii.gz"))) == 5
    for i in range(5):
        same_geometry(tmp_path / "out" / f"sub-{i:02d}_vessels.nii.gz", prepared / f"sub-{i:02d}" / "image.nii.gz")


def test_segmentation_lies_where_the_vessels_are(prepared, weights, tmp_path):
    """A network that finds what is bright: whatever a volume's orientation, its voxels are the bright ones."""
    bright = "$lambda windows: (windows - 180)"
    segment(tmp_path, weights, dataset_dir=str(prepared), network=bright, split="test")
    for subject in ("sub-03", "sub-04"):
        found = same_geometry(tmp_path / f"{subject}_vessels.nii.gz", prepared / subject / "image.nii.gz")
        np.testing.assert_array_equal(found, np.asarray(nib.load(prepared / subject / "label.nii.gz").dataobj))


def test_segmentations_stay_in_output_dir(weights, tmp_path):
    """The volumes of a cohort may lie anywhere, and all be called the same."""
    items = [write_patient(tmp_path / "scans" / f"sub-{i}", "RAS", i, ("image",)) for i in range(2)]
    cohort = write_cohort(tmp_path / "lists" / "cohort.json", {"unsplit": items})
    before = tree(tmp_path / "scans")
    segment(tmp_path / "out", weights, dataset_dir=str(cohort))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"sub-{i}_vessels.nii.gz" for i in range(2)]
    assert tree(tmp_path / "scans") == before


def test_evaluates_the_test_patients(prepared, weights, tmp_path):
    segment(tmp_path, weights, "evaluate.yaml", dataset_dir=str(prepared), cohort="A")
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert {line["model"] for line in lines} == {"U-Net"}
    assert len(lines) == 2
    assert all(0 <= line["dsc"] <= 1 and line["hd95_mm"] >= 0 for line in lines)
    assert all(len(line["dsc_at"]) == 19 and {"dsc_small", "dsc_large"} <= {*line} for line in lines)
    assert len(list((tmp_path / "error_maps").glob("*.png"))) == 2


# ---- what the zoo checks


@pytest.mark.parametrize("name", WHOLE)
def test_metadata_fits_the_schema(name, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_bytes(SCHEMA.read_bytes())  # found there, MONAI downloads nothing
    verify_metadata(meta_file=configs(name, "metadata.json")[0], filepath=str(schema))
    assert metadata(name)["schema"].endswith(SCHEMA.name)
    assert metadata(name)["version"] == next(iter(metadata(name)["changelog"])), "the newest stands first"


@pytest.mark.parametrize("name", WHOLE)
def test_metadata_tells_what_the_zoo_shows(name):
    content = metadata(name)
    for key in ("name", "task", "description", "authors", "copyright", "data_source", "intended_use", "references"):
        assert content[key], key
    for tensors in content["network_data_format"].values():
        assert all(tensor["channel_def"] for tensor in tensors.values())


@pytest.mark.parametrize("name", WHOLE)
def test_metadata_names_the_pinned_versions(name):
    content = metadata(name)
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    pinned = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in pins}
    assert (content["monai_version"], content["pytorch_version"]) == (pinned["monai"], pinned["torch"])
    named = {"numpy": content["numpy_version"], **content["required_packages_version"]}
    del named["tofgan-monai"]
    assert {package.lower(): version for package, version in named.items()}.items() <= pinned.items()


@pytest.mark.parametrize("name", WHOLE)
def test_has_what_a_bundle_of_the_zoo_has(name):
    files = ["LICENSE", "configs/metadata.json", "configs/logging.conf", "docs/README.md", "models/model.pt"]
    for file in files + [f"configs/{kind}.yaml" for kind in ("train", "multi_gpu_train", "inference", "paper")]:
        assert (BUNDLES / name / file).is_file(), file
    assert (BUNDLES / name / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    headings = ["# Model Overview", "## Data", "## Training configuration", "### Input", "### Output", "## Performance"]
    headings += ["## MONAI Bundle Commands", "# References", "# License"]
    lines = (BUNDLES / name / "docs" / "README.md").read_text("utf-8").splitlines()
    assert [line for line in lines if line in headings] == headings


ZOO_IDS = {  # as its CONTRIBUTING.md names them; `docs/how-to/bundles.md` tells which of validate's are left out
    "inference.yaml": ["bundle_root", "device", "network_def", "inferer", "output_dir"],
    "train.yaml": ["bundle_root", "device", "dataset_dir", "output_dir", "validate#dataset"]
    + [f"train#{key}" for key in ("trainer", "trainer#max_epochs", "dataset", "preprocessing", "inferer", "handlers")],
}


@pytest.mark.parametrize("file", ZOO_IDS)
@pytest.mark.parametrize("name", WHOLE)
def test_ids_have_the_names_that_the_zoo_gives_them(name, file):
    parser = parsed(name, file)
    left_out = {"validate#dataset"} if name == PRIVATE else set()
    assert [key for key in ZOO_IDS[file] if key not in parser] == [*left_out & {*ZOO_IDS[file]}]


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, kind) for name in ALL for kind in ("train", "infer")), (UNET, "evaluate")]
)
def test_has_the_ids_that_monai_asks_for(name, kind, stack, prepared, weights, tmp_path):
    files = {"train": ["train.yaml"], "infer": ["inference.yaml"]}.get(kind, ["inference.yaml", "evaluate.yaml"])
    given = {"width": 2, "output_dir": str(tmp_path), "dataset_dir": str(prepared)}
    given |= {"pairs": str(stack), "batch_size": 4} if kind == "train" else {"weights": weights[name]}
    given |= {"config_file": configs(name, *files), "logging_file": False}
    workflow = ConfigWorkflow(workflow_type="train" if kind == "train" else "infer", **given)
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.parametrize("name", WHOLE)
def test_network_does_what_the_metadata_says(name):
    verify_net_in_out("network_def", device="cpu", **inference_files(name))


SHAPES = {UNET: (1, 96, 96), UNET_3D: (1, 96, 96, 24)}
LATENT_DIM = {**dict.fromkeys(GANS, 100), REFINER: 27_648}


def shipped(name, net_id="network_def"):
    network = parsed(name, "inference.yaml").get_parsed_content(net_id)
    network.load_state_dict(torch.load(BUNDLES / name / "models" / "model.pt", weights_only=True))
    return network.eval()


@pytest.mark.parametrize("name", WHOLE)
def test_network_is_exported_as_the_zoo_does_it(name, tmp_path):
    """Its `verify_torchscript`, the same arguments: scripted, not traced."""
    weights = {"ckpt_file": str(BUNDLES / name / "models" / "model.pt"), "bundle_root": str(BUNDLES / name)}
    path = str(tmp_path / "verify_model.ts")
    ckpt_export(net_id="network_def", filepath=path, **inference_files(name), **weights)
    given = torch.randn(2, *SHAPES.get(name, (LATENT_DIM.get(name),)))
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "verify_model.ts")(given), shipped(name)(given))


# ---- what is exported serves alone

DEPLOYED = dict.fromkeys(GENERATORS, ("network_def", "latents", "pairs"))
DEPLOYED[UNET] = DEPLOYED[UNET_3D] = ("probability_def", "image", "probability")
NOT_INSTALLED = "import sys\nsys.modules['tofgan_monai'] = sys.modules['monai'] = None\n"  # importing them now fails
NO_TORCH_EITHER = NOT_INSTALLED + "sys.modules['torch'] = None\n"


def export(name, function, folder):
    """Runs the command of the bundle's README as it stands there, but into another folder; the file's path."""
    text = (BUNDLES / name / "docs" / "README.md").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(f"python -m monai.bundle {function} ")]
    words = shlex.split(line)[3:]
    at = words.index("--filepath") + 1
    words[at] = str(folder / words[at])
    with contextlib.chdir(BUNDLES / name):
        fire.Fire(monai.bundle, command=words)
    return words[at]


def check_snippet(name, before, which, folder):
    """Runs the `which`th Python block of the bundle's README in `folder`, and compares what it got with PyTorch."""
    net_id, given, answer = DEPLOYED[name]
    text = (BUNDLES / name / "docs" / "README.md").read_text("utf-8")
    block = text.split("```python\n")[which + 1].split("```")[0]
    after = f"import numpy\nnumpy.savez('alone.npz', given={given}, answer={answer})"
    code = f"{before}{block}{after}"
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "alone.npz") as alone, torch.no_grad():
        expected = shipped(name, net_id)(torch.from_numpy(alone["given"]))
        np.testing.assert_allclose(alone["answer"], expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_torchscript_serves_where_this_package_is_not(name, tmp_path):
    export(name, "ckpt_export", tmp_path)
    check_snippet(name, NOT_INSTALLED, 0, tmp_path)


@pytest.mark.parametrize("package", ["tofgan_monai", "monai"])
def test_nothing_can_be_imported_where_it_is_said_not_to_be_installed(package):
    code = f"{NOT_INSTALLED}import {package}.networks"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_onnx_unet_serves_without_pytorch(name, tmp_path):
    export(name, "onnx_export", tmp_path)
    check_snippet(name, NO_TORCH_EITHER, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_onnx_gives_what_pytorch_gives(name, tmp_path):
    session = onnxruntime.InferenceSession(export(name, "onnx_export", tmp_path))
    net_id, given, answer = DEPLOYED[name]
    assert ([port.name for port in session.get_inputs()], session.get_outputs()[0].name) == ([given], answer)
    torch.manual_seed(0)
    network, latents = shipped(name, net_id), torch.randn(5, LATENT_DIM.get(name, 100))
    with torch.no_grad():
        windows = (shipped(GANS[2])(torch.randn(5, 100))[:, :1] + 1) * 300  # they look like real ones
        constant = torch.zeros(2, 1, 96, 96) + torch.tensor([0.0, 7.0]).reshape(2, 1, 1, 1)
        batches = [latents, latents[:1]]
        if name == UNET:
            batches = [windows, windows[:1], torch.randn(3, 1, 96, 96), constant]
        elif name == UNET_3D:
            batches = [torch.rand(2, *SHAPES[name]) * 300, torch.randn(1, *SHAPES[name]), torch.ones(1, *SHAPES[name])]
        for batch in batches:
            (got,) = session.run(None, {given: batch.numpy()})
            tolerance = 1e-3 if name == UNET_3D else 1e-4  # its norms are over 200,000 voxels
            np.testing.assert_allclose(got, network(batch), atol=tolerance, rtol=0)


# ---- what the files promise one another


def block_and_rest(name):
    block, rest = (BUNDLES / name / "configs/train.yaml").read_text("utf-8").split("# ---- The same in all three")
    head, block = block.split("# ---- What this GAN is")
    return head, block, rest


def test_gan_trainings_differ_in_one_block_alone():
    heads, blocks, rests = zip(*map(block_and_rest, OPEN_GANS), strict=True)
    assert len(set(rests)) == 1
    assert len({tuple(head.splitlines()[1:]) for head in heads}) == 1, "the first line names the GAN"
    assert len(set(blocks)) == 3


def test_gan_inferences_differ_in_name_width_and_threshold_alone():
    own = ("bundle:", "width:", "label_threshold:")
    texts = [(BUNDLES / name / "configs/inference.yaml").read_text("utf-8").splitlines() for name in GANS]
    assert len({tuple(line for line in lines if not line.startswith(own)) for lines in texts}) == 1
    assert [parsed(name, "inference.yaml")["bundle"] for name in GANS] == GANS


def test_refiner_makes_pairs_as_the_gans_do_but_for_its_prior():
    """Its inference differs from a GAN's in lines about the network and the prior alone, its handlers are the same."""
    ours, theirs = (parsed(name, "inference.yaml") for name in (REFINER, OPEN_GANS[0]))
    assert {*theirs.config} - {*ours.config} == {"latent_dim"} and {*ours.config} <= {*theirs.config}
    same = ("dataset", "dataloader", "inferer", "handlers", "evaluator", "run", "network", "output", "weights")
    assert ours["handlers"][0]["manifest"].pop("anatomy") == "simulated"
    assert all(ours[key] == theirs[key] for key in same)
    ours, theirs = (parsed(name, "train.yaml") for name in (REFINER, OPEN_GANS[0]))
    for key in ("sampling", "train#dataset", "train#trainer", "validate#dataset", "validate#monitor"):
        assert ours[key] == theirs[key], key
    pairs = zip(ours["train#handlers"], theirs["train#handlers"], strict=True)
    differing = [sorted(key for key in one if one[key] != other.get(key)) for one, other in pairs]
    assert differing == [[], [], ["figure"], ["objective", "reals"], []], "its epoch is chosen by another distance"
    assert {*theirs["run"][0]["state"]} - {*ours["run"][0]["state"]} == {"critic", "critic_optimizer"}
    assert ours["run"][0]["parts"] == theirs["run"][0]["parts"]


def test_labels_of_the_refiner_are_those_of_the_simulated_anatomy(weights, tmp_path):
    run_bundle(
        REFINER, "inference.yaml", weights=weights[REFINER], width=2, n=3, seed=3, output=str(tmp_path / "a.npy")
    )
    latents = SimulatedLatents(small=True).fixed(3, seed=3).unflatten(1, (3, 96, 96)).numpy()
    pairs, _ = open_stack(tmp_path / "a.npy")
    np.testing.assert_array_equal(pairs[:, 1], latents[:, 1])
    assert np.corrcoef(pairs[:, 0].ravel(), latents[:, 0].ravel())[0, 1] > 0.9, "its weights are not trained"


@pytest.mark.slow
def test_refiner_goes_on_as_if_it_had_not_been_stopped(stack, tmp_path):
    for folder, n_epochs in (("whole", 2), ("cut", 1), ("cut", 2)):
        sizes = {**TINY, **OWN[REFINER], "max_epochs": n_epochs}
        run_bundle(REFINER, "train.yaml", pairs=str(stack), output_dir=str(tmp_path / folder), **sizes)
    whole, cut = (load_weights(tmp_path / folder / "checkpoint.pt")["state"] for folder in ("whole", "cut"))
    for part in ("generator", "average", "generator_optimizer"):
        assert same(whole[part], cut[part]), part


@pytest.mark.parametrize("name", [UNET, UNET_3D])
def test_evaluation_prepares_an_image_as_inference_does(name):
    """The same transforms with the same settings: the evaluation reads the label beside the image."""
    inference, evaluation = (
        parsed(name, "inference.yaml", *overlay)["preprocessing"]["transforms"] for overlay in ([], ["evaluate.yaml"])
    )
    assert evaluation[0] == inference[0] | {"keys": ["image", "label"]}
    assert evaluation[1:] == inference[1:]


@pytest.mark.parametrize("name", WHOLE)
def test_shipped_weights_fit_the_configuration(name):
    weights = torch.load(BUNDLES / name / "models" / "model.pt", map_location="cpu", weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    parsed(name, "inference.yaml").get_parsed_content("network_def").load_state_dict(weights, strict=True)
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.parametrize("name", WHOLE)
def test_training_and_inference_build_the_same_network(name):
    """But for what training alone needs: weights of a training must fit the inference."""
    networks = [parsed(name, file).get_parsed_content("network_def") for file in ("train.yaml", "inference.yaml")]
    shapes = [{key: tensor.shape for key, tensor in network.state_dict().items()} for network in networks]
    assert shapes[0] == shapes[1]


PAPER = {
    "tof_mra_dcgan": ("batch", 39_217_152, 512, 178, 1, 3e-4, [0.5, 0.999]),
    "tof_mra_wgan_gp": ("instance", 39_211_200, 300, 180, 5, 1e-4, [0.0, 0.9]),
    "tof_mra_wgan_gp_sn": ("spectral", 39_211_200, 300, 180, 5, 1e-4, [0.0, 0.9]),
}
# The private one's overlay has the paper's networks, but not its batches and rates: those are a matter of the noise.


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", OPEN_GANS)
def test_paper_overlay_of_a_gan_has_the_papers_numbers(name):
    norm, n_critic, batch_size, max_epochs, critic_steps, rate, betas = PAPER[name]
    parser = parsed(name, "train.yaml", "paper.yaml")
    with torch.device("meta"):  # counts need no memory
        assert n_parameters(parser.get_parsed_content("network_def")) == 43_018_752
        assert n_parameters(parser.get_parsed_content("critic_def")) == n_critic
    wanted = {"critic_norm": norm, "batch_size": batch_size, "max_epochs": max_epochs, "critic_steps": critic_steps}
    wanted |= {"generator_lr": rate, "critic_lr": rate, "betas": betas, "init_std": 0.05, "latent_dim": 100}
    assert {key: parser[key] for key in wanted} == wanted
    objective = parser.get_parsed_content("objective")
    assert getattr(objective, "penalty_interval", 1) == 1
    assert getattr(objective, "weight", 10.0) == 10.0


def test_paper_overlay_of_the_refiner_is_larger():
    small, large = parsed(REFINER, "train.yaml"), parsed(REFINER, "train.yaml", "paper.yaml")
    keys = ("width", "n_heads", "batch_size", "pairs_per_epoch", "max_epochs", "objective#n", "objective#n_compared")
    assert all(large[key] > small[key] for key in keys)


def test_paper_overlay_of_the_unet_has_the_papers_numbers(stack, tmp_path):
    parser = parsed(UNET, "train.yaml", "paper.yaml")
    with torch.device("meta"):
        assert n_parameters(parser.get_parsed_content("network_def")) == 7_846_081
    assert parser["lr"] in (1e-4, 1e-5)
    assert parser["batch_size"] in (8, 16, 32, 64)
    assert parser["max_epochs"] == 15
    train(UNET, tmp_path / "out", "paper.yaml", pairs=str(stack))


def test_classical_overlay_doubles_the_pairs(stack, tmp_path):
    parser = parsed(UNET, "train.yaml", "classical.yaml")
    parser["pairs"], parser["output_dir"] = str(stack), str(tmp_path)
    pairs, both = parser.get_parsed_content("train#pairs"), parser.get_parsed_content("train#dataset")
    n = len(pairs)
    assert len(both) == 2 * n
    assert torch.equal(both[0]["image"], pairs[0]["image"])
    changed = both[n]
    assert type(changed["image"]) is torch.Tensor and changed["image"].shape == (1, 96, 96)
    assert not torch.equal(changed["image"], pairs[0]["image"])
    assert set(changed["label"].unique().tolist()) <= {0, 1}


def test_classical_overlay_trains_the_same_again(stack, tmp_path):
    for folder in ("whole", "again"):
        train(UNET, tmp_path / folder, "classical.yaml", pairs=str(stack))
    assert same(*(load_weights(tmp_path / folder / "best.pt") for folder in ("whole", "again")))


def test_epoch_of_so_many_pairs(stack, tmp_path):
    epoch = train(UNET, tmp_path, "plain.yaml", pairs=str(stack), pairs_per_epoch=30)
    assert epoch["iteration"] == -(-30 // TINY["batch_size"])


@pytest.mark.parametrize("name", WHOLE)
def test_every_command_of_the_readme_is_one_of_monais(name):
    text = (BUNDLES / name / "docs" / "README.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith(("python -m monai.bundle", "torchrun "))]
    assert len(lines) >= 5
    for line in lines:
        words = line.replace("[", "").replace("]", "").replace(",", "").replace('"', "").replace("'", "").split()
        for word in words:
            if word.startswith("configs/"):
                assert (BUNDLES / name / word).is_file(), line
        verb, *words = words[words.index("monai.bundle") + 1 :]
        if verb == "run":
            files = [Path(word).name for word in words if word.endswith(".yaml")]
            parser = parsed(name, *files)
            ids = [word[2:] for word in words if word.startswith("--") and word != "--config_file"]
            assert [key for key in ids if key not in parser] == [], line
