"""Defines the commands that bring bundles from one clinic to another: pack, verify and install."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, echo

from tofgan_monai.cli.app import BundleArgument, app

ArchiveArgument = Annotated[Path, Argument(help="archive from another clinic, a .zip file")]
SignersOption = Annotated[Path | None, Option(help="OpenSSH file of allowed signers")]
SignerOption = Annotated[str | None, Option(help="name of the required signer in that file")]


@app.command()
def pack(
    bundle: BundleArgument,
    archive: Annotated[Path, Argument(help="the .zip to write, or a folder for BUNDLE-VERSION.zip")],
    sign: Annotated[Path | None, Option(help="private OpenSSH key; the signature is ARCHIVE.sig")] = None,
    data: Annotated[
        Literal["simulated", "synthetic", "real"] | None,
        Option(help="kind of the training data, if no record of the training states it"),
    ] = None,
    audit: Annotated[
        Path | None, Option(help="passed audit of these weights; required if the weights were trained on patients")
    ] = None,
    despite: Annotated[
        str | None, Option(help="reason for a release without a passed audit, written into the data card")
    ] = None,
) -> None:
    """Pack a bundle into one archive, without anything that must not leave the clinic."""
    from tofgan_monai.bundle_runs import paths
    from tofgan_monai.exchange import packing

    packed = packing.pack(paths.bundle_path(bundle), archive, data=data, audit=audit, despite=despite, key=sign)
    echo(f"{packed}")


@app.command()
def verify(archive: ArchiveArgument, signers: SignersOption = None, signer: SignerOption = None) -> None:
    """Check that an archive holds a bundle and nothing else, without running anything in it."""
    from tofgan_monai.exchange import verifying

    verified = verifying.verify(archive, signers, signer)
    echo("\n".join(["passed: the archive holds nothing beyond the list of what is allowed", *verified.lines]))


@app.command()
def install(
    archive: ArchiveArgument,
    folder: Annotated[Path | None, Option(help="default: where the other verbs find bundles by name")] = None,
    name: Annotated[str | None, Option(help="name of the bundle here; default: its own")] = None,
    signers: SignersOption = None,
    signer: SignerOption = None,
) -> None:
    """Verify an archive and unpack it into the folder of installed bundles."""
    from tofgan_monai.exchange import installing, verifying

    verified = verifying.verify(archive, signers, signer)
    echo(f"{installing.install(verified, folder=folder, name=name)}")
