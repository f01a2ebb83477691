"""The wheel is whole and works outside the checkout; the pins fit the ranges; bundles are found by name and by path."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tofgan_monai.bundle_runs.paths import bundle_names, bundle_path
from tofgan_monai.errors import InputError

ROOT = Path(__file__).parents[1]
BUNDLES = [
    "tof_mra_dcgan",
    "tof_mra_dp_wgan_gp",
    "tof_mra_vessel_segmentation",
    "tof_mra_wgan_gp",
    "tof_mra_wgan_gp_sn",
]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
IGNORED = shutil.ignore_patterns("__pycache__", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing left in the checkout gets into it, and nothing into the checkout."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tofgan_monai", "bundles"):
        shutil.copytree(ROOT / name, source / name, ignore=IGNORED)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(built)]
    subprocess.run([*PIP, "wheel", *options, str(source)], check=True)
    (path,) = built.glob("*.whl")
    return source, path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel installed into a folder, and an environment that sees it instead of the checkout."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel[1])], check=True)
    return target, {**os.environ, "PYTHONPATH": str(target)}


def test_wheel_holds_every_file_of_package_and_bundles(wheel):
    source, path = wheel
    package = {file.relative_to(source).as_posix() for file in source.glob("tofgan_monai/**/*") if file.is_file()}
    bundles = {f"tofgan_monai/{file.relative_to(source)}" for file in source.glob("bundles/**/*") if file.is_file()}
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
    assert not (package | bundles) - held, "a folder lacks __init__.py, or setup.cfg's package_data the kind of file"
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in held)


def test_installed_package_finds_its_bundles_outside_the_checkout(installed, tmp_path):
    target, environment = installed
    code = "from tofgan_monai.bundle_runs.paths import *; print(*(bundle_path(name) for name in bundle_names()))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(target / "tofgan_monai" / "bundles" / name) for name in BUNDLES]


def test_installed_command_runs_outside_the_checkout(installed, tmp_path):
    target, environment = installed
    command = [str(target / "bin" / "tofgan"), "--help"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    for verb in ("phantom", "check", "prepare", "extract", "train", "adopt", "generate", "evaluate", "report"):
        assert verb in run.stdout


def test_pins_are_exact_complete_and_within_the_ranges():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    ranges = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.replace("_", "-").lower().split("==") for line in lines)
    for wanted in (Requirement(line) for text in ranges for line in text.split("\n") if line):
        assert pins.get(wanted.name.lower()) in wanted.specifier, f"{wanted}: pinned {pins.get(wanted.name.lower())}"
    assert "torchvision" not in pins
    assert not [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_bundles_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    assert bundle_names() == BUNDLES
    assert bundle_path("tof_mra_dcgan") == ROOT / "bundles" / "tof_mra_dcgan"
    own = tmp_path / "my_gan"
    (own / "configs").mkdir(parents=True)
    (own / "configs" / "metadata.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert bundle_path("my_gan") == bundle_path(own) == own


@pytest.mark.parametrize("name", ["tof_mra_dcgam", ".", ""])
def test_unknown_bundle_is_one_clear_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="tof_mra_vessel_segmentation") as caught:
        bundle_path(name)
    assert len(caught.value.problems) == 1
