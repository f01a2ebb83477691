"""Generates a stack of synthetic pairs that may leave the clinic.

A stack is a `.npy` file of image-label pairs with a manifest beside it. An audit measures the privacy risk of such a
stack. The pairs that leave are the same as in the audited stack, or some of them, and the summary of the audit is in
their manifest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tofgan_monai.audit.record import Audit, read_audit
from tofgan_monai.bundle_runs import runs
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import patients_behind, seen_of
from tofgan_monai.exchange.layout import WEIGHTS
from tofgan_monai.exchange.release import cleared, require_verdict
from tofgan_monai.files import require_writable
from tofgan_monai.pairs.stack import copy_pairs, open_stack
from tofgan_monai.training.weights import weights_file_digest

_COVERED = {"device", "weights", "label_threshold"}  # any other setting could change the pairs


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
    """Generates a stack of synthetic pairs if an audit has measured the same pairs and allows their release.

    The summary of the audit is written into the manifest of the stack.

    Args:
        bundle: folder of a GAN bundle.
        output: path of the stack to write, a `.npy` file.
        n: number of pairs to generate; they equal the first n pairs of the audited stack.
        seed: seed of the latent vectors; must be the seed of the audited stack.
        audit: folder or audit.json of an audit of pairs that these weights have made.
        settings: further settings of the bundle's inference.yaml; only device, weights and label_threshold are
            allowed.
        drop_copies: leave out the near-copies of training pairs that the audit found. The manifest then states
            their number and, unless it is 0, no seed, as anyone with the weights and the seed could make them again.
        despite: reason of a person who releases the pairs without a passed audit; None if there is none.

    Returns:
        The number of near-copies that were left out.

    Raises:
        InputError: the audit is about other pairs, or it has not passed and there is no reason (both are checked before
            a pair is generated); or the run of the bundle failed.
    """
    found = read_audit(audit)
    weights = Path(settings.get("weights") or bundle / WEIGHTS)
    if not weights.is_file():
        raise InputError(f"{weights}: no such weights; train a GAN, then adopt its weights (`tofgan adopt`)")
    digest = weights_file_digest(weights)
    threshold = settings.get("label_threshold", runs.inference_config(bundle).get("label_threshold"))
    if problems := list(_uncovered(found, digest, n, seed, threshold, settings)):
        raise InputError(problems)
    behind = patients_behind(seen_of(digest, bundle), bundle)
    remedy = "train again, or audit with more patients, or give --despite REASON, which goes into the manifest"
    more: dict[str, Any] = {"audit": cleared(found, "data", despite, behind=behind, remedy=remedy)}
    dropped = _near_copies(found, n) if drop_copies else []
    if drop_copies:
        more["near_copies_dropped"] = len(dropped)
    output = Path(os.path.abspath(output))  # bundles run in their own folder
    require_writable(output.parent)
    with TemporaryDirectory(dir=output.parent, prefix=".") as folder:
        whole = Path(folder) / output.name
        runs.run_bundle(bundle, ["inference.yaml"], {**settings, "n": n, "seed": seed, "output": str(whole)})
        pairs, manifest = open_stack(whole)
        if dropped:
            del manifest["seed"]
        copy_pairs(pairs, output, {**manifest, **more}, without=dropped)
    return len(dropped)


def _near_copies(audit: Audit, n: int) -> list[int]:
    """Returns the sorted indices of those of the first n audited pairs that are near-copies of training pairs.

    Raises:
        InputError: the audit has not searched for near-copies, or all n pairs are near-copies.
    """
    copies = audit.content.get("copies")
    if copies is None:
        raise InputError(
            f"{audit.file}: the audit has not searched for near-copies; leave --drop-copies out, or audit the pairs"
        )
    dropped = sorted({index for index in copies["near_copies"] if index < n})
    if len(dropped) == n:
        raise InputError(f"{audit.file}: all {n} pairs are near-copies of training pairs; nothing would be left")
    return dropped


def _uncovered(
    audit: Audit, digest: str, n: int, seed: int, threshold: Any, settings: Mapping[str, Any]
) -> Iterator[str]:
    """Yields the reasons, one line each, why the requested pairs are not among the audited pairs; nothing if they are.

    Args:
        audit: the audit.
        digest: digest of the weights that make the requested pairs.
        n: number of requested pairs.
        seed: seed of the requested pairs.
        threshold: label threshold of the requested pairs.
        settings: all settings of the bundle that the user has changed.

    Raises:
        InputError: the audit is not about a stack, or has no verdict on the release of its pairs.
    """
    stack = audit.content["target"].get("stack")
    if stack is None:
        raise InputError(f"{audit.file}: is not an audit of a stack; audit the pairs (`tofgan audit`)")
    require_verdict(audit, "data")
    if stack["weights_sha256"] != digest:
        what = f"is about pairs of other weights than {digest[:12]}, or was made by version 0.1.0"
        yield f"{audit.file}: {what}; audit pairs of these weights (`tofgan audit`)"
    if stack["seed"] is None:
        yield f"{audit.file}: is about pairs without a seed, which cannot be made again; give the audited stack"
    elif seed != stack["seed"]:
        yield f"--seed {seed}: the audited pairs were made with --seed {stack['seed']}"
    audited = stack["label_threshold"]  # None for a stack whose manifest has none
    are_numbers = isinstance(threshold, int | float) and audited is not None
    if not are_numbers or not math.isclose(threshold, audited, abs_tol=1e-9):
        yield f"--label_threshold {threshold}: the audited pairs were made with --label_threshold {audited}"
    if n > stack["n"]:
        yield f"-n {n}: only {stack['n']} pairs were audited; ask for fewer pairs, or audit more"
    if others := [name for name, value in settings.items() if value is not None and name not in _COVERED]:
        yield f"--{', --'.join(others)}: could make other pairs than the audited ones; leave this option out"
