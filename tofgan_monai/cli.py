"""The command line: one verb for each arrow from a volume to a report."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from tofgan_monai.engine import TrainingDivergedError
from tofgan_monai.errors import InputError

logger = logging.getLogger(__name__)
SEGMENTATION = "tof_mra_vessel_segmentation"
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def quieten() -> None:
    """Synthetic image-label pairs of brain angiographies: from TOF-MRA volumes to a vessel segmentation."""
    logging.getLogger("monai.data").setLevel(logging.ERROR)  # it misses a GPU's DICOM decoder each time
    warnings.filterwarnings("ignore", "NvImgCodecPydicomReader")


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


class Data(StrEnum):
    """Which kind of data weights have seen."""

    simulated = "simulated"
    synthetic = "synthetic"
    real = "real"


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
    from tofgan_monai.phantom import SEEDS, write_cohort

    reserved = SEEDS[seeds.value]
    if not 0 <= start < start + n <= len(reserved):
        raise InputError(f"--start {start} -n {n}: the range {seeds.value} has {len(reserved)} seeds, from 0")
    write_cohort(folder, site.value, reserved[start : start + n], small=small, workers=workers)
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
    from tofgan_monai.cohort import check_cohort

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
    from tofgan_monai.preparation import prepare

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
    from tofgan_monai.preparation import extract

    manifest = extract(
        prepared, output, split=split, n_vessel=n_vessel, n_random=n_random, seed=seed, patients=patients, skip=skip
    )
    typer.echo(f"{output}: {manifest['n']} pairs")


@app.command(context_settings=OVERRIDES)
def train(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="a bundle's name or folder")],
    output_dir: Annotated[Path, typer.Option(help="checkpoints, losses and pictures; go on with the same command")],
    dataset_dir: Annotated[Path | None, typer.Option(help="prepared volumes to sample")] = None,
    pairs: Annotated[list[Path] | None, typer.Option(help="a stack; several are pooled")] = None,
    validation_pairs: Annotated[list[Path] | None, typer.Option(help="stacks of other patients")] = None,
    paper: Annotated[bool, typer.Option("--paper", help="the paper's scale, for a GPU")] = False,
    overlay: Annotated[
        list[str] | None, typer.Option(help="a further file of the bundle's configs, as classical")
    ] = None,
) -> None:
    """Train a bundle's network; further --ID VALUE override its train.yaml."""
    if not (dataset_dir or pairs):
        raise InputError("nothing to train on: give --dataset-dir PREPARED or --pairs STACK.npy")
    given = {
        "output_dir": _absolute(output_dir),
        "dataset_dir": _absolute(dataset_dir),
        "pairs": [_absolute(path) for path in pairs] if pairs else None,
        "validation_pairs": [_absolute(path) for path in validation_pairs] if validation_pairs else None,
    }
    if pairs and not validation_pairs:
        logger.warning("no --validation-pairs: the best weights are chosen on the training's own pairs")
    overlays = [*(["paper"] if paper else []), *(overlay or [])]
    _run(bundle, ["train.yaml", *(f"{name}.yaml" for name in overlays)], given, context)
    typer.echo(f"trained: {output_dir}")


@app.command()
def adopt(
    run: Annotated[Path, typer.Argument(help="output folder of a training")],
    bundle: Annotated[str, typer.Argument(help="the bundle that takes its weights")],
    validation_pairs: Annotated[
        Path | None, typer.Option(help="real pairs on which a GAN's label threshold is chosen")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="the last epoch's weights instead of the best's")] = False,
) -> None:
    """Put trained weights into a bundle."""
    from tofgan_monai.bundle_paths import bundle_path
    from tofgan_monai.generation import adopt

    target, threshold = adopt(run, bundle_path(bundle), validation_pairs=validation_pairs, last=last)
    typer.echo(f"{target}" + ("" if threshold is None else f", label threshold {threshold:.3f}"))


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
) -> None:
    """Make one archive of a bundle, without anything that must not leave."""
    from tofgan_monai.bundle_paths import bundle_path
    from tofgan_monai.exchange import pack

    typer.echo(f"{pack(bundle_path(bundle), archive, data=data and data.value, key=sign)}")


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


@app.command(context_settings=OVERRIDES)
def generate(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="a GAN bundle's name or folder")],
    output: Annotated[Path, typer.Argument(help="the stack's .npy")],
    n: Annotated[int, typer.Option("--n", "-n", help="how many pairs")] = 1000,
    seed: int = 0,
    weights: Annotated[Path | None, typer.Option(help="instead of the bundle's own")] = None,
    validation_pairs: Annotated[
        Path | None, typer.Option(help="real pairs on which the label threshold is chosen; with other weights")
    ] = None,
) -> None:
    """Make a stack of synthetic pairs."""
    given = {"n": n, "seed": seed, "output": _absolute(output), "weights": _absolute(weights)}
    if weights and not validation_pairs and not any(word.startswith("--label_threshold") for word in context.args):
        logger.warning("the label threshold is the bundle's own weights'; choose another by --validation-pairs STACK")
    _run(bundle, ["inference.yaml"], {**given, "validation_pairs": _absolute(validation_pairs)}, context)
    typer.echo(f"{output}: {n} synthetic pairs")


@app.command(context_settings=OVERRIDES)
def segment(
    context: typer.Context,
    dataset_dir: Annotated[Path, typer.Argument(help="folder with a cohort.json")],
    output_dir: Path,
    bundle: str = SEGMENTATION,
    weights: Annotated[Path | None, typer.Option(help="instead of the bundle's own")] = None,
) -> None:
    """Segment the vessels of whole volumes into NIfTI."""
    given = {
        "dataset_dir": _absolute(dataset_dir),
        "output_dir": _absolute(output_dir),
        "weights": _absolute(weights),
    }
    _run(bundle, ["inference.yaml"], given, context)
    typer.echo(f"segmentations in {output_dir}")


@app.command(context_settings=OVERRIDES)
def evaluate(
    context: typer.Context,
    dataset_dir: Annotated[Path, typer.Argument(help="prepared volumes with labels")],
    output_dir: Annotated[Path, typer.Argument(help="results.jsonl, CSV and error maps")],
    bundle: str = SEGMENTATION,
    weights: Annotated[Path | None, typer.Option(help="instead of the bundle's own")] = None,
    model: Annotated[str, typer.Option(help="its name in the tables")] = "U-Net",
    cohort: Annotated[str, typer.Option(help="whose patients these are")] = "",
    baseline: Annotated[bool, typer.Option(help="score the best single threshold too")] = False,
) -> None:
    """Score segmentations of whole volumes: DSC and 95HD in mm per patient."""
    given = {
        "dataset_dir": _absolute(dataset_dir),
        "output_dir": _absolute(output_dir),
        "weights": _absolute(weights),
        "model": model,
        "cohort": cohort,
    }
    overrides = _run(bundle, ["inference.yaml", "evaluate.yaml"], given, context)
    results = Path(overrides.get("results", output_dir / "results.jsonl"))
    if baseline:
        from tofgan_monai.evaluation import score_threshold

        split = str(overrides.get("split", "test"))
        score_threshold(dataset_dir, output=results, cohort=cohort, split=split)
    typer.echo(f"results in {results}")


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
) -> None:
    """Frechet distance of stacks to a real one, n images against n."""
    from tofgan_monai.metrics.features import load_extractor
    from tofgan_monai.metrics.frechet import compare_stacks

    extractor = load_extractor(inception_weights)
    for line in compare_stacks(
        real, stacks, extractor, n=n, seed=seed, cache=cache, output=output, over_patients=over_patients
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


def _run(bundle: str, configs: list[str], given: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    from tofgan_monai.bundle_paths import bundle_path
    from tofgan_monai.bundle_runs import parse_overrides, run_bundle

    overrides = {**given, **parse_overrides(context.args)}
    run_bundle(bundle_path(bundle), configs, overrides)
    return overrides


def _run_verb(words: list[str]) -> None:
    try:
        app(words)
    except SystemExit as end:  # a verb's end, too
        if end.code:
            raise


def _absolute(path: Path | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _numbers(option: str, text: str | None, kind: type) -> list[Any] | None:
    if text is None:
        return None
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: give numbers with commas between them") from None


def main() -> None:
    """Runs the command line: an error that a person can mend is a line on stderr and exit code 1.

    Verbs with a `+` between them run one after the other in the same process; the first that fails ends them.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for is_plus, words in groupby(sys.argv[1:], "+".__eq__):
            if not is_plus:
                _run_verb(list(words))
        if len(sys.argv) == 1:
            app()
    except (InputError, TrainingDivergedError) as error:
        problems = getattr(error, "problems", [str(error)])
        typer.echo("\n".join(f"error: {problem}" for problem in problems), err=True)
        sys.exit(1)
