"""The verbs synthesise, frechet, study and report: whole ways of cohorts, distances between stacks, and pages.

A stack is a .npy file of image-label pairs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Context, Option, echo

from tofgan_monai.cli.app import OVERRIDES, InceptionOption, SeedOption, app
from tofgan_monai.errors import InputError

CoresOption = Annotated[int, Option(min=1, help="CPU cores that the steps may use together")]
ALL_CORES = os.cpu_count() or 1


@app.command()
def synthesise(
    patients: Annotated[Path, Argument(help="folder of labelled volumes as for `tofgan check`, or a cohort.json")],
    output: Annotated[Path, Argument(help="folder of this run; the same command continues a stopped run")],
    preset: Annotated[str, Option(help="quick, laptop, paper, or a YAML file that changes one of these")] = "quick",
    cores: CoresOption = ALL_CORES,
) -> None:
    """Make synthetic pairs of a cohort, train and score a segmentation on them, and write the report."""
    from tofgan_monai.study.synthesis import run

    for line in run.synthesise(patients, output, preset, cores=cores):
        echo(line)


@app.command()
def frechet(
    real: Annotated[Path, Argument(help="reference stack, a .npy file")],
    stacks: Annotated[list[Path], Argument(help="stacks to compare with the reference")],
    output: Annotated[Path | None, Option(help=".jsonl file for the distances, replaced if it exists")] = None,
    n: Annotated[int | None, Option("--n", "-n", help="pairs of each stack; default: all of the smallest")] = None,
    seed: SeedOption = 0,
    inception_weights: InceptionOption = None,
    network: Annotated[
        Literal["EfficientNet-Lite0", "EfficientNet-Lite2"] | None,
        Option(help="network that computes the features, without --inception-weights; default: EfficientNet-Lite0"),
    ] = None,
    cache: Annotated[Path | None, Option(help="folder where feature statistics are kept for reuse")] = None,
    over_patients: Annotated[
        bool, Option("--over-patients", help="add a 95% jackknife interval over the patients of REAL")
    ] = False,
    channel: Annotated[
        Literal["image", "label", "pair"], Option(help="part of the pairs to compare; pair: image and label together")
    ] = "image",
) -> None:
    """Measure the Frechet distance of stacks to a reference stack, with equal numbers of pairs."""
    from tofgan_monai.metrics.stacks import features, frechet

    if network and inception_weights:
        raise InputError(f"--network {network} and --inception-weights name two networks; leave one of them out")
    lines = frechet.compare_stacks(
        real,
        stacks,
        features.load_extractor(inception_weights, network or features.EFFICIENTNETS[0]),
        n=n,
        seed=seed,
        cache=cache,
        output=output,
        over_patients=over_patients,
        channel=channel,
    )
    for line in lines:
        interval = " ({low:.5f} to {high:.5f})".format(**line) if over_patients else ""
        echo("{stack}: {measure} {value:.5f}{interval} to {reference}, n {n}".format(interval=interval, **line))


@app.command(context_settings=OVERRIDES)
def study(
    context: Context,
    config: Annotated[str, Option(help="smoke, laptop, paper, or a YAML file that changes one of these")],
    output: Annotated[Path | None, Option(help="folder of the study; default: study_CONFIG")] = None,
    cores: CoresOption = ALL_CORES,
    dry_run: Annotated[bool, Option("--dry-run", help="list the steps and run none")] = False,
) -> None:
    """Run all of the paper's experiments; further options are passed to Snakemake."""
    from tofgan_monai.study import run, settings

    folder = output or Path(f"study_{Path(config).stem}")
    run.run_study(settings.read_settings(config), folder, cores=cores, dry_run=dry_run, words=context.args)
    page = folder / "report.html"
    if page.exists() and not dry_run:
        echo(f"{page}")


@app.command()
def report(
    folders: Annotated[
        list[Path], Argument(metavar="FOLDER...", help="folder of a study, or one with results.jsonl, pairs/, figures/")
    ],
    output: Annotated[Path | None, Option(help="HTML page; default for one folder: FOLDER/report.html")] = None,
) -> None:
    """Write an HTML page of pictures and tables from one folder, or a page that compares several folders."""
    from tofgan_monai.report import comparison, page

    if len(folders) == 1:
        echo(f"{page.write_report(folders[0], output)}")
    elif output:
        echo(f"{comparison.write_comparison(folders, output)}")
    else:
        raise InputError(
            f"the comparison of {len(folders)} folders needs a file to write; name the page with --output FILE.html"
        )
