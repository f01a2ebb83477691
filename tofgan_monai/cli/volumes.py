"""The verbs phantom, check, prepare and extract: they make stacks of real pairs from volumes.

A stack is a .npy file of image-label pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option, echo

from tofgan_monai.cli.app import ForceOption, SeedOption, WorkersOption, app, require_new_stack
from tofgan_monai.errors import InputError


@app.command()
def phantom(
    folder: Annotated[Path, Argument(help="folder for the simulated heads; existing heads are kept")],
    site: Annotated[
        Literal["A", "B", "C"], Option(help="A and B stand for two hospitals, C is the public simulation")
    ] = "A",
    n: Annotated[int, Option("--n", "-n", help="number of heads")] = 8,
    small: Annotated[bool, Option(help="crop each head to the part around the circle of Willis")] = False,
    seeds: Annotated[Literal["weights", "demo", "study"], Option(help="range of seeds; no two share a head")] = "demo",
    start: Annotated[int, Option(help="position of the first seed within the range")] = 0,
    dicom: Annotated[bool, Option("--dicom", help="write images as DICOM series (needs the extra dicom)")] = False,
    workers: WorkersOption = 1,
) -> None:
    """Simulate TOF-MRA heads with vessel labels and brain masks."""
    from tofgan_monai import phantom as simulation

    reserved = simulation.SEEDS[seeds]
    if not 0 <= start < start + n <= len(reserved):
        raise InputError(
            f"--start {start} -n {n}: the range --seeds {seeds} has the positions 0 to {len(reserved) - 1}; choose "
            "--start and -n (1 or more) within it"
        )
    kept = simulation.write_heads(folder, site, reserved[start : start + n], small=small, workers=workers, dicom=dicom)
    told = f" ({kept} of them were there before and are as they were)" if kept else ""
    echo(f"{n} simulated heads of site {site} in {folder}{told}")


@app.command()
def check(
    folder: Annotated[Path, Argument(help="folder of the volumes, as NIfTI files or DICOM series")],
    output: Annotated[Path | None, Argument(help="cohort.json to write; default: in FOLDER")] = None,
    image: Annotated[str | None, Option(help='image pattern, such as "{subject}_tof.nii.gz"')] = None,
    label: Annotated[str | None, Option(help="pattern of the vessel labels")] = None,
    mask: Annotated[str | None, Option(help="pattern of the brain masks")] = None,
    label_values: Annotated[
        list[str] | None, Option(help='meaning of label values, such as "255=1" or "1-12,15=1"; repeatable')
    ] = None,
    patient_pattern: Annotated[str | None, Option(help="regular expression; group 1 is the patient")] = None,
    n_vessel: Annotated[int, Option(help="vessel-centred patches that each patient has to provide")] = 500,
    seed: SeedOption = 0,
    fractions: Annotated[str | None, Option(help="fraction of patients in each split, as 0.6,0.15,0.25")] = None,
    counts: Annotated[str | None, Option(help="number of patients in each split, as 41,11,14")] = None,
    training: Annotated[str | None, Option(help="training subjects: names with commas, or a file of names")] = None,
    validation: Annotated[str | None, Option(help="validation subjects: names or a file, as for training")] = None,
    test: Annotated[str | None, Option(help="test subjects: names or a file, as for training")] = None,
    no_split: Annotated[bool, Option("--no-split", help="make no splits; the cohort is only segmented")] = False,
) -> None:
    """Find and validate volumes, split them by patient and write cohort.json."""
    from tofgan_monai.volumes import cohort

    report = cohort.check_cohort(
        folder,
        output or folder,
        image=image,
        label=label,
        mask=mask,
        label_values=label_values or (),
        patient_pattern=patient_pattern,
        n_vessel=n_vessel,
        seed=seed,
        fractions=numbers("--fractions", fractions, float),
        counts=numbers("--counts", counts, int),
        training=training,
        validation=validation,
        test=test,
        no_split=no_split,
    )
    for warning in report.warnings:
        echo(f"warning: {warning}", err=True)
    echo(report.used)
    patients = ", ".join(f"{split} {n}" for split, n in report.n_patients.items())
    echo(f"patients: {patients}")
    echo(f"{report.path}: " + ", ".join(f"{split} {n}" for split, n in report.n_scans.items()))


@app.command()
def prepare(
    cohort: Annotated[Path, Argument(help="cohort.json of `tofgan check`, or its folder")],
    output: Annotated[Path, Argument(help="folder for the prepared volumes and their cohort.json")],
    skull_strip: Annotated[
        Literal["none", "given", "computed"], Option(help="source of the brain mask; given: the masks of the cohort")
    ] = "given",
    bias_field: Annotated[bool, Option(help="correct the bias field with N4")] = False,
    denoise: Annotated[bool, Option(help="Rician non-local means (needs the extra denoise)")] = False,
    workers: WorkersOption = 1,
    force: Annotated[bool, Option("--force", help="prepare existing volumes again")] = False,
) -> None:
    """Write prepared volumes; images and labels are masked by the brain, except with --skull-strip none."""
    from tofgan_monai.volumes import preparation

    options: dict[str, Any] = {"bias_field": bias_field, "denoise": denoise, "workers": workers, "force": force}
    preparation.prepare(cohort, output, skull_strip=skull_strip, **options)
    echo(f"prepared volumes in {output}")


@app.command()
def extract(
    prepared: Annotated[Path, Argument(help="folder of prepared volumes")],
    output: Annotated[Path, Argument(help="stack to write, a .npy file")],
    split: Annotated[str, Option(help="training, validation or test")] = ("training"),
    n_vessel: Annotated[int, Option(help="vessel-centred patches from each scan")] = 500,
    n_random: Annotated[int, Option(help="patches at random places of the brain from each scan")] = 500,
    seed: SeedOption = 0,
    patients: Annotated[int | None, Option(help="number of patients, drawn at random")] = None,
    skip: Annotated[int, Option(help="number of drawn patients to leave out first")] = 0,
    force: ForceOption = False,
) -> None:
    """Sample a stack of real image-label pairs of 96x96 pixels from prepared volumes."""
    require_new_stack(output, force=force)
    from tofgan_monai.pairs import extraction

    manifest = extraction.extract(
        prepared, output, split=split, n_vessel=n_vessel, n_random=n_random, seed=seed, patients=patients, skip=skip
    )
    echo(f"{output}: {manifest['n']} pairs")


def numbers(option: str, text: str | None, kind: type) -> list[Any] | None:
    """Converts the text of an option, such as 41,11,14, to a list of numbers; returns None for None.

    Args:
        option: name of the option, for the error message.
        text: the text that the user gave.
        kind: int or float.

    Raises:
        InputError: a part of the text is not a number of this kind.
    """
    if text is None:
        return None
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise InputError(
            f"{option} {text}: not a list of numbers; give numbers with commas between them, as --help shows"
        ) from None
