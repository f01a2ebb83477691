"""The audit from its inputs to audit.json; finished parts are kept on disk, so a stopped audit can go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.on_gan import critic_score
from tofgan_monai.attacks.on_pairs import MIN_PAIRS
from tofgan_monai.attacks.power import detectable_auc
from tofgan_monai.audit.assessment import Attack, attack_entry, copy_search, on_data, on_generator, on_segmentation
from tofgan_monai.audit.cohorts import Cohorts, read_cohorts
from tofgan_monai.audit.controls import Canary, judged, planted, read_canaries
from tofgan_monai.audit.neighbours import find_neighbours
from tofgan_monai.audit.parts import Parts
from tofgan_monai.audit.record import FORMAT
from tofgan_monai.audit.shadows import read_shadows
from tofgan_monai.audit.target import (
    GeneratorTarget,
    SegmentationTarget,
    StackTarget,
    describe,
    read_target,
    released_pairs,
)
from tofgan_monai.audit.training import Training, read_training
from tofgan_monai.audit.verdict import MIN_PATIENTS, UNITS, WORST_AUC, verdicts
from tofgan_monai.errors import InputError
from tofgan_monai.files import require_writable, write_json, written_whole
from tofgan_monai.metrics.stacks.features import Extractor, load_extractor
from tofgan_monai.metrics.stacks.manifold import load_prdc
from tofgan_monai.metrics.stacks.quality import quality

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
    """Audits what a stack, generator or segmentation gives away about patients; returns the content of audit.json.

    Writes audit.json into the output folder, and pictures.npz for a stack or generator; `report.write_audit_report`
    makes pages of them. Parts of the same audit that the folder already holds are not computed again.

    Args:
        target: a synthetic stack's `.npy`, or the name or folder of a bundle.
        output: folder for the results.
        members: stack of the training patients' pairs (members) that the training used.
        non_members: stack of held-out patients of the same site (non-members).
        references: stack of further patients, who are neither members nor non-members.
        run: output folder of the training. Its critic is attacked too, and the members are compared with its pairs.
        canaries: for each canary the stack made by `tofgan canary` and the output folder of the same training on it.
        shadows: weights of shadow models: segmentations trained alike on patients who are neither members nor
            non-members.
        n: number of pairs that a generator makes.
        seed: of the pairs' latents.
        pairs_per_patient: the most pairs of each patient that are used.
        inception_weights: of the original FID; by default EfficientNet-Lite0 computes the features.

    Raises:
        InputError: stacks share scans or pairs or do not name their patients; weights or members belong to another
            training; or shadow models or canaries do not fit the target.
    """
    if n < MIN_PAIRS:
        raise InputError(f"n = {n}: ask for {MIN_PAIRS} pairs or more; verdicts hold for no more than were audited")
    folder = Path(output)
    cohorts = read_cohorts(members, non_members, references, pairs_per_patient=pairs_per_patient)
    require_writable(folder)
    aim = read_target(target)
    training = read_training(Path(run), aim, cohorts) if run else None
    repeats = read_canaries(canaries, aim, training, cohorts)
    unets = read_shadows(shadows, aim, cohorts)
    measure: Callable[..., dict[str, Any]]
    if isinstance(aim, SegmentationTarget):
        released, measure = None, partial(_of_network, aim, list(unets.values()))
    else:
        load_prdc()  # a missing package or file is reported here, before an hour of attacks
        extractor = load_extractor(inception_weights)
        released = released_pairs(aim, folder, n=n, seed=seed)
        measure = partial(_of_pairs, aim, released.pairs, training, extractor, Path(references))
    described = describe(aim, released)
    inputs = [FORMAT, version("tofgan-monai"), described, cohorts.described, pairs_per_patient, *unets]
    found: dict[str, Any] = {
        "format": FORMAT,
        "target": described,
        "cohorts": cohorts.described,
        "volumes_compared": cohorts.volumes_compared,
        "training_checked": training is not None,
        "guarantee": training.guarantee if training else None,
        **measure(repeats, cohorts, Parts(folder / "parts", inputs)),
    }
    found["power"] = _power(found["attacks"], cohorts)
    found["verdicts"] = verdicts(found)
    pictures = folder / "pictures.npz"
    pictures.unlink(missing_ok=True)  # of another audit
    if released:
        _save_pictures(pictures, found["copies"]["closest"], released.pairs, cohorts)
    write_json(folder / "audit.json", found)
    return found


def _of_network(
    target: SegmentationTarget, shadows: Sequence[nn.Module], canaries: Sequence[Canary], cohorts: Cohorts, parts: Parts
) -> dict[str, Any]:
    """The entries of audit.json about a segmentation network: its attacks and its canaries."""
    ranks = [canary.ranks_by_network(cohorts, shadows) for canary in canaries]
    attacks = on_segmentation(target.network, shadows, cohorts, parts)
    return {"attacks": attacks, "canary": judged(canaries, ranks)}


def _of_pairs(
    target: StackTarget | GeneratorTarget,
    stack: np.ndarray,
    training: Training | None,
    extractor: Extractor,
    references: Path,
    canaries: Sequence[Canary],
    cohorts: Cohorts,
    parts: Parts,
) -> dict[str, Any]:
    """The entries of audit.json about a stack, its generator if that is the target, and its critic if it is known."""
    neighbours = find_neighbours(stack, cohorts, parts)
    table = neighbours.audited
    attacks = on_data(neighbours, cohorts)
    copies = parts.result("planted copies", partial(planted, stack, cohorts, table))
    if isinstance(target, GeneratorTarget):
        attacks.append(on_generator(target.network, cohorts, parts))
    if training and training.critic:  # attacked to show why a critic must never be released
        attacks.append(attack_entry("LOGAN", "critic", critic_score(training.critic, cohorts.queries), cohorts))
    ranks = []
    for canary in canaries:
        find = partial(canary.ranks_by_pairs, cohorts, references, len(stack), table)
        ranks.append(parts.result(f"canary {canary.weights_sha256[:12]}", find))
    measured = partial(quality, stack, cohorts.members.pairs, cohorts.non_members.pairs, extractor)
    figures = parts.result(f"quality {extractor.sha256[:12]}", measured)
    return {
        "attacks": attacks,
        "planted": copies,
        "canary": judged(canaries, ranks),
        "copies": {**copy_search(neighbours, cohorts), "mifid": figures.pop("mifid")},
        "quality": figures,
    }


def _power(attacks: Sequence[Attack], cohorts: Cohorts) -> dict[str, Any]:
    """The smallest AUC that this many patients can show, and the number of patients that the release gate requires."""
    n_attacks = len([attack for attack in attacks if attack["release"] != "critic"])
    groups = cohorts.members.n_patients, cohorts.non_members.n_patients
    return {
        "n_attacks": n_attacks,
        "detectable_auc": detectable_auc(*groups, n_intervals=len(UNITS) * n_attacks),
        "required_patients": {"auc": WORST_AUC, "patients": MIN_PATIENTS},
    }


def _save_pictures(path: Path, closest: Sequence[dict[str, Any]], stack: np.ndarray, cohorts: Cohorts) -> None:
    """Saves the synthetic, the member's and the non-member's pair of each closest pair, (k, 2, 96, 96) each."""
    sources = {"synthetic": stack, "member": cohorts.members.pairs, "non_member": cohorts.non_members.pairs}
    pictures = {name: np.stack([pairs[entry[name]] for entry in closest]) for name, pairs in sources.items()}
    with written_whole(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **pictures)  # type: ignore[arg-type]
