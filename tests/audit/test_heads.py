"""The audit of a 3D segmentation network, which asks about patients by windows of their heads, up to the gate."""

from __future__ import annotations

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.helpers.bundles import BUNDLES
from tests.helpers.heads import write_small_head, write_small_heads
from tofgan_monai import HalfUNet, InputError, VesselLoss, VesselUNet3D, install, pack, verify
from tofgan_monai.attacks.canary import plant_head_canary
from tofgan_monai.audit.heads import head_reader
from tofgan_monai.audit.run import audit
from tofgan_monai.audit.target import read_target
from tofgan_monai.bundle_runs.runs import run_bundle
from tofgan_monai.cli import app
from tofgan_monai.exchange.adoption import adopt
from tofgan_monai.exchange.data_card import write_card
from tofgan_monai.exchange.layout import WEIGHTS
from tofgan_monai.phantom.sources import VERSION
from tofgan_monai.segmentation import heads
from tofgan_monai.training.weights import load_weights, save_weights
from tofgan_monai.volumes.cohort import read_splits, write_cohort

NAME, SHAPE, SIZES = "tof_mra_vessel_segmentation_3d", (32, 32, 12), {"width": 2, "levels": 3, "window": [16, 16, 8]}
N = 10  # members, and non-members; of far fewer nothing can be shown
REASON = "the ethics board has asked for it, vote 12"


def written(folder, seeds, **more):
    return [write_small_head(folder / f"sub-{seed:02d}", seed, shape=SHAPE, **more) for seed in seeds]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a cohort of real patients in three splits, one of others, and one whose labels lie elsewhere."""
    site = tmp_path_factory.mktemp("site")
    items = written(site / "cohort", range(2 * N + 3))
    write_cohort(site / "cohort", {"training": items[:N], "validation": items[-3:], "test": items[N : 2 * N]})
    others = written(site / "others", range(30, 34))
    write_cohort(site / "others", {"training": others[:3], "validation": others[3:]})
    shifted = written(site / "shifted", range(40, 40 + N))
    for item in shifted:
        label = nib.load(item["label"])
        nib.save(nib.Nifti1Image(np.roll(label.get_fdata(), 5, 0).astype(np.uint8), label.affine), item["label"])
    write_cohort(site / "shifted", {"unsplit": shifted})
    return site


@pytest.fixture
def bundle(tmp_path):
    """The 3D bundle as a clinic's own: tiny, with random weights that have seen the members."""
    folder = tmp_path / "clinic_3d"
    shutil.copytree(BUNDLES / NAME, folder, ignore=shutil.ignore_patterns("models"))
    for name in ("train.yaml", "inference.yaml"):
        text = (folder / "configs" / name).read_text("utf-8")
        for key, value in SIZES.items():
            text, n = re.subn(rf"(?m)^{key}: .*", f"{key}: {value}", text)
            assert n == 1
        (folder / "configs" / name).write_text(text, encoding="utf-8")
    adopted(folder, VesselUNet3D(2, 3))
    return folder


def adopted(bundle, network):
    save_weights(network.state_dict(), bundle / WEIGHTS)
    write_card(bundle, [{"kind": "real", "patients": N}])


def trained(bundle, output, cohort, **more):
    """The output folder of a training of the bundle on a cohort, and on two simulated heads."""
    sizes = {"steps_per_epoch": 3, "max_epochs": 1, "n_validation": 2, "simulated": 2, "simulated_validation": 0}
    run_bundle(bundle, ["train.yaml"], {"output_dir": str(output), "dataset_dir": str(cohort), **sizes, **more})
    return output


def untrained(folder, seed):
    torch.manual_seed(seed)
    save_weights(VesselUNet3D(2, 3).state_dict(), folder / f"{seed}.pt")
    return folder / f"{seed}.pt"


def of_three(cohort):
    return dict.fromkeys(("members", "non_members", "references"), cohort)


def tofgan(*words):
    ran = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert ran.exit_code == 0, ran.output + str(ran.exception)
    return ran.output


def said_of(verified):
    return verified.card["weights"][WEIGHTS]["audit"]


@pytest.mark.slow
def test_fine_tuned_weights_are_audited_and_leave_with_what_was_found(site, bundle, tmp_path, monkeypatch, installed):
    monkeypatch.setattr(heads, "write_heads", write_small_heads)
    cohort, more = site / "cohort", {"cache_dir": str(tmp_path / "cache"), "simulated_dir": str(tmp_path / "simulated")}
    start = more | {"pretrained": str(untrained(tmp_path, 0))}
    assert "lists each scan of training patient" in tofgan("canary", cohort, tmp_path / "canary", "--times", 4)
    run = trained(bundle, tmp_path / "run", cohort, **start)
    canary_run = trained(bundle, tmp_path / "canary_run", tmp_path / "canary", **start)
    shadows = [trained(bundle, tmp_path / f"shadow_{i}", site / "others", seed=i, **start) for i in (1, 2)]
    adopt(run, bundle)
    card = json.loads((bundle / "docs/data_card.json").read_text("utf-8"))["weights"][WEIGHTS]
    simulated, real = card["seen"][:2]
    assert simulated == {"kind": "simulated", "patients": 2, "simulation": [VERSION]}
    assert real == {"kind": "real", "patients": N}

    with pytest.raises(InputError, match=r"there is no audit of them; give one that passed"):
        pack(bundle, tmp_path / "a.zip")
    words = [f"--{name}={cohort}" for name in ("members", "non-members", "references")]
    words += [f"--run={run}", f"--canary={tmp_path / 'canary'}", f"--canary-run={canary_run}"]
    words += [f"--shadow={shadow / 'best.pt'}" for shadow in shadows]
    told = tofgan("audit", bundle, tmp_path / "audit", "--pairs-per-patient", 3, *words)
    assert f"network: inconclusive\n  - the audit has {N} members" in told
    found = json.loads((tmp_path / "audit/audit.json").read_text("utf-8"))
    assert [attack["name"] for attack in found["attacks"]] == ["loss", "confidence", "LiRA"]
    assert found["training_checked"] and found["volumes_compared"]
    counts = {name: (of["patients"], of["pairs"], of["kind"]) for name, of in found["cohorts"].items()}
    assert counts == {"members": (N, 3 * N, "real"), "non_members": (N, 3 * N, "real"), "references": (3, 9, "real")}
    assert found["canary"]["times"] == 4 and found["canary"]["repeats"][0]["of"] == N + 1
    assert all((tmp_path / "audit" / page).exists() for page in ("audit.html", "audit_for_sharing.html"))

    with pytest.raises(InputError, match="inconclusive for a release of the network"):
        pack(bundle, tmp_path / "a.zip", audit=tmp_path / "audit")
    verified = verify(pack(bundle, tmp_path / "a.zip", audit=tmp_path / "audit", despite=REASON))
    assert said_of(verified)["summary"]["outcome"] == "inconclusive"
    assert said_of(verified)["summary"]["patients"]["members"] == N
    before, after = (load_weights(folder / WEIGHTS) for folder in (bundle, install(verified)))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_network_that_fits_its_members_alone_fails_and_the_card_says_so(site, bundle, tmp_path):
    reader = head_reader(read_target(bundle), tmp_path / "heads")
    given = of_three(site / "cohort") | {"non_members": site / "shifted"}
    batch = torch.from_numpy(reader.cohorts(**given, windows_per_patient=4).members.pairs.astype(np.float32))
    torch.manual_seed(0)
    network = VesselUNet3D(2, 3)
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(40):
        optimizer.zero_grad()
        VesselLoss()(network(batch[:, :1]), (batch[:, 1:] > 0).float()).backward()
        optimizer.step()
    adopted(bundle, network)
    shadows = [untrained(tmp_path, seed) for seed in (1, 2)]
    found = audit(bundle, tmp_path / "audit", **given, shadows=shadows, pairs_per_patient=4)
    assert found["verdicts"]["network"]["outcome"] == "failed"
    assert {attack["name"]: attack["patient"]["auc"]["value"] for attack in found["attacks"]}["loss"] > 0.9
    assert audit(bundle, tmp_path / "audit", **given, shadows=shadows, pairs_per_patient=4) == found  # from its parts
    with pytest.raises(InputError, match="failed for a release of the network"):
        pack(bundle, tmp_path / "a.zip", audit=tmp_path / "audit")
    verified = verify(pack(bundle, tmp_path / "a.zip", audit=tmp_path / "audit", despite=REASON))
    assert said_of(verified)["summary"]["outcome"] == "failed"


# ---- windows


@pytest.fixture
def reader(bundle, tmp_path):
    return head_reader(read_target(bundle), tmp_path / "heads")


def test_windows_are_pairs_of_each_patient_and_the_same_each_time(site, reader):
    one, other = (reader.cohorts(**of_three(site / "cohort"), windows_per_patient=5) for _ in range(2))
    np.testing.assert_array_equal(one.queries, other.queries)
    assert one.queries.shape == (10 * N, 2, 16, 16, 8) and one.queries.dtype == np.float16
    images, labels = one.queries[:, 0], one.queries[:, 1]
    assert (images.min((1, 2, 3)) == -1).all() and (images.max((1, 2, 3)) == 1).all()
    assert set(np.unique(labels)) == {-1, 1} and (images[labels > 0].mean() > images[labels < 0].mean() + 0.5)
    np.testing.assert_array_equal(one.members.patients, np.repeat(np.arange(N), 5))
    assert len({window.tobytes() for window in one.queries}) > 9 * N


def test_two_scans_of_a_patient_take_turns_and_a_simulated_head_among_patients_is_not_asked(site, reader, tmp_path):
    items = read_splits(site / "cohort")["training"]
    two, simulated = {**items[1], "patient": "sub-00"}, {**items[2], "kind": "simulated"}
    write_cohort(tmp_path / "mixed", {"unsplit": [items[0], simulated, two, items[3]]})
    given = of_three(site / "cohort") | {"members": tmp_path / "mixed", "non_members": site / "shifted"}
    plain = {**given, "members": site / "cohort"}
    mixed, whole = (reader.cohorts(**one, windows_per_patient=2).members for one in (given, plain))
    assert mixed.kind == "real" and mixed.described["patients"] == 2
    np.testing.assert_array_equal(mixed.pairs, whole.pairs[[0, 3, 6, 7]])
    write_cohort(tmp_path / "trial", {"unsplit": [{**item, "kind": "simulated"} for item in items[:2]]})
    assert reader.cohorts(**{**given, "members": tmp_path / "trial"}, windows_per_patient=1).members.kind == "simulated"


def test_canary_is_one_patient_repeated_whom_the_audit_finds_again(site, reader, tmp_path):
    cohort = reader.cohorts(**of_three(site / "cohort"), windows_per_patient=1)
    planted = {plant_head_canary(site / "cohort", tmp_path / str(seed), times=3, seed=seed) for seed in range(3)}
    assert len(planted) > 1
    for seed in range(3):
        found = reader.canary(tmp_path / str(seed), cohort.members)
        assert found._replace(digest="") in planted and found.digest != cohort.members.digest
        splits, before = (read_splits(path) for path in (tmp_path / str(seed), site / "cohort"))
        assert len(splits["training"]) == N + 2 and splits["test"] == before["test"]


# ---- refusals


def test_cohorts_that_cannot_be_compared_are_refused_before_a_head_is_read(site, bundle, tmp_path):
    unlabelled = [{k: v for k, v in item.items() if k != "label"} for item in read_splits(site / "others")["training"]]
    write_cohort(tmp_path / "unlabelled", {"test": unlabelled})
    for given, told in (
        ({"non_members": site / "others"}, r"has no split test.* \(non-members\)"),
        ({"references": site / "others"}, r"has 1 patients in validation; give two or more \(references\)"),
        ({"non_members": tmp_path / "unlabelled"}, r"has no label"),
        ({"members": site / "shifted", "non_members": site / "shifted"}, "share 10 volumes, but members and non-mem"),
        ({"members": tmp_path / "members.npy"}, "cannot be read as a cohort"),
    ):
        with pytest.raises(InputError, match=told):
            audit(bundle, tmp_path / "audit", **of_three(site / "cohort") | given)
    assert not (tmp_path / "audit").exists()
    (bundle / "configs/train.yaml").unlink()
    with pytest.raises(InputError, match=r"train\.yaml: cannot be read as the training of a 3D network"):
        audit(bundle, tmp_path / "audit", **of_three(site / "cohort"))


def test_other_trainings_and_networks_are_refused(site, bundle, tmp_path, monkeypatch):
    given, none = of_three(site / "cohort"), {"simulated": 0, "cache_dir": str(tmp_path / "cache")}
    members, others = (
        trained(bundle, tmp_path / name, site / name, **none, simulated_validation=0) for name in ("cohort", "others")
    )
    with pytest.raises(InputError, match="the training used other pairs than the members'"):
        audit(bundle, tmp_path / "audit", **given, run=others)
    with pytest.raises(InputError, match="the shadow model was trained on the members' pairs"):
        audit(bundle, tmp_path / "audit", **given, shadows=[members / "best.pt", others / "best.pt"])
    save_weights(HalfUNet(2).state_dict(), tmp_path / "flat.pt")
    with pytest.raises(InputError, match=r"flat\.pt holds weights that do not fit"):
        audit(bundle, tmp_path / "audit", **given, shadows=[tmp_path / "flat.pt"])
    plant_head_canary(site / "others", tmp_path / "of_others", times=2)
    for canary in (site / "cohort", tmp_path / "of_others"):
        with pytest.raises(InputError, match="holds no canary of the members' cohort"):
            audit(bundle, tmp_path / "audit", **given, canaries=[(canary, members)])
