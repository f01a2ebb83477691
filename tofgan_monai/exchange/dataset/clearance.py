"""Decides whether the pairs of a stack may leave as a dataset, and collects what is known about their origin.

The rule is that of `tofgan pack`: pairs of a generator that has seen real patients leave with an audit of these very
pairs that passed, or with the reason of a person. Pairs of real patients never leave.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from tofgan_monai.audit.record import Audit, read_audit
from tofgan_monai.bundle_runs.paths import bundle_path, bundles_dir
from tofgan_monai.errors import InputError
from tofgan_monai.exchange.data_card import Seen, patients_behind, seen_of
from tofgan_monai.exchange.release import cleared, require_verdict
from tofgan_monai.pairs.stack import PairDataset
from tofgan_monai.volumes.kinds import kind_of

_REMEDY = "give one that passed (tofgan audit, then --audit), or --despite REASON, which goes into the dataset card"


class Clearance(NamedTuple):
    """What is known about the origin of pairs that may leave.

    Attributes:
        kind: `simulated` or `synthetic`.
        seen: data-card entries on the data on which the generator was trained; empty for simulated pairs.
        behind: those entries on real patients about whom the pairs may reveal something.
        said: the entry about the audit in the manifest: its summary, the reason of a person, or None.
        audit: the audit; None if there is none.
    """

    kind: str
    seen: Seen
    behind: Seen
    said: dict[str, Any] | None
    audit: Audit | None


def clear_stack(
    stack: str | os.PathLike,
    manifest: dict[str, Any],
    *,
    audit: str | os.PathLike | None = None,
    despite: str | None = None,
    bundle: str | os.PathLike | None = None,
) -> Clearance:
    """Checks that the pairs of a stack may leave, and returns what is known about their origin.

    Args:
        stack: the `.npy` file of the stack.
        manifest: the manifest of the stack.
        audit: folder or audit.json of an audit of these pairs; required if their generator has seen real patients, or
            if nothing says what it has seen.
        despite: reason of a person for a release without a passed audit.
        bundle: name or folder of the generator's bundle. Its data card says what the generator has seen. Without it,
            the cards of all shipped and installed bundles are searched.

    Raises:
        InputError: the pairs are of real patients; the audit is missing, has not passed, or is about other pairs or
            other patients; or an audit or a reason is given for simulated pairs, which need none.
    """
    kind = kind_of(manifest)
    if kind == "real":
        raise InputError(
            f"{stack}: pairs of real patients (or of a kind that the manifest does not state) are never released; give "
            "pairs that `tofgan generate` made"
        )
    if kind == "simulated":
        if audit is not None or despite is not None:
            raise InputError(f"{stack}: simulated pairs need no audit and no reason; leave --audit and --despite out")
        return Clearance(kind, [], [], None, None)
    folder = bundles_dir() if bundle is None else bundle_path(bundle)
    seen = seen_of(manifest.get("weights_sha256") or "", folder)
    behind = patients_behind(seen, folder)
    found = None if audit is None else read_audit(audit)
    if found is not None:
        _require_same_pairs(found, stack, manifest)
    return Clearance(kind, seen, behind, cleared(found, "data", despite, behind=behind, remedy=_REMEDY), found)


def _require_same_pairs(audit: Audit, stack: str | os.PathLike, manifest: dict[str, Any]) -> None:
    """Checks that an audit is about the pairs of a stack.

    It is, if the stack is the audited one, or if `tofgan generate --for-release` made the stack for this audit and
    wrote so into the manifest.

    Raises:
        InputError: it is about other pairs, or has no verdict on the release of pairs.
    """
    audited = audit.content["target"].get("stack")
    if audited is None:
        raise InputError(f"{audit.file}: is not an audit of pairs; audit the pairs (`tofgan audit`)")
    require_verdict(audit, "data")
    said: dict[str, Any] = manifest.get("audit") or {}
    summary: dict[str, Any] = (said["summary"] or {}) if "overridden" in said else said
    is_made_for_it = summary.get("sha256") == audit.sha256 and manifest["n"] <= audited["n"]
    is_audited = audited.get("digest") == PairDataset(Path(stack)).digest
    if audited["weights_sha256"] != manifest.get("weights_sha256") or not (is_made_for_it or is_audited):
        raise InputError(
            f"{audit.file}: is about other pairs than {stack}; give the audited stack, or make this one by `tofgan "
            "generate --for-release`"
        )
