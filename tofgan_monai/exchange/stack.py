"""A stack of synthetic pairs that may leave the clinic: some of the audited pairs, with the audit in its manifest."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
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
from tofgan_monai.files import require_writable
from tofgan_monai.pairs.stack import StackWriter, open_stack
from tofgan_monai.training.weights import weights_file_digest

_BLOCK = 1024  # pairs copied at once
_COVERED = {"device", "weights", "label_threshold"}  # any other setting could make other pairs than the audited ones


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
    """Makes a stack if an audit covers it and allows its release; the audit's summary goes into the manifest.

    Args:
        bundle: a GAN bundle's folder.
        output: the stack's `.npy`.
        n: number of pairs; they are the first of the audited ones.
        seed: of the latents.
        audit: folder or audit.json of an audit of pairs of these weights.
        settings: further settings of the bundle's inference.yaml: device, weights, label_threshold.
        drop_copies: leave out the near-copies of training pairs that the audit found. The manifest then tells their
            number, and no seed: with the weights and the seed anyone could make them again.
        despite: why a person releases the pairs without a passed audit.

    Returns:
        The number of near-copies left out.

    Raises:
        InputError: the audit is of other pairs or has not passed (before any work), or the run failed.
    """
    found = read_audit(audit)
    weights = Path(settings.get("weights") or bundle / WEIGHTS)
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights; train, then adopt them (`tofgan adopt`)")
    digest = weights_file_digest(weights)
    threshold = settings.get("label_threshold", inference_config(bundle).get("label_threshold"))
    if problems := list(_uncovered(found, digest, n, seed, threshold, settings)):
        raise InputError(problems)
    behind = patients_behind(seen_of(digest, bundle), bundle)
    remedy = "train anew, or audit with more patients, or give --despite REASON, which goes into the manifest"
    more: dict[str, Any] = {"audit": cleared(found, "data", despite, behind=behind, remedy=remedy)}
    dropped = _near_copies(found, n) if drop_copies else []
    if drop_copies:
        more["near_copies_dropped"] = len(dropped)
    output = Path(os.path.abspath(output))  # bundles run in their own folder
    require_writable(output.parent)
    with TemporaryDirectory(dir=output.parent, prefix=".") as folder:
        whole = Path(folder) / output.name
        run_bundle(bundle, ["inference.yaml"], {**settings, "n": n, "seed": seed, "output": str(whole)})
        _write(whole, output, dropped, more)
    return len(dropped)


def _near_copies(audit: Audit, n: int) -> list[int]:
    """Indices of the near-copies among the first n audited pairs, sorted."""
    copies = audit.content.get("copies")
    if copies is None:
        raise InputError(f"{audit.file}: has looked for no near-copies; leave --drop-copies out, or audit the pairs")
    dropped = sorted({index for index in copies["near_copies"] if index < n})
    if len(dropped) == n:
        raise InputError(f"{audit.file}: all {n} pairs are near-copies of training pairs; nothing would be left")
    return dropped


def _uncovered(
    audit: Audit, digest: str, n: int, seed: int, threshold: Any, settings: Mapping[str, Any]
) -> Iterator[str]:
    """Why the requested pairs are not among the audited ones, a line for each reason.

    Raises:
        InputError: the audit is of no stack, or has no verdict on the data.
    """
    stack = audit.content["target"].get("stack")
    if stack is None:
        raise InputError(f"{audit.file}: audits no stack; audit the pairs (`tofgan audit`)")
    require_verdict(audit, "data")
    if stack["weights_sha256"] != digest:
        what = f"is of pairs of other weights than {digest[:12]}, or was made by version 0.1.0"
        yield f"{audit.file}: {what}; audit pairs of these weights (`tofgan audit`)"
    if stack["seed"] is None:
        yield f"{audit.file}: is of pairs that tell no seed, so they cannot be made again; give those"
    elif seed != stack["seed"]:
        yield f"seed {seed}: the audited pairs are of --seed {stack['seed']}"
    audited = stack["label_threshold"]  # None for a stack whose manifest has none
    are_numbers = isinstance(threshold, int | float) and audited is not None
    if not are_numbers or not math.isclose(threshold, audited, abs_tol=1e-9):
        yield f"label threshold {threshold}: the audited pairs are of --label_threshold {audited}"
    if n > stack["n"]:
        yield f"n {n}: {stack['n']} pairs were audited; ask for no more, or audit more"
    if others := [name for name, value in settings.items() if value is not None and name not in _COVERED]:
        yield f"--{', --'.join(others)}: could make other pairs than the audited ones; leave it out"


def _write(whole: Path, output: Path, dropped: list[int], more: dict[str, Any]) -> None:
    """Writes a stack again without some of its pairs, and with more in its manifest."""
    pairs, manifest = open_stack(whole)
    if dropped:
        del manifest["seed"]
    kept = np.delete(np.arange(len(pairs)), dropped)
    with StackWriter(output, len(kept), {**manifest, **more}) as stack:
        for start in range(0, len(kept), _BLOCK):
            stack.append(pairs[kept[start : start + _BLOCK]])
