"""The wheel and the editable install are complete; the pins fit the ranges; bundles are found by name and by path."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tofgan_monai import InputError
from tofgan_monai.bundle_runs.paths import bundle_names, bundle_path

ROOT = Path(__file__).parents[1]
BUNDLES = [
    "tof_mra_dcgan",
    "tof_mra_dp_wgan_gp",
    "tof_mra_refiner",
    "tof_mra_vessel_segmentation",
    "tof_mra_vessel_segmentation_3d",
    "tof_mra_wgan_gp",
    "tof_mra_wgan_gp_sn",
]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
PRINT_BUNDLES = "from tofgan_monai.bundle_runs.paths import *; print(*(bundle_path(name) for name in bundle_names()))"
IGNORED = shutil.ignore_patterns("__pycache__", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A copy of the sources and the wheel that pip built from it; the checkout stays as it is."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tofgan_monai", "bundles"):
        shutil.copytree(ROOT / name, source / name, ignore=IGNORED)
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(built)]
    subprocess.run([*PIP, "wheel", *options, str(source)], check=True)
    (path,) = built.glob("*.whl")
    return source, path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the installed wheel, and environment variables that let Python find it instead of the checkout."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel[1])], check=True)
    return target, {**os.environ, "PYTHONPATH": str(target)}


@pytest.mark.slow
def test_wheel_holds_every_file_of_package_and_bundles(wheel):
    source, path = wheel
    package = {file.relative_to(source).as_posix() for file in source.glob("tofgan_monai/**/*") if file.is_file()}
    bundles = {f"tofgan_monai/{file.relative_to(source)}" for file in source.glob("bundles/**/*") if file.is_file()}
    with zipfile.ZipFile(path) as archive:
        held = set(archive.namelist())
    assert not (package | bundles) - held, (
        "add the folder to `packages` in setup.cfg, or the kind of file to `package_data`"
    )
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in held)


@pytest.mark.slow
def test_installed_package_finds_its_bundles_outside_the_checkout(installed, tmp_path):
    target, environment = installed
    run = subprocess.run(
        [sys.executable, "-c", PRINT_BUNDLES], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [str(target / "tofgan_monai" / "bundles" / name) for name in BUNDLES]


@pytest.mark.slow
def test_editable_install_finds_package_and_bundles_in_the_checkout(wheel, tmp_path):
    source, _ = wheel
    build = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(*tmp_path.glob("*.whl")) as archive:
        archive.extractall(tmp_path)
    # Without site, the environment's own editable install of this package stays out of the way.
    find = f"import site, sys; sys.path.append({sysconfig.get_path('purelib')!r}); site.addsitedir({str(tmp_path)!r})"
    command = [sys.executable, "-S", "-c", f"{find}\n{PRINT_BUNDLES}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(source / "bundles" / name) for name in BUNDLES]


@pytest.mark.slow
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
