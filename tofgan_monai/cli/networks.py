"""From stacks to networks, synthetic pairs and segmentations: fronts of MONAI's own command."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from tofgan_monai.cli.app import OVERRIDES, absolute, app, run
from tofgan_monai.errors import InputError

logger = logging.getLogger(__name__)
SEGMENTATION = "tof_mra_vessel_segmentation"


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
    from tofgan_monai.bundle_runs.paths import bundle_path

    if not (dataset_dir or pairs):
        raise InputError("nothing to train on: give --dataset-dir PREPARED or --pairs STACK.npy")
    given = {
        "output_dir": absolute(output_dir),
        "dataset_dir": absolute(dataset_dir),
        "pairs": [absolute(path) for path in pairs] if pairs else None,
        "validation_pairs": [absolute(path) for path in validation_pairs] if validation_pairs else None,
    }
    settings = (bundle_path(bundle) / "configs" / "train.yaml").read_text("utf-8")
    if pairs and not validation_pairs and "validation_pairs" in settings:  # a private GAN chooses by no real pairs
        logger.warning("no --validation-pairs: the best weights are chosen on the training's own pairs")
    overlays = [*(["paper"] if paper else []), *(overlay or [])]
    run(bundle, ["train.yaml", *(f"{name}.yaml" for name in overlays)], given, context)
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
    from tofgan_monai.bundle_runs.paths import bundle_path
    from tofgan_monai.exchange.adoption import adopt

    target, threshold = adopt(run, bundle_path(bundle), validation_pairs=validation_pairs, last=last)
    typer.echo(f"{target}" + ("" if threshold is None else f", label threshold {threshold:.3f}"))


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
    for_release: Annotated[
        Path | None, typer.Option(metavar="AUDIT", help="only if this audit covers these pairs, and has passed")
    ] = None,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="without the near-copies of training pairs that the audit found")
    ] = False,
    despite: Annotated[
        str | None, typer.Option(help="why the pairs may leave though it has not passed; goes into the manifest")
    ] = None,
) -> None:
    """Make a stack of synthetic pairs."""
    given: dict[str, Any] = {"weights": absolute(weights), "validation_pairs": absolute(validation_pairs)}
    if for_release is not None:
        from tofgan_monai.bundle_runs.paths import bundle_path
        from tofgan_monai.bundle_runs.runs import parse_overrides
        from tofgan_monai.exchange.stack import generate_for_release

        settings = {**given, **parse_overrides(context.args)}
        choices: dict[str, Any] = {"audit": for_release, "drop_copies": drop_copies, "despite": despite}
        dropped = generate_for_release(bundle_path(bundle), output, n=n, seed=seed, settings=settings, **choices)
        left_out = f", {dropped} near-copies of training pairs left out" if drop_copies else ""
        typer.echo(f"{output}: {n - dropped} synthetic pairs{left_out}")
        return
    if drop_copies or despite is not None:
        raise InputError("--drop-copies and --despite belong to --for-release AUDIT; give it, or leave them out")
    chosen = ("--label_threshold", "--vessel_share", "--validation_pairs")
    if weights and not validation_pairs and not any(word.startswith(chosen) for word in context.args):
        from tofgan_monai.gan.privacy_budget import told_share

        given["vessel_share"] = told_share(weights.parent)
        if given["vessel_share"] is None:
            logger.warning(
                "the label threshold is the bundle's own weights'; choose another by --validation-pairs STACK"
            )
    run(bundle, ["inference.yaml"], {"n": n, "seed": seed, "output": absolute(output), **given}, context)
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
        "dataset_dir": absolute(dataset_dir),
        "output_dir": absolute(output_dir),
        "weights": absolute(weights),
    }
    run(bundle, ["inference.yaml"], given, context)
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
        "dataset_dir": absolute(dataset_dir),
        "output_dir": absolute(output_dir),
        "weights": absolute(weights),
        "model": model,
        "cohort": cohort,
    }
    overrides = run(bundle, ["inference.yaml", "evaluate.yaml"], given, context)
    results = Path(overrides.get("results", output_dir / "results.jsonl"))
    if baseline:
        from tofgan_monai.segmentation.evaluation import score_threshold

        split = str(overrides.get("split", "test"))
        score_threshold(dataset_dir, output=results, cohort=cohort, split=split)
    typer.echo(f"results in {results}")
