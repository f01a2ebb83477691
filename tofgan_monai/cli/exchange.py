"""Bundles from one clinic to another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import app


class Data(StrEnum):
    """Which kind of data weights have seen."""

    simulated = "simulated"
    synthetic = "synthetic"
    real = "real"


@app.command()
def pack(
    bundle: Annotated[str, typer.Argument(help="a bundle's name or folder")],
    archive: Annotated[Path, typer.Argument(help="the .zip, or a folder for BUNDLE-VERSION.zip")],
    sign: Annotated[
        Path | None, typer.Option(help="a private key of OpenSSH; the signature goes to ARCHIVE.sig")
    ] = None,
    data: Annotated[
        Data | None, typer.Option(help="what the weights have seen, where no record of their training says it")
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(help="of these weights, by `tofgan audit`; weights that saw patients need a passed one"),
    ] = None,
    despite: Annotated[
        str | None, typer.Option(help="why they leave without one; the reason goes into the data card")
    ] = None,
) -> None:
    """Make one archive of a bundle, without anything that must not leave."""
    from tofgan_monai.bundle_runs.paths import bundle_path
    from tofgan_monai.exchange import pack

    kind = data and data.value
    typer.echo(f"{pack(bundle_path(bundle), archive, data=kind, audit=audit, despite=despite, key=sign)}")


@app.command()
def verify(
    archive: Annotated[Path, typer.Argument(help="from elsewhere")],
    signers: Annotated[Path | None, typer.Option(help="OpenSSH's file of allowed signers")] = None,
    signer: Annotated[str | None, typer.Option(help="who of them must have signed")] = None,
) -> None:
    """Check that an archive holds a bundle and nothing else; nothing of it runs."""
    from tofgan_monai.exchange import verify

    typer.echo("\n".join(["passed: nothing in it is beyond the list", *verify(archive, signers, signer).lines]))


@app.command()
def install(
    archive: Annotated[Path, typer.Argument(help="from elsewhere")],
    folder: Annotated[Path | None, typer.Option(help="default: where the other verbs find bundles by name")] = None,
    name: Annotated[str | None, typer.Option(help="the bundle's name here; default: its own")] = None,
    signers: Annotated[Path | None, typer.Option(help="OpenSSH's file of allowed signers")] = None,
    signer: Annotated[str | None, typer.Option(help="who of them must have signed")] = None,
) -> None:
    """Verify an archive, then unpack it among the installed bundles."""
    from tofgan_monai.exchange import install, verify

    typer.echo(f"{install(verify(archive, signers, signer), folder=folder, name=name)}")
