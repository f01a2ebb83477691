"""A stack of synthetic pairs that may leave the clinic: made as the audited one was, with the audit behind it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tofgan_monai.audit.record import Audit, read_audit
from tofgan_monai.bundle_runs.runs import inference_config, run_bundle
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import patients_behind, seen_of
from tofgan_monai.exchange.layout import WEIGHTS
from tofgan_monai.exchange.release import cleared, require_verdict
from tofgan_monai.files import require_writable, sha256
from tofgan_monai.pairs.stack import StackWriter, open_stack

_BLOCK = 1024  # pairs copied at once
_COVERED = {"device", "weights", "label_threshold"}  # whatever else is set could make other pairs than the audited ones


def generate_for_release(
    bundle: Path,
    output: str | os.PathLike,
    *,
    n: int,
    seed: int,
    audit: str | os.PathLike,
    settings: Mapping[str, Any],
    drop_copies: bool = False,
    despite: str | None = None,
) -> int:
    """Makes a stack if an audit covers it and lets it go; the audit's summary goes into its manifest.

    Args:
        bundle: a GAN bundle's folder.
        output: the stack's `.npy`.
        n: how many pairs: the first of those that were audited.
        seed: of the latents.
        audit: folder or audit.json of an audit of the weights' pairs.
        settings: further settings of the bundle's inference.yaml: device, weights, label_threshold.
        drop_copies: leave out what the audit found to be near-copies of training pairs. How many is in the manifest,
            and then no seed is.
        despite: why a person lets the pairs go though the audit has not passed.

    Returns:
        How many near-copies were left out.

    Raises:
        InputError: before any work, if the audit is of other pairs or has not passed; or what the run found wrong.
    """
    weights = Path(settings.get("weights") or bundle / WEIGHTS)
    found = read_audit(audit)
    threshold = settings.get("label_threshold", inference_config(bundle).get("label_threshold"))
    _require_cover(found, weights, {"seed": seed, "label_threshold": threshold, "n": n}, settings)
    behind = patients_behind(seen_of(sha256(weights), bundle), bundle)
    remedy = "train anew, or audit with more patients, or give --despite REASON, which the manifest will tell"
    said = cleared(found, "data", despite, behind=behind, remedy=remedy)
    dropped = _near_copies(found, n) if drop_copies else []
    output = Path(os.path.abspath(output))  # bundles run in their own folder
    require_writable(output.parent)
    with TemporaryDirectory(dir=output.parent, prefix=".") as folder:
        whole = Path(folder) / output.name
        run_bundle(bundle, ["inference.yaml"], {**settings, "n": n, "seed": seed, "output": str(whole)})
        _write(
            whole, output, dropped, {"audit": said, **({"near_copies_dropped": len(dropped)} if drop_copies else {})}
        )
    return len(dropped)


def _near_copies(audit: Audit, n: int) -> list[int]:
    copies = audit.content.get("copies")
    if copies is None:
        raise InputError(f"{audit.file}: has looked for no near-copies; leave --drop-copies out, or audit the pairs")
    dropped = sorted({index for index in copies["near_copies"] if index < n})
    if len(dropped) == n:
        raise InputError(f"{audit.file}: all {n} pairs are near-copies of training pairs; nothing would be left")
    return dropped


def _require_cover(audit: Audit, weights: Path, asked: dict[str, Any], settings: Mapping[str, Any]) -> None:
    """Whether the pairs that are asked for are among those that were audited."""
    stack = audit.content["target"].get("stack")
    if stack is None:
        raise InputError(f"{audit.file}: audits no stack; audit the pairs (`tofgan audit`)")
    require_verdict(audit, "data")
    problems = []
    if not weights.is_file():
        problems.append(f"{weights}: no such weights; train, then adopt them (`tofgan adopt`)")
    elif stack["weights_sha256"] != sha256(weights):
        problems.append(f"{audit.file}: is of pairs of other weights than {weights}; audit those")
    if stack["seed"] is None:
        problems.append(f"{audit.file}: is of pairs that tell no seed, so they cannot be made again; give those")
    elif asked["seed"] != stack["seed"]:
        problems.append(f"seed {asked['seed']}: the audited pairs are of --seed {stack['seed']}")
    threshold, audited = asked["label_threshold"], stack["label_threshold"]
    are_numbers = isinstance(threshold, int | float) and audited is not None  # of a stack that does not tell: None
    if not are_numbers or not math.isclose(threshold, audited, abs_tol=1e-9):
        problems.append(f"label threshold {threshold}: the audited pairs are of --label_threshold {audited}")
    if asked["n"] > stack["n"]:
        problems.append(f"n {asked['n']}: {stack['n']} pairs were audited; ask for no more, or audit more")
    if others := [name for name, value in settings.items() if value is not None and name not in _COVERED]:
        problems.append(f"--{', --'.join(others)}: could make other pairs than the audited ones; leave it out")
    if problems:
        raise InputError(problems)


def _write(whole: Path, output: Path, dropped: list[int], more: dict[str, Any]) -> None:
    """The stack without some of its pairs, in one piece."""
    pairs, manifest = open_stack(whole)
    if dropped:  # by its seed whoever has the weights could make the stack again, and see what was left out
        del manifest["seed"]
    kept = np.delete(np.arange(len(pairs)), dropped)
    with StackWriter(output, len(kept), {**manifest, **more}) as stack:
        for start in range(0, len(kept), _BLOCK):
            stack.append(pairs[kept[start : start + _BLOCK]])
