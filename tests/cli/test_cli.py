"""The verbs: what they pass on, one line for what is wrong, help for each."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import get_type_hints

import pytest
from typer.testing import CliRunner

from tests.helpers.heads import write_small_head
from tests.helpers.patients import write_patient
from tofgan_monai import ChangedTrainingError, InputError, cli, phantom
from tofgan_monai.bundle_runs import runs as bundle_runs
from tofgan_monai.bundle_runs.paths import bundle_names, bundle_path
from tofgan_monai.cli import app
from tofgan_monai.cli.app import passes_inspection
from tofgan_monai.segmentation import precision

VERBS = [
    *("phantom", "check", "prepare", "extract"),
    *("train", "adopt", "generate", "segment", "evaluate"),
    *("canary", "audit"),
    *("pack", "verify", "install"),
    *("export", "release"),
    *("synthesise", "frechet", "study", "report"),
    "doctor",
]


def tofgan(*words):
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture
def main(monkeypatch, tmp_path):
    """Callable (words) -> exit status of the command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        monkeypatch.setattr(sys, "argv", ["tofgan", *words.split()])
        try:
            cli.main()
        except SystemExit as end:
            return end.code
        return 0

    return run


@pytest.fixture
def ran(monkeypatch):
    """What `run_bundle` was called with."""
    calls = []
    monkeypatch.setattr(bundle_runs, "run_bundle", lambda *call: calls.append(call))
    return calls


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_unless_the_user_says_so(monkeypatch, given, expected):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert tofgan("phantom", "folder", "--site", "D").exit_code  # any verb
    assert os.environ["OMP_WAIT_POLICY"] == expected


def test_help_lists_every_verb():
    assert [command.callback.__name__ for command in app.registered_commands] == VERBS
    shown = tofgan("--help")
    assert shown.exit_code == 0 and all(verb in shown.output for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_explains_every_option(verb):
    shown = tofgan(verb, "--help")
    assert shown.exit_code == 0 and f"{verb} " in shown.output and "--help" in shown.output
    (command,) = (command for command in app.registered_commands if command.callback.__name__ == verb)
    parameters = get_type_hints(command.callback, include_extras=True)
    silent = [name for name, hint in parameters.items() if name not in ("context", "return") and not help_of(hint)]
    assert not silent


def help_of(hint):
    return any(getattr(metadata, "help", None) for metadata in getattr(hint, "__metadata__", ()))


def test_help_of_no_verb_imports_a_heavy_package():
    """All verbs in one process; each line of the output is a verb and the heavy packages that are loaded by then."""
    code = (
        "import sys; from typer.testing import CliRunner; from tofgan_monai.cli import app\n"
        f"for words in {[[], *([verb] for verb in VERBS)]}:\n"
        "    assert not CliRunner().invoke(app, [*words, '--help']).exit_code\n"
        "    print(*words, *({'torch', 'monai', 'numpy', 'ignite', 'scipy'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["", *VERBS]


def test_train_passes_absolute_paths_and_overrides_on(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "train tof_mra_dcgan --output-dir out --pairs a.npy --pairs b.npy --width 8 --generator_lr=1e-4"
    done = tofgan(
        *words.split(), "--overlay", "classical", "--paper", "--betas", "[0.5, 0.9]", "--device", "$torch.device('cpu')"
    )
    assert done.exit_code == 0, done.output
    ((bundle, configs, overrides),) = ran
    assert bundle.name == "tof_mra_dcgan" and configs == ["train.yaml", "paper.yaml", "classical.yaml"]
    assert {name: value for name, value in overrides.items() if value is not None} == {
        "output_dir": str(tmp_path / "out"),
        "pairs": [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")],
        "width": 8,
        "generator_lr": 1e-4,
        "betas": [0.5, 0.9],
        "device": "$torch.device('cpu')",
    }


def test_generate_and_evaluate_pass_their_options_on(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tofgan("generate", "tof_mra_dcgan", "a.npy", "-n", 5, "--width", 8).output == "a.npy: 5 synthetic pairs\n"
    unset = {"validation_pairs": None}
    assert ran[0][2] == {"n": 5, "seed": 0, "output": str(tmp_path / "a.npy"), "weights": None, "width": 8, **unset}
    assert tofgan("evaluate", "prepared", "out", "--model", "real", "--split", "validation").exit_code == 0
    assert ran[1][1] == ["inference.yaml", "evaluate.yaml"]
    assert ran[1][2]["model"] == "real" and ran[1][2]["split"] == "validation"


@pytest.mark.parametrize(
    "words",
    [
        "generate tof_mra_dcgan old.npy",
        "generate tof_mra_dcgan old.npy --for-release AUDIT",
        "extract nowhere old.npy",
        "canary nothing.npy old.npy",
    ],
)
def test_a_stack_is_overwritten_only_by_force(words, ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.npy").write_bytes(b"pairs")
    told = "old.npy exists already; give another name, or --force to overwrite it"
    assert str(tofgan(*words.split()).exception) == told and not ran
    assert "exists already" not in str(tofgan(*words.split(), "--force").exception)


def test_generate_takes_the_share_of_vessels_that_a_private_training_tells(ran, tmp_path):
    (tmp_path / "guarantee.json").write_text('{"vessel_share": 0.03}')
    weights = ("--weights", tmp_path / "best.pt")
    assert tofgan("generate", "tof_mra_dp_wgan_gp", tmp_path / "a.npy", *weights).exit_code == 0
    words = ("generate", "tof_mra_dp_wgan_gp", tmp_path / "a.npy", *weights, "--label_threshold", 0.1)
    assert tofgan(*words).exit_code == 0
    assert ran[0][2]["vessel_share"] == 0.03 and "vessel_share" not in ran[1][2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train tof_mra_dcgan --output-dir OUT", "the training has no data"),
        ("train tof_mra_dcgan --output-dir OUT --pairs a.npy --widht 8", "did you mean --width?"),
        ("train tof_mra_dcgan --output-dir OUT --pairs a.npy --width", "overrides come as --ID VALUE"),
        ("train tof_mra_dcgan --output-dir OUT --pairs a.npy width 8", "overrides come as --ID VALUE"),
        ("train tof_mra_dcgan --output-dir OUT --pairs none.npy", "none.npy cannot be read as a stack"),
        ("train tof_mra_dcgam --output-dir OUT --pairs a.npy", "no such bundle"),
        ("generate tof_mra_dcgan OUT.npy --weights none.pt", "none.pt does not exist"),
        ("generate tof_mra_dcgan OUT.npy -n 0 --weights none.pt", "error: "),
        ("generate tof_mra_dcgan OUT.npy --device nodevice", "--device nodevice: not usable here"),
        ("evaluate IN OUT --device nodevice", "--device nodevice: not usable here"),
        ("evaluate IN OUT", "IN/cohort.json cannot be read"),
        ("check nowhere --counts 1,two", "--counts 1,two: not a list of numbers"),
        ("phantom OUT -n 0", "-n 0"),
        ("export none.npy OUT --to png --spacing 0.5;0.5", "not a list of numbers; give numbers with commas between"),
        (
            "generate tof_mra_vessel_segmentation OUT.npy",
            "n, seed, output in its inference.yaml; give a bundle",
        ),
        ("segment IN OUT --bundle tof_mra_dcgan", "give a bundle for this verb, such as tof_mra_vessel_segm"),
    ],
)
def test_what_is_wrong_is_a_line_on_stderr_and_exit_code_1(words, told, main, capsys):
    assert main(words) == 1
    shown = capsys.readouterr()
    errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and told in errors[0]
    assert "Traceback" not in shown.err and not Path("OUT.npy").exists() and not Path("OUT").exists()


def test_check_says_what_it_used(main, capsys, tmp_path):
    rows = ["participant_id;Patient", "sub-01;Müller", "sub-02;Müller", "sub-03;Schäfer", "sub-04;Weiß"]
    for i in range(1, 5):
        write_patient(tmp_path / "IN" / f"sub-0{i}", "RAS", i)
    (tmp_path / "IN" / "participants.tsv").write_bytes("\r\n".join(rows).encode("latin-1"))
    assert main("check IN OUT --n-vessel 10 --counts 1,1,1") == 0
    used, patients, scans = capsys.readouterr().out.splitlines()
    assert used == "4 scans of 3 patients; patients by participants.tsv, 4 of 4 rows used"
    assert patients == "patients: training 1, validation 1, test 1"
    assert scans.startswith(f"{tmp_path / 'OUT' / 'cohort.json'}: training ")


def test_phantom_says_which_heads_were_there_before(monkeypatch, tmp_path):
    monkeypatch.setattr(phantom, "write_heads", lambda *given, **options: 2)
    assert tofgan("phantom", tmp_path, "-n", 3).stdout.startswith("3 simulated heads of site A in ")
    assert "(2 of them were there before and are as they were)" in tofgan("phantom", tmp_path, "-n", 3).stdout


def test_each_problem_has_its_line(main, monkeypatch, capsys):
    def fail(words):
        raise InputError(["a.nii: broken", "b.nii: broken"])

    monkeypatch.setattr(cli, "app", fail)
    assert main("check") == 1
    assert capsys.readouterr().err == "error: a.nii: broken\nerror: b.nii: broken\n"


def test_verbs_joined_by_a_plus_run_one_after_the_other_until_one_fails(main, capsys, ran):
    generate = "generate tof_mra_dcgan a.npy"
    assert main(f"{generate} -n 5 + {generate} -n 6") == 0
    assert [call[2]["n"] for call in ran] == [5, 6]
    assert main(f"phantom OUT -n 0 + {generate} -n 7") == 1
    assert len(ran) == 2 and "error: " in capsys.readouterr().err


def test_changed_training_starts_again_only_on_request(monkeypatch, tmp_path):
    calls, old = [], tmp_path / "out" / "checkpoint.pt"

    def run_bundle(*call):
        calls.append(call)
        if old.exists():
            raise ChangedTrainingError(f"{old} has another recipe")

    monkeypatch.setattr(bundle_runs, "run_bundle", run_bundle)
    old.parent.mkdir()
    old.write_bytes(b"")
    words = ("train", "tof_mra_dcgan", "--output-dir", old.parent, "--pairs", "a.npy")
    assert isinstance(tofgan(*words).exception, ChangedTrainingError) and old.exists() and len(calls) == 1
    assert tofgan(*words, "--restart-if-changed").exit_code == 0
    assert not old.parent.exists() and len(calls) == 3


def test_shipped_configurations_pass_the_inspection():
    assert all(passes_inspection(bundle_path(name)) for name in bundle_names())


@pytest.mark.parametrize("is_known", [True, False])
def test_monai_warns_of_a_configuration_only_if_it_is_beyond_the_list(is_known, monkeypatch, tmp_path):
    configs = tmp_path / "mine" / "configs"
    configs.mkdir(parents=True)
    for path in (bundle_path("tof_mra_dcgan") / "configs").iterdir():
        (configs / path.name).write_bytes(path.read_bytes())
    if not is_known:
        (configs / "more.yaml").write_text("size: $__import__('os').getpid()\n", "utf-8")
    told = "parsing config_file ['inference.yaml']: any value is code"
    monkeypatch.setattr(bundle_runs, "run_bundle", lambda *call: warnings.warn(told, stacklevel=1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert tofgan("generate", configs.parent, tmp_path / "a.npy").exit_code == 0
    assert [str(warning.message) for warning in caught] == ([] if is_known else [told])


@pytest.mark.parametrize("verb", ["segment", "evaluate"])
def test_int8_without_the_extra_is_refused_before_any_work(verb, monkeypatch, ran, tmp_path):
    monkeypatch.setattr(precision, "find_spec", lambda name: None)
    result = tofgan(verb, tmp_path / "missing", tmp_path / "out", "--precision", "int8")
    assert "pip install 'tofgan-monai[fast]'" in str(result.exception) and not ran
    assert not (tmp_path / "out").exists()


def test_segment_passes_its_options_on(ran, tmp_path):
    scan = write_small_head(tmp_path / "sub-1")["image"]
    done = tofgan("segment", scan, tmp_path / "out", "--precision", "float32", "--device", "cpu", "--threshold", 0.7)
    assert done.exit_code == 0, done.output
    given = {"precision": "float32", "device": "$torch.device('cpu')", "companions": ["measures", "picture"]}
    assert ran[0][1] == ["inference.yaml"] and given.items() <= ran[0][2].items() and ran[0][2]["threshold"] == 0.7
    tofgan("segment", scan, tmp_path / "out", "--label-only")
    assert "companions" not in ran[1][2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--device", "cuda:99"], "--device cuda:99: not usable"),
        (["--treshold", 0.7], "--threshold"),
        (["--page", "--label-only"], "leave one of the two options out"),
    ],
)
def test_segment_refuses_an_option_before_it_reads_a_scan(words, told, ran, tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"no scan")
    assert told in str(tofgan("segment", tmp_path / "scan.nii.gz", tmp_path / "out", *words).exception) and not ran


def test_a_bundle_without_companions_writes_labels_alone(ran, caplog, tmp_path):
    configs = tmp_path / "old" / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text("{}")
    (configs / "inference.yaml").write_text("dataset_dir: .\noutput_dir: .\npreprocessing: null\n")
    scan = write_small_head(tmp_path / "sub-1")["image"]
    assert tofgan("segment", scan, tmp_path / "out", "--bundle", configs.parent).exit_code == 0
    assert "companions" not in ran[0][2] and "old writes labels alone" in caplog.text
    refused = tofgan("segment", scan, tmp_path / "out", "--bundle", configs.parent, "--page")
    assert "ask for a newer bundle, or leave --page out" in str(refused.exception) and len(ran) == 1
