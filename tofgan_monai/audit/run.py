"""The audit from inputs to a page: each part is kept, so that it goes on where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tofgan_monai.attacks.on_pairs import MIN_PAIRS, Searches
from tofgan_monai.attacks.power import detectable_auc
from tofgan_monai.audit.assessment import Line, on_critic, on_data, on_generator, on_segmentation
from tofgan_monai.audit.closeness import save_pictures, search_copies
from tofgan_monai.audit.cohorts import Cohorts, read_cohorts
from tofgan_monai.audit.controls import Canary, judged, planted, read_canaries
from tofgan_monai.audit.parts import Parts
from tofgan_monai.audit.record import FORMAT
from tofgan_monai.audit.shadows import read_shadows
from tofgan_monai.audit.target import Target, read_target, with_pairs
from tofgan_monai.audit.training import Training
from tofgan_monai.audit.verdict import MIN_PATIENTS, UNITS, WORST_AUC, verdicts
from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, write_json
from tofgan_monai.metrics.stacks.features import Extractor, load_extractor
from tofgan_monai.metrics.stacks.manifold import load_prdc
from tofgan_monai.metrics.stacks.quality import quality
from tofgan_monai.report.audit.page import write_audit_report

N_PAIRS, PAIRS_PER_PATIENT = 2000, 50
Paths = Sequence[str | os.PathLike]


def audit(
    target: str | os.PathLike,
    output: str | os.PathLike,
    *,
    members: str | os.PathLike,
    non_members: str | os.PathLike,
    references: str | os.PathLike,
    run: str | os.PathLike | None = None,
    canaries: Sequence[tuple[str | os.PathLike, str | os.PathLike]] = (),
    shadows: Paths = (),
    n: int = N_PAIRS,
    seed: int = 0,
    pairs_per_patient: int = PAIRS_PER_PATIENT,
    inception_weights: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """What a stack, a generator or a segmentation gives away, and how good a stack is.

    Writes audit.json and two pages: audit.html with patients' patches, which stays at the clinic, and
    audit_for_sharing.html without any. What the folder holds of the same audit is not computed again.

    Args:
        target: a synthetic stack's `.npy`, or a bundle's name or folder.
        output: a folder for the result.
        members: stack of the pairs that were trained on, by patient.
        non_members: pairs of held-out patients of the same site.
        references: pairs of further patients, who are neither.
        run: output folder of the training: its critic is attacked too, and the members must be what it was trained on.
        canaries: for each repeat the stack of `tofgan canary` and the output folder of the same training on it.
        shadows: weights of segmentations trained alike on patients who are neither members nor non-members.
        n: pairs that a generator makes.
        seed: of their latents.
        pairs_per_patient: at most so many of each patient are looked at.
        inception_weights: of the original FID; else EfficientNet-Lite0 gives the features.

    Returns:
        What audit.json holds.

    Raises:
        InputError: stacks that share scans or pairs or do not tell their patients, weights or members of another
            training, or shadows that are not what they should be.
    """
    if n < MIN_PAIRS:
        raise InputError(f"n = {n}: ask for {MIN_PAIRS} pairs or more; verdicts hold for no more than were audited")
    folder = Path(output)
    cohorts = read_cohorts(members, non_members, references, pairs_per_patient=pairs_per_patient)
    require_writable(folder)
    aim = read_target(target)
    training = Training(Path(run), aim, cohorts) if run else None
    repeats = read_canaries(canaries, aim, training, cohorts)
    unets = read_shadows(shadows, aim, cohorts)
    extractor = None if aim.is_segmentation else _load_measures(inception_weights)
    aim = with_pairs(aim, folder, n=n, seed=seed)
    found: dict[str, Any] = {
        "format": FORMAT,
        "target": aim.described,
        "cohorts": cohorts.described,
        "volumes_compared": cohorts.volumes_compared,
        "training_checked": training is not None,
        "guarantee": training.guarantee if training else None,
    }
    inputs = [FORMAT, version("tofgan-monai"), aim.described, cohorts.described, pairs_per_patient, *unets]
    parts = Parts(folder / "parts", inputs)
    if extractor is None:
        assert aim.network is not None
        networks = list(unets.values())
        ranks = [canary.ranks_by_network(cohorts, networks) for canary in repeats]
        found |= {
            "attacks": on_segmentation(aim.network, networks, cohorts, parts),
            "canary": judged(repeats[0].times, ranks) if ranks else None,
        }
        (folder / "pictures.npz").unlink(missing_ok=True)  # of another audit
    else:
        assert aim.stack is not None
        found |= _of_pairs(aim.stack, aim, training, repeats, cohorts, parts, extractor, Path(references))
        save_pictures(folder / "pictures.npz", found["copies"], aim.stack, cohorts)
    found["power"] = _power(found["attacks"], cohorts)
    found["verdicts"] = verdicts(found)
    write_json(folder / "audit.json", found)
    write_audit_report(folder)
    write_audit_report(folder, patches=False)
    return found


def _load_measures(inception_weights: str | os.PathLike | None) -> Extractor:
    """The extractor for the quality of pairs, and whether prdc is there, before an hour of attacks."""
    load_prdc()
    return load_extractor(inception_weights)


def _of_pairs(
    stack: np.ndarray,
    aim: Target,
    training: Training | None,
    repeats: Sequence[Canary],
    cohorts: Cohorts,
    parts: Parts,
    extractor: Extractor,
    references: Path,
) -> dict[str, Any]:
    """What is found out about a stack, and about the generator that made it if it is at hand."""
    searches = Searches()
    lines, caught = on_data(stack, cohorts, parts, searches), []
    found: dict[str, Any] = {"planted": parts.result("planted copies", lambda: planted(stack, cohorts, searches))}
    if aim.generator:
        lines += on_generator(aim.generator, cohorts, parts)
    if training and training.critic:
        lines += on_critic(training.critic, cohorts)
    for canary in repeats:

        def ranks(canary: Canary = canary) -> dict[str, Any]:
            return canary.ranks_by_pairs(cohorts, references, len(stack), searches)

        caught.append(parts.result(f"canary {canary.weights_sha256[:12]}", ranks))
    copies = parts.result("copies", lambda: search_copies(stack, cohorts))
    figures = parts.result(
        f"quality {extractor.sha256[:12]}",
        lambda: quality(stack, cohorts.members.pairs, cohorts.non_members.pairs, extractor),
    )
    return {
        "attacks": lines,
        **found,
        "canary": judged(repeats[0].times, caught) if caught else None,
        "copies": {**copies, "mifid": figures.pop("mifid")},
        "quality": figures,
    }


def _power(lines: Sequence[Line], cohorts: Cohorts) -> dict[str, Any]:
    """What so many patients can show of attacks that are judged together, and how many the gate asks for."""
    n_attacks = len([line for line in lines if line["release"] != "critic"])
    groups = cohorts.members.n_patients, cohorts.non_members.n_patients
    return {
        "n_attacks": n_attacks,
        "detectable_auc": detectable_auc(*groups, n_intervals=len(UNITS) * n_attacks),
        "required_patients": {"auc": WORST_AUC, "patients": MIN_PATIENTS},
    }
