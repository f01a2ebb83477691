"""From volumes to prepared ones and to stacks of real pairs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tofgan_monai.cli.app import app
from tofgan_monai.errors import InputError


class SkullStrip(StrEnum):
    """Where the brain mask comes from."""

    none = "none"
    given = "given"
    computed = "computed"


class Site(StrEnum):
    """Which simulated heads: A and B play the patients, C is the public prior."""

    A = "A"
    B = "B"
    C = "C"


class Seeds(StrEnum):
    """Which reserved range of seeds."""

    weights = "weights"
    demo = "demo"
    study = "study"


@app.command()
def phantom(
    folder: Path,
    site: Site = Site.A,
    n: Annotated[int, typer.Option("--n", "-n", help="how many heads")] = 8,
    small: Annotated[bool, typer.Option(help="crop the field of view round the circle of Willis")] = False,
    seeds: Seeds = Seeds.demo,
    start: Annotated[int, typer.Option(help="of the range's seeds, the first one")] = 0,
    workers: int = 1,
) -> None:
    """Simulate TOF-MRA heads with vessel labels and brain masks."""
    from tofgan_monai.phantom import SEEDS, write_heads

    reserved = SEEDS[seeds.value]
    if not 0 <= start < start + n <= len(reserved):
        raise InputError(f"--start {start} -n {n}: the range {seeds.value} has {len(reserved)} seeds, from 0")
    write_heads(folder, site.value, reserved[start : start + n], small=small, workers=workers)
    typer.echo(f"{n} simulated heads of site {site.value} in {folder}")


@app.command()
def check(
    folder: Path,
    output: Annotated[Path | None, typer.Argument(help="cohort.json or its folder; default: the folder itself")] = None,
    image: Annotated[str | None, typer.Option(help='pattern, as in "{subject}_tof.nii.gz"')] = None,
    label: Annotated[str | None, typer.Option(help="pattern of the vessel labels")] = None,
    mask: Annotated[str | None, typer.Option(help="pattern of the brain masks")] = None,
    label_values: Annotated[list[str] | None, typer.Option(help='as in "255=1"; may be repeated')] = None,
    patient_pattern: Annotated[str | None, typer.Option(help="regular expression whose group 1 is the patient")] = None,
    n_vessel: Annotated[int, typer.Option(help="vessel-centred patches that each patient must have room for")] = 500,
    seed: int = 0,
    fractions: Annotated[str | None, typer.Option(help="training, validation, test, as in 0.6,0.15,0.25")] = None,
    counts: Annotated[str | None, typer.Option(help="patients in training, validation, test, as in 41,11,14")] = None,
    training: Annotated[str | None, typer.Option(help="subjects, comma-separated, or a file of them")] = None,
    validation: str | None = None,
    test: str | None = None,
    no_split: Annotated[bool, typer.Option("--no-split", help="volumes that are only to be segmented")] = False,
) -> None:
    """Find and validate volumes, split them by patient, write cohort.json."""
    from tofgan_monai.volumes.cohort import check_cohort

    report = check_cohort(
        folder,
        output or folder,
        image=image,
        label=label,
        mask=mask,
        label_values=label_values or (),
        patient_pattern=patient_pattern,
        n_vessel=n_vessel,
        seed=seed,
        fractions=_numbers("--fractions", fractions, float),
        counts=_numbers("--counts", counts, int),
        training=training,
        validation=validation,
        test=test,
        no_split=no_split,
    )
    for warning in report.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{report.path}: " + ", ".join(f"{split} {n}" for split, n in report.n_scans.items()))


@app.command()
def prepare(
    cohort: Path,
    output: Path,
    skull_strip: SkullStrip = SkullStrip.given,
    bias_field: Annotated[bool, typer.Option(help="N4 bias field correction")] = False,
    denoise: Annotated[bool, typer.Option(help="Rician non-local means (needs dipy)")] = False,
    workers: int = 1,
    force: Annotated[bool, typer.Option("--force", help="prepare everything anew, masks and all")] = False,
) -> None:
    """Write prepared volumes: brain mask, image and label masked."""
    from tofgan_monai.volumes.preparation import prepare

    prepare(
        cohort,
        output,
        skull_strip=skull_strip.value,
        bias_field=bias_field,
        denoise=denoise,
        workers=workers,
        force=force,
    )
    typer.echo(f"prepared volumes in {output}")


@app.command()
def extract(
    prepared: Path,
    output: Annotated[Path, typer.Argument(help="the stack's .npy")],
    split: str = "training",
    n_vessel: Annotated[int, typer.Option(help="vessel-centred patches per patient")] = 500,
    n_random: Annotated[int, typer.Option(help="random ones in the brain")] = 500,
    seed: int = 0,
    patients: Annotated[int | None, typer.Option(help="only so many patients, drawn by the seed")] = None,
    skip: Annotated[int, typer.Option(help="of the patients in the order drawn, pass over the first so many")] = 0,
) -> None:
    """Sample a stack of 96x96 image-label pairs from prepared volumes."""
    from tofgan_monai.pairs.extraction import extract

    manifest = extract(
        prepared, output, split=split, n_vessel=n_vessel, n_random=n_random, seed=seed, patients=patients, skip=skip
    )
    typer.echo(f"{output}: {manifest['n']} pairs")


def _numbers(option: str, text: str | None, kind: type) -> list[Any] | None:
    if text is None:
        return None
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give numbers with commas between them") from None
