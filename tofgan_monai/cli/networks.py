"""The verbs that train and run networks: train, adopt, generate, segment, evaluate.

All of them except `adopt` run configurations of a bundle, as MONAI's command `python -m monai.bundle run` does. A stack
is a .npy file of image-label pairs.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Context, Option, echo

from tofgan_monai.cli import archive as archives
from tofgan_monai.cli.app import (
    OVERRIDES,
    BundleArgument,
    DeviceOption,
    ForceOption,
    PrecisionOption,
    SeedOption,
    WeightsOption,
    absolute,
    app,
    possible_precision,
    quiet_monai,
    require_new_stack,
    require_settings,
    run_bundle,
    usable_device,
)
from tofgan_monai.errors import ChangedTrainingError, InputError

logger = logging.getLogger(__name__)
SEGMENTATION = "tof_mra_vessel_segmentation_3d"

SegmentationOption = Annotated[str, Option(help="name or folder of a segmentation bundle")]
RestartOption = Annotated[bool, Option("--restart", help="do not continue a stopped run, but start again")]
ThresholdPairsOption = Annotated[Path | None, Option(help="stack of real pairs that sets a GAN's label threshold")]


@app.command(context_settings=OVERRIDES)
def train(
    context: Context,
    bundle: BundleArgument,
    output_dir: Annotated[Path, Option(help="folder for the training; run the same command again to continue it")],
    dataset_dir: Annotated[Path | None, Option(help="folder of a cohort to train on")] = None,
    pairs: Annotated[list[Path] | None, Option(help="stack to train on; repeat to pool several")] = None,
    validation_pairs: Annotated[
        list[Path] | None, Option(help="stack of other patients, on which the best weights are chosen")
    ] = None,
    pretrained: Annotated[
        str | None,
        Option(help="weights to start from; 'shipped': the bundle's own, with its overlay fine_tune if it has one"),
    ] = None,
    paper: Annotated[bool, Option("--paper", help="train at the scale of the paper, on a GPU")] = False,
    overlay: Annotated[list[str] | None, Option(help="name of a further file in configs/, as classical")] = None,
    restart_if_changed: Annotated[
        bool,
        Option(
            "--restart-if-changed",
            help="if the output folder holds a training with other settings or data: delete it and start again",
        ),
    ] = False,
) -> None:
    """Train the network of a bundle; further options --ID VALUE override its train.yaml."""
    from tofgan_monai.bundle_runs import paths

    folder = paths.bundle_path(bundle)
    settings = (folder / "configs" / "train.yaml").read_text("utf-8")
    is_shipped = pretrained == "shipped"
    start = folder / "models" / "model.pt" if is_shipped else Path(pretrained) if pretrained else None
    if not (dataset_dir or pairs or "\nsimulated:" in settings):
        raise InputError("the training has no data; give --dataset-dir PREPARED or --pairs STACK.npy")
    given = {
        "output_dir": absolute(output_dir),
        "dataset_dir": absolute(dataset_dir),
        "pairs": [absolute(path) for path in pairs] if pairs else None,
        "validation_pairs": [absolute(path) for path in validation_pairs] if validation_pairs else None,
        "pretrained": absolute(start),
    }
    if pairs and not validation_pairs and "validation_pairs" in settings:  # a private GAN uses no real pairs for this
        logger.warning(
            "the best weights are chosen on the training pairs; give --validation-pairs STACK to choose them on others"
        )
    fine_tunes = is_shipped and (folder / "configs" / "fine_tune.yaml").exists()
    overlays = [*(["fine_tune"] if fine_tunes else []), *(["paper"] if paper else []), *(overlay or [])]
    configs = ["train.yaml", *(f"{name}.yaml" for name in overlays)]
    try:
        run_bundle(bundle, configs, given, context)
    except ChangedTrainingError as error:
        if not restart_if_changed:
            raise
        logger.warning("%s: the old training is deleted and the training starts again (%s)", output_dir, error)
        shutil.rmtree(output_dir)
        run_bundle(bundle, configs, given, context)
    echo(f"trained: {output_dir}")


@app.command()
def adopt(
    run: Annotated[Path, Argument(help="output folder of a training")],
    bundle: Annotated[str, Argument(help="name or folder of the bundle that receives the weights")],
    validation_pairs: ThresholdPairsOption = None,
    last: Annotated[bool, Option("--last", help="copy the weights of the last epoch, not the best ones")] = False,
) -> None:
    """Copy the weights of a training into a bundle, so that the bundle's other verbs use them."""
    from tofgan_monai.bundle_runs import paths
    from tofgan_monai.exchange import adoption

    target, threshold = adoption.adopt(run, paths.bundle_path(bundle), validation_pairs=validation_pairs, last=last)
    echo(f"{target}" + ("" if threshold is None else f", label threshold {threshold:.3f}"))


@app.command(context_settings=OVERRIDES)
def generate(
    context: Context,
    bundle: Annotated[str, Argument(help="name or folder of a GAN bundle")],
    output: Annotated[Path, Argument(help="stack to write, a .npy file")],
    n: Annotated[int, Option("--n", "-n", help="number of pairs")] = 1000,
    seed: SeedOption = 0,
    weights: WeightsOption = None,
    validation_pairs: ThresholdPairsOption = None,
    for_release: Annotated[
        Path | None, Option(metavar="AUDIT", help="write the pairs only if this audit covers them and has passed")
    ] = None,
    drop_copies: Annotated[bool, Option("--drop-copies", help="leave out near-copies of training pairs")] = False,
    despite: Annotated[
        str | None, Option(help="reason for a release without a passed audit, written into the manifest")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Generate a stack of synthetic pairs; further options --ID VALUE override the bundle's inference.yaml."""
    require_settings(bundle, ("n", "seed", "output"))
    require_new_stack(output, force=force)
    given: dict[str, Any] = {"weights": absolute(weights), "validation_pairs": absolute(validation_pairs)}
    if for_release is not None:
        from tofgan_monai.bundle_runs import paths, runs
        from tofgan_monai.exchange import stack

        settings = {**given, **runs.parse_overrides(context.args)}
        choices: dict[str, Any] = {"audit": for_release, "drop_copies": drop_copies, "despite": despite}
        folder = paths.bundle_path(bundle)
        with quiet_monai(folder):
            dropped = stack.generate_for_release(folder, output, n=n, seed=seed, settings=settings, **choices)
        left_out = f", {dropped} near-copies of training pairs left out" if drop_copies else ""
        echo(f"{output}: {n - dropped} synthetic pairs{left_out}")
        return
    if drop_copies or despite is not None:
        raise InputError(
            "--drop-copies and --despite need --for-release AUDIT; add --for-release AUDIT, or leave these options out"
        )
    choosing = ("--label_threshold", "--vessel_share", "--validation_pairs")
    if weights and not validation_pairs and not any(word.startswith(choosing) for word in context.args):
        from tofgan_monai.gan import privacy_budget

        given["vessel_share"] = privacy_budget.told_share(weights.parent)
        if given["vessel_share"] is None:
            logger.warning(
                "the label threshold was chosen for the bundle's own weights, not for --weights; "
                "give --validation-pairs STACK to choose a threshold for --weights"
            )
    run_bundle(bundle, ["inference.yaml"], {"n": n, "seed": seed, "output": absolute(output), **given}, context)
    echo(f"{output}: {n} synthetic pairs")


@app.command(context_settings=OVERRIDES)
def segment(
    context: Context,
    scans: archives.ScansArgument,
    output_dir: archives.OutputArgument = None,
    bundle: SegmentationOption = SEGMENTATION,
    weights: WeightsOption = None,
    image: Annotated[str | None, Option(help='image pattern below INPUT, such as "{subject}_tof.nii.gz"')] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    label_only: Annotated[bool, Option("--label-only", help="write no picture and no measures")] = False,
    page: Annotated[
        bool, Option("--page", help="write a page for each scan; vessels turn with the extra page")
    ] = False,
    restart: RestartOption = False,
    dicom_seg: archives.DicomSegOption = None,
    study: archives.StudyOption = None,
    series: archives.SeriesOption = None,
    store: archives.StoreOption = False,
) -> None:
    """Segment the vessels of scans and measure them; further options --ID VALUE override the bundle's inference.yaml.

    Each scan is checked first, as `tofgan check` does. A scan with a problem is named and left out, and the exit status
    is then 1.
    """
    from tofgan_monai.bundle_runs import paths, runs
    from tofgan_monai.segmentation import dicom_output
    from tofgan_monai.segmentation.companions import WRITERS
    from tofgan_monai.volumes import bids, dicomweb, inputs, segmented

    require_settings(bundle, ("dataset_dir", "output_dir", "preprocessing"))
    output_dir = output_dir or bids.default_output(scans)
    given: dict[str, Any] = {"output_dir": absolute(output_dir), "weights": absolute(weights)}
    given |= {"precision": possible_precision(precision), "device": usable_device(device), "restart": restart or None}
    folder, overrides = paths.bundle_path(bundle), runs.parse_overrides(context.args)
    if problems := runs.mistyped(overrides, folder, ["inference.yaml"]):
        raise InputError(problems)  # before the scans are read
    if page and label_only:
        raise InputError("--page shows the measures that --label-only leaves out; leave one of the two options out")
    if not label_only:
        if "companions" in runs.inference_config(folder):
            given["companions"] = list(WRITERS)
        else:
            told = f"{folder.name} writes labels alone, without pictures and measures; ask for a newer bundle"
            if page:
                raise InputError(f"{told}, or leave --page out")
            logger.warning(told)
    fetch: dict[str, Any] = {"study": study, "series": series, "store": store, "dicom_seg": dicom_seg}
    with archives.scans_of(scans, output_dir, **fetch) as (path, archive):
        chosen = inputs.choose_scans(path, image=image, split=str(overrides.get("split", "all")))
        for warning in chosen.warnings:
            echo(f"warning: {warning}", err=True)
        for problem in chosen.problems:
            echo(f"refused: {problem}", err=True)
        splits, tree = bids.as_derivative(path, chosen.splits)
        items = [item for members in splits.values() for item in members]
        writes_segs = dicom_output.wants_seg(dicom_seg, [item["image"] for item in items])
        if archive and not restart:
            segmented.require_new(output_dir, splits)
        record = path.parent if archive else output_dir  # a list of fetched scans is deleted with them
        settings = runs.inference_setting(folder, "progress#settings", {**given, **overrides})
        left = splits if restart else segmented.unsegmented(record, splits, settings)
        n_left = sum(map(len, left.values()))
        if n_left < len(items):
            done = f"{len(items) - n_left} of {len(items)} scans are already segmented with these settings and weights"
            echo(f"{output_dir}: {done}; --restart segments them again")
        if n_left:
            listed = segmented.write_scans(record, left)
            run_bundle(bundle, ["inference.yaml"], {"dataset_dir": absolute(listed), **given}, context)
            segmented.write_scans(record, left, made_with=settings)
        if tree:
            bids.describe_derivative(output_dir, tree, items, dicom_output.seg_algorithm(folder, weights))
        if writes_segs:
            segs = dicom_output.write_segs(items, output_dir, dicom_output.seg_algorithm(folder, weights))
            if store and archive:
                for seg in segs:
                    dicomweb.store(archive, seg)
        if page:
            from tofgan_monai.report.scan_page import write_scan_pages

            write_scan_pages(items, output_dir)
    n_scans = len(items) + chosen.n_refused
    echo(f"{output_dir}: {len(items)} of {n_scans} scans segmented")
    if chosen.n_refused:
        raise InputError(f"{chosen.n_refused} of {n_scans} scans were refused for the reasons above; correct them")


@app.command(context_settings=OVERRIDES)
def evaluate(
    context: Context,
    dataset_dir: Annotated[Path, Argument(help="folder of prepared volumes with labels")],
    output_dir: Annotated[Path, Argument(help="folder for results.jsonl, a CSV table and error maps")],
    bundle: SegmentationOption = SEGMENTATION,
    weights: WeightsOption = None,
    model: Annotated[str | None, Option(help="name of the model, shown in the tables; default: the bundle's")] = None,
    cohort: Annotated[str, Option(help="name of the cohort, shown in the tables")] = "",
    baseline: Annotated[bool, Option(help="also score the best single threshold")] = False,
    precision: PrecisionOption = None,
    restart: RestartOption = False,
) -> None:
    """Score segmentations of whole volumes: DSC and 95HD in mm for each patient."""
    from tofgan_monai.bundle_runs import runs

    require_settings(bundle, ("dataset_dir", "output_dir", "preprocessing"))
    given = {
        "dataset_dir": absolute(dataset_dir),
        "output_dir": absolute(output_dir),
        "weights": absolute(weights),
        "model": runs.as_text(model) if model else None,
        "cohort": runs.as_text(cohort),
        "precision": possible_precision(precision),
        "restart": restart or None,
    }
    overrides = run_bundle(bundle, ["inference.yaml", "evaluate.yaml"], given, context)
    results = Path(overrides.get("results", output_dir / "results.jsonl"))
    if baseline:
        from tofgan_monai.segmentation import evaluation

        with quiet_monai(None):
            split = str(overrides.get("split", "test"))
            evaluation.score_threshold(dataset_dir, output=results, cohort=cohort, split=split)
    echo(f"results in {results}")
