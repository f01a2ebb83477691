"""What `tofgan doctor` says, and that it names no folder, user or host."""

from __future__ import annotations

import builtins
import configparser
import getpass
import os
import platform
import re
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from tofgan_monai import InputError, installation
from tofgan_monai.cli import app
from tofgan_monai.installation import EXTRAS, describe_installation, missing_packages, require_extra

ROOT = Path(__file__).parents[1]
DEVELOPERS = {"docs", "test", "dev"}
USER, HOST = "anna-huber", "radiology-7"


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Another user's machine: its home, its user and its host have names that no package has."""
    home = tmp_path / USER / "Patient-Mueller"
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "PWD"):
        monkeypatch.setenv(name, str(home))
    for name in ("USER", "LOGNAME", "USERNAME", "LNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.setenv("HOSTNAME", HOST)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    uname = platform.uname()
    renamed = [HOST if field == "node" else getattr(uname, field) for field in ("system", "node", "release", "version")]
    monkeypatch.setattr(platform, "uname", lambda: type(uname)(*renamed, uname.machine))
    fields = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((fields[0], HOST, *fields[2:])))
    assert (getpass.getuser(), platform.uname().node, os.uname().nodename, str(Path.home())) == (
        *(USER, HOST, HOST),
        str(home),
    )


def lines_of(result):
    return dict(re.split(r"  +", line, maxsplit=1) for line in result.output.splitlines() if "  " in line)


def test_it_names_no_home_no_user_no_host_and_no_folder(stranger):
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for name in (USER, HOST, "Mueller", str(ROOT), sys.prefix, os.path.expanduser("~")):
        assert name not in result.output
    assert not re.search(r"(?<![\w)])[/\\~]\w|[A-Z]:\\", result.output)  # no path of any kind


def test_it_has_a_line_for_each_version_part_and_device():
    lines = lines_of(CliRunner().invoke(app, ["doctor"]))
    assert lines.keys() >= {"tofgan_monai", "Python", "processor", "memory", "MONAI Label"}
    assert any(what.startswith("GPU") for what in lines)
    assert lines["torch"] == torch.__version__ and lines["Python"].startswith(platform.python_version())
    assert re.fullmatch(r"[\d.]+ GiB(, [\d.]+ GiB of it unused)?", lines["memory"])
    assert all(extra.purpose in lines[f"extra {name}"] for name, extra in EXTRAS.items())
    assert "send these lines" in describe_installation()[-1]


def test_it_tells_gpus_apart(monkeypatch):
    of = SimpleNamespace(name="NVIDIA H200", total_memory=139 * 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: of)
    told = "\n".join(describe_installation())
    assert re.search(r"^GPU cuda:0 +NVIDIA H200, 139.0 GiB, CUDA", told, re.MULTILINE) and "GPU cuda:1" in told
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "none that PyTorch can use" in "\n".join(describe_installation())


def test_a_torch_that_fails_is_told_without_its_message(monkeypatch):
    real = builtins.__import__

    def broken(name, *rest, **more):
        if name == "torch":
            raise OSError(f"/home/{USER}/lib/libtorch.so: cannot open shared object file")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", broken)
    told = "\n".join(describe_installation())
    assert "torch fails with OSError" in told and USER not in told


def test_every_extra_for_users_is_there_with_its_packages_and_lowest_versions():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = dict(config["options.extras_require"])
    assert EXTRAS.keys() == extras.keys() - DEVELOPERS
    for name, extra in EXTRAS.items():
        wanted = [Requirement(line) for line in extras[name].split("\n") if line]
        assert extra.packages.keys() == {requirement.name for requirement in wanted}
        for requirement in wanted:
            (lowest,) = (one.version for one in requirement.specifier if one.operator == ">=")
            assert extra.packages[requirement.name] == tuple(map(int, lowest.split(".")))


def test_a_missing_or_old_package_is_named_with_the_remedy(monkeypatch):
    versions = {"pydicom": "2.4.5", "highdicom": "0.28.2rc1", "dicomweb-client": None}
    monkeypatch.setattr(installation, "version_of", versions.get)
    assert missing_packages("dicom") == ["dicomweb-client 0.61 or newer", "pydicom 3.0 or newer"]
    told = "--dicom needs the extra dicom (dicomweb-client 0.61 or newer, pydicom 3.0 or newer not found); run pip inst"
    with pytest.raises(InputError) as caught:
        require_extra("dicom", "--dicom")
    assert str(caught.value).startswith(told)
    (line,) = (line for line in describe_installation() if line.startswith("extra dicom "))
    assert "no pydicom 3.0 or newer: DICOM SEG" in line and line.endswith('pip install "tofgan-monai[dicom]"')
