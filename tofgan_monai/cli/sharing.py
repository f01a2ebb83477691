"""Defines the commands that bring a stack of pairs to others: export and release. A stack is a .npy file of pairs."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, echo

from tofgan_monai.cli.app import app
from tofgan_monai.cli.volumes import numbers

StackArgument = Annotated[Path, Argument(help="stack of pairs, a .npy file")]
FolderArgument = Annotated[Path, Argument(help="new folder to write")]


@app.command()
def export(
    stack: StackArgument,
    folder: Annotated[Path, Argument(help="new folder to write; for nnunet named like Dataset501_TOFpairs")],
    to: Annotated[
        Literal["nnunet", "nifti", "png", "hdf5"],
        Option("--to", help="nnU-Net's raw data, NIfTI files, PNG files, or one HDF5 file (needs the extra release)"),
    ],
    spacing: Annotated[
        str | None, Option(help="edges of a pixel in mm, as 0.5,0.5; default: those in the manifest, else 1")
    ] = None,
) -> None:
    """Write the pairs of a stack in a form that other programs read."""
    from tofgan_monai.pairs import export as exports

    n = exports.export_stack(stack, folder, to, spacing_mm=numbers("--spacing", spacing, float))
    echo(f"{folder}: {n} pairs for {to}")


@app.command()
def release(
    stack: StackArgument,
    folder: FolderArgument,
    license: Annotated[str, Option(help="SPDX identifier such as CC-BY-4.0, or the address of your terms of use")],
    creator: Annotated[list[str], Option(help='"Family, Given" or an institution, to be cited; repeatable')],
    audit: Annotated[
        Path | None, Option(help="passed audit of these pairs; required if their generator has seen patients")
    ] = None,
    despite: Annotated[
        str | None, Option(help="reason for a release without a passed audit, written into the dataset card")
    ] = None,
    bundle: Annotated[
        str | None, Option(help="name or folder of the generator's bundle; default: all known ones are searched")
    ] = None,
    title: Annotated[str, Option(help="title of the dataset; default: what the pairs are")] = "",
    version: Annotated[str, Option(help="version of the dataset")] = "1.0.0",
    url: Annotated[str | None, Option(help="address of the page on which the dataset will be")] = None,
    published: Annotated[
        datetime | None, Option(formats=["%Y-%m-%d"], help="day of the publication; default: today")
    ] = None,
) -> None:
    """Write synthetic or simulated pairs as a dataset that others can use and cite, if they may leave."""
    from tofgan_monai.exchange.dataset import citation
    from tofgan_monai.exchange.dataset import folder as folders

    day = published.date() if published else date.today()
    stated = citation.Citation(license, tuple(creator), title, version, day, url)
    n = folders.release_stack(stack, folder, stated, audit=audit, despite=despite, bundle=bundle)
    echo(f"{folder}: {n} pairs; read {folder / folders.CARD} before you publish them")
