"""Copies the weights that a training run has produced into a bundle."""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from tofgan_monai.bundle_runs.runs import inference_config, inference_network
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import in_words, seen_by, write_card
from tofgan_monai.exchange.layout import METADATA, README
from tofgan_monai.files import write_json, write_whole
from tofgan_monai.gan.generation import raw_labels
from tofgan_monai.gan.label_threshold import choose_label_threshold
from tofgan_monai.gan.privacy_budget import told_share
from tofgan_monai.training.weights import fit_weights, load_weights, save_weights

logger = logging.getLogger(__name__)
_NOTE = "> The weights of this bundle are not the shipped ones that this page describes."
_SOURCE = "The weights were adopted from a training; they have seen {}."


def adopt(
    run: str | os.PathLike, bundle: Path, *, validation_pairs: str | os.PathLike | None = None, last: bool = False
) -> tuple[Path, float | None]:
    """Copies the weights of a training run into a bundle's `models/model.pt`, and writes the bundle's data card.

    The data card `docs/data_card.json` lists the data that the weights were trained on, as the records of the training
    run state it. So do `data_source` in its metadata and a note in its README.md, whose other sentences are about the
    weights with which the bundle came. For a GAN the label threshold in the bundle's inference.yaml is chosen anew if
    there is something to choose it by (see `validation_pairs`). The weights must fit the network that this
    inference.yaml declares.

    Args:
        run: output folder of the training run.
        bundle: the bundle's folder.
        validation_pairs: file of real image-label pairs of validation patients. The threshold is chosen so that
            synthetic labels have the same fraction of vessel pixels as these pairs. With None the bundle keeps its
            threshold, unless the training was differentially private: then the fraction is read from the file
            `guarantee.json` in `run`.
        last: copy the weights of the last epoch instead of the best epoch.

    Returns:
        The path of the weights in the bundle, and the new threshold; None in its place if none was chosen.

    Raises:
        InputError: `run` has no weights, the weights belong to another network, or `validation_pairs` is given and the
            bundle has no label threshold.
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
        raise InputError(f"{config}: has no label_threshold to choose; leave --validation-pairs out")
    if validation_pairs is not None and share is not None:
        logger.warning("%s: the guarantee does not cover a threshold from validation pairs; leave the pairs out", run)
    if validation_pairs is not None or share is not None:
        threshold = choose_label_threshold(raw_labels(network), validation_pairs, share)
    seen = seen_by(run, bundle)
    save_weights(network.state_dict(), target)
    write_card(bundle, seen)
    _describe(bundle, in_words(seen))
    if threshold is not None:
        text = re.sub(r"(?m)^label_threshold: \S+", f"label_threshold: {threshold:.6g}", config.read_text("utf-8"))
        write_whole(config, text)
    return target, threshold


def _describe(bundle: Path, seen: str) -> None:
    """States what adopted weights have seen, in the bundle's metadata and below the title of its README.md."""
    metadata, readme = bundle / METADATA, bundle / README
    content = json.loads(metadata.read_text("utf-8"))
    content["data_source"] = _SOURCE.format(seen)
    write_json(metadata, content)
    if readme.exists():
        title, *rest = readme.read_text("utf-8").splitlines()
        if any(line.startswith(_NOTE) for line in rest[1:2]):
            rest = rest[3:]  # the note about the weights before these
        note = f"{_NOTE} They were adopted from a training and have seen {seen} (data_card.json)."
        write_whole(readme, "\n".join([title, "", note, "", *rest, ""]))
