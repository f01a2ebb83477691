"""Distances, whole studies and reports."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tofgan_monai.cli.app import OVERRIDES, app
from tofgan_monai.errors import InputError


class Channel(StrEnum):
    """What of the pairs is compared."""

    image = "image"
    label = "label"
    pair = "pair"


@app.command()
def frechet(
    real: Annotated[Path, typer.Argument(help="the reference stack's .npy")],
    stacks: Annotated[list[Path], typer.Argument(help="stacks to compare with it")],
    output: Annotated[Path | None, typer.Option(help="a .jsonl for the distances; it is replaced")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="pairs of each stack; default: the smallest's")] = None,
    seed: int = 0,
    inception_weights: Annotated[Path | None, typer.Option(help="of the original FID; else EfficientNet-Lite0")] = None,
    cache: Annotated[Path | None, typer.Option(help="a folder that keeps the features' statistics")] = None,
    over_patients: Annotated[
        bool, typer.Option("--over-patients", help="a 95% interval over the real stack's patients, by jackknife")
    ] = False,
    channel: Annotated[Channel, typer.Option(help="what is compared; pair: images and labels jointly")] = Channel.image,
) -> None:
    """Frechet distance of stacks to a real one, n pairs against n."""
    from tofgan_monai.metrics.stacks.features import load_extractor
    from tofgan_monai.metrics.stacks.frechet import compare_stacks

    extractor = load_extractor(inception_weights)
    for line in compare_stacks(
        real,
        stacks,
        extractor,
        n=n,
        seed=seed,
        cache=cache,
        output=output,
        over_patients=over_patients,
        channel=channel,
    ):
        interval = " ({low:.5f} to {high:.5f})".format(**line) if over_patients else ""
        typer.echo("{stack}: {measure} {value:.5f}{interval} to {reference}, n {n}".format(interval=interval, **line))


@app.command(context_settings=OVERRIDES)
def study(
    context: typer.Context,
    config: Annotated[str, typer.Option(help="smoke, laptop, paper, or a YAML file of differences to one of them")],
    output: Annotated[
        Path | None, typer.Option(help="the study's folder; default: study_ and the config's name")
    ] = None,
    cores: Annotated[int, typer.Option(help="steps at once")] = os.cpu_count() or 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only list the steps")] = False,
) -> None:
    """Run the paper's experiments, all of them; further options are Snakemake's."""
    from tofgan_monai.study.run import run_study
    from tofgan_monai.study.settings import read_settings

    folder = output or Path(f"study_{Path(config).stem}")
    run_study(read_settings(config), folder, cores=cores, dry_run=dry_run, words=context.args)
    page = folder / "report.html"
    if page.exists() and not dry_run:
        typer.echo(f"{page}")


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="a study's, or one with results.jsonl, pairs/, figures/")
    ],
    output: Annotated[Path | None, typer.Option(help="the page; default, of one folder: report.html in it")] = None,
) -> None:
    """Write report.html: pictures and tables of what a folder holds; of several folders, side by side."""
    from tofgan_monai.report import write_comparison, write_report

    if len(folders) == 1:
        typer.echo(f"{write_report(folders[0], output)}")
    elif output:
        typer.echo(f"{write_comparison(folders, output)}")
    else:
        raise InputError(f"{len(folders)} folders: name the page that compares them: --output FILE.html")
