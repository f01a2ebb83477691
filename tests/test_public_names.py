"""Configurations name `tofgan_monai.NAME` and nothing deeper, and lower rooms know nothing of higher ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tofgan_monai

ROOT = Path(__file__).parents[1]
ROOMS = {path.stem for path in (ROOT / "tofgan_monai").iterdir()} | {"bundles"}
CONFIGS = sorted(ROOT.glob("bundles/*/configs/*.yaml"))
ALLOWED = ROOT / "tofgan_monai" / "exchange" / "inspection" / "allowed.yaml"


def named(text: str) -> set[str]:
    """What a text names of the package: whatever stands behind `tofgan_monai.` or is imported from it."""
    dotted = re.findall(r"(?<!from )\btofgan_monai\.([A-Za-z_][\w.]*)", text)
    imported = re.findall(r"\bfrom tofgan_monai(\.[\w.]+)? import (\w+)", text)
    return {*dotted, *(f"{module}.{name}".lstrip(".") for module, name in imported)}


@pytest.mark.parametrize("name", tofgan_monai.__all__)
def test_public_name_is_found_and_is_no_room(name):
    assert getattr(tofgan_monai, name) is not None
    assert name not in ROOMS  # pydoc.locate, which MONAI uses, would find the room


@pytest.mark.parametrize("path", [*CONFIGS, ALLOWED], ids=lambda path: "/".join(path.parts[-3:]))
def test_configuration_names_nothing_deeper(path):
    assert named(path.read_text("utf-8")) <= {*tofgan_monai.__all__}


def test_allowed_targets_are_public_names():
    assert set(yaml.safe_load(ALLOWED.read_text("utf-8"))["targets"]["tofgan_monai"]) <= {*tofgan_monai.__all__}


def test_deeper_path_is_found():
    text = "a: tofgan_monai.gan.networks.Generator\nb: $from tofgan_monai.files import sha256\nc: $import tofgan_monai"
    assert named(text) == {"gan.networks.Generator", "files.sha256"}


def test_first_use_imports_a_name_and_nothing_before():
    before, after = "assert 'torch' not in sys.modules", "assert 'torch' in sys.modules"
    code = f"import sys, tofgan_monai; {before}; tofgan_monai.Generator; {after}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("module", "rooms"),
    [("exchange.inspection", {"exchange"}), ("audit.record", {"attacks", "audit", "errors", "volumes"})],
)
def test_what_judges_a_foreign_file_imports_nothing_else(module, rooms):
    names = "sorted({name.split('.')[1] for name in sys.modules if name.startswith('tofgan_monai.')})"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, tofgan_monai.{module}; print(*{names})"],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert {*done.stdout.split()} == rooms


def test_lower_rooms_know_nothing_of_higher_ones():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_tests_share_helpers_alone_and_use_no_private_name():
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text("utf-8")
        assert not re.findall(r"(?m)^from tests\.(?!helpers)\S+ import", text), path
        assert not re.findall(r"(?m)^from tofgan_monai\S* import .*\b_[a-z]", text), path
