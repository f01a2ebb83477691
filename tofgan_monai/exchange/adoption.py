"""Puts the weights of a training into a bundle."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from tofgan_monai.bundle_runs.runs import inference_config, inference_network
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import seen_by, write_card
from tofgan_monai.files import written_whole
from tofgan_monai.gan.generation import raw_labels
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.privacy_budget import told_share
from tofgan_monai.training.weights import fit_weights, load_weights, save_weights

logger = logging.getLogger(__name__)


def adopt(
    run: str | os.PathLike, bundle: Path, *, validation_pairs: str | os.PathLike | None = None, last: bool = False
) -> tuple[Path, float | None]:
    """Puts a training's weights into a bundle's `models/model.pt`, and a GAN's label threshold into its inference.yaml.

    The data that the weights have seen, as far as the training's records tell, goes into `docs/data_card.json`.
    The weights must fit the network that the bundle's own inference.yaml declares.

    Args:
        run: output folder of the training.
        bundle: the bundle's folder.
        validation_pairs: stack of real pairs of validation patients. The threshold is then chosen so that synthetic
            labels have the same share of vessels. With None the bundle keeps its threshold; after a private training
            the share comes from its `guarantee.json`.
        last: take the weights of the last epoch instead of the best.

    Returns:
        The path of the weights, and the threshold if one was chosen.

    Raises:
        InputError: there is no such training, its weights are another network's, or there is no threshold to choose.
    """
    source = Path(run) / ("checkpoint.pt" if last else "best.pt")
    weights = load_weights(source)
    if last:
        weights = weights["state"].get("average") or weights["state"]["network"]
    config = bundle / "configs" / "inference.yaml"
    parser, network = inference_config(bundle), inference_network(bundle)
    fit_weights(network, weights, source)
    target = bundle / "models" / "model.pt"
    threshold, share = None, told_share(run)
    if validation_pairs is not None and "label_threshold" not in parser:
        raise InputError(f"{config}: has no label_threshold to choose; leave the validation pairs out")
    if validation_pairs is not None and share is not None:
        logger.warning("%s: no epsilon covers a label threshold chosen on validation pairs; leave these out", run)
    if validation_pairs is not None or share is not None:
        threshold = choose_label_threshold(raw_labels(network), validation_pairs, share)
    seen = seen_by(run, bundle)
    save_weights(weights, target)
    write_card(bundle, seen)
    if threshold is not None:
        text = re.sub(r"(?m)^label_threshold: \S+", f"label_threshold: {threshold:.6g}", config.read_text("utf-8"))
        with written_whole(config) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return target, threshold
