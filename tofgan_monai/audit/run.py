"""Runs an audit, from reading its inputs to writing audit.json.

Finished parts are kept on disk, so a stopped audit continues from them. A stack is a file of image-label pairs. Members
are the training patients, non-members are held-out patients, references are further patients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from tofgan_monai.attacks.on_gan import critic_score
from tofgan_monai.attacks.on_pairs import MIN_PAIRS
from tofgan_monai.attacks.on_segmentation import Figures, figures
from tofgan_monai.attacks.power import detectable_auc
from tofgan_monai.audit.assessment import Attack, attack_entry, copy_search, on_data, on_generator, on_segmentation
from tofgan_monai.audit.cohorts import Cohorts, read_cohorts
from tofgan_monai.audit.controls import Canary, judged, planted, read_canaries
from tofgan_monai.audit.heads import head_reader
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

N_PAIRS, PAIRS_PER_PATIENT, WINDOWS_PER_PATIENT = 2000, 50, 16
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
    pairs_per_patient: int | None = None,
    inception_weights: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Measures what synthetic pairs, a generator or a segmentation network gives away about the training patients.

    Writes audit.json into the output folder and returns its content. For a stack or a generator it also writes
    pictures.npz. `report.write_audit_report` makes pages from both files. Parts of the same audit that the folder
    already holds are not computed again.

    Args:
        target: what is audited: path of a stack of synthetic pairs (`.npy`), or name or folder of a bundle.
        output: folder for the results.
        members: path of the stack of training patients' pairs (members) that the training used. For a 3D network: the
            folder of the cohort (or its cohort.json) whose split `training` the training used.
        non_members: path of the stack of held-out patients' pairs of the same site (non-members). For a 3D network: the
            folder of a cohort, of which the split `test` is read.
        references: path of the stack of further patients' pairs, who are neither members nor non-members. For a 3D
            network: the folder of a cohort, of which the split `validation` is read.
        run: output folder of the training. If given, its critic is attacked, too, and the audit checks that the
            training used the members' data.
        canaries: for each canary the path of the stack or cohort made by `tofgan canary`, and the output folder of a
            training on it with the audited training's settings.
        shadows: weights of shadow models. These are segmentation networks with the audited network's architecture,
            trained like it on patients who are neither members nor non-members.
        n: number of pairs to make with the generator; unused if the target is a stack or a segmentation network.
        seed: seed of the latents of these pairs.
        pairs_per_patient: largest number of pairs to use from each patient, 50 by default. For a 3D network: number of
            windows to cut from the heads of each patient, 16 by default.
        inception_weights: weights of the Inception network of the original FID. By default EfficientNet-Lite0 computes
            the features.

    Raises:
        InputError: two stacks share scans or pairs, or a stack does not name the patient of each pair; the training
            made other weights or used other pairs; or shadow models or canaries do not fit the target.
    """
    if n < MIN_PAIRS:
        raise InputError(f"n = {n} is too few; ask for {MIN_PAIRS} pairs or more (`-n`)")
    folder = Path(output)
    aim = read_target(target)
    heads = head_reader(aim, folder / "parts" / "heads")
    per_patient = pairs_per_patient or (WINDOWS_PER_PATIENT if heads else PAIRS_PER_PATIENT)
    if heads:
        cohorts = heads.cohorts(members, non_members, references, windows_per_patient=per_patient)
    else:
        cohorts = read_cohorts(members, non_members, references, pairs_per_patient=per_patient)
    training = read_training(Path(run), aim, cohorts) if run else None
    repeats = read_canaries(canaries, aim, training, cohorts, heads)
    unets = read_shadows(shadows, aim, cohorts)
    require_writable(folder)
    measure: Callable[..., dict[str, Any]]
    if isinstance(aim, SegmentationTarget):
        released, measure = None, partial(_of_network, aim, unets)
    else:
        load_prdc()  # reports a missing package before the attacks, which take an hour
        extractor = load_extractor(inception_weights)
        released = released_pairs(aim, folder, n=n, seed=seed)
        measure = partial(_of_pairs, aim, released.pairs, training, extractor, Path(references))
    described = describe(aim, released)
    inputs = [FORMAT, version("tofgan-monai"), described, cohorts.described, per_patient, heads and heads.drawn, *unets]
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
    pictures.unlink(missing_ok=True)  # the file may belong to another audit
    if released:
        _save_pictures(pictures, found["copies"]["closest"], released.pairs, cohorts)
    write_json(folder / "audit.json", found)
    return found


def _of_network(
    target: SegmentationTarget,
    shadows: Mapping[str, nn.Module],
    canaries: Sequence[Canary],
    cohorts: Cohorts,
    parts: Parts,
) -> dict[str, Any]:
    """Runs the attacks on a segmentation network and on its canaries; returns the entries `attacks` and `canary`.

    Args:
        target: the audited segmentation network.
        shadows: shadow models for LiRA and for the control, by the digests of their weights.
        canaries: networks from training runs in which one member's pairs were repeated.
        cohorts: pairs of members, non-members and references.
        parts: store of finished parts.
    """

    def shown(digest: str, network: nn.Module) -> Figures:
        made = partial(figures, network, cohorts.queries)
        return Figures(**parts.arrays(f"network {digest[:12]}", lambda: made()._asdict()))

    own = shown(target.weights_sha256, target.network)
    others = [shown(digest, network) for digest, network in shadows.items()]
    ranks = []
    for canary in canaries:
        find = partial(canary.ranks_by_network, cohorts, others)
        ranks.append(parts.result(f"canary {canary.weights_sha256[:12]}", find))
    return {"attacks": on_segmentation(own, others, cohorts), "canary": judged(canaries, ranks)}


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
    """Runs all measurements on released pairs; returns the entries of audit.json about them.

    The entries are `attacks`, `planted`, `canary`, `copies` and `quality`. The generator is attacked if it is the
    target. The critic is attacked if the training is known.

    Args:
        target: the audited stack or generator.
        stack: released synthetic pairs, (n, 2, 96, 96).
        training: the training run that made the audited weights; None if it is not known.
        extractor: network that computes the features for the quality figures.
        references: path of the reference patients' stack.
        canaries: generators from training runs in which one member's pairs were repeated.
        cohorts: pairs of members, non-members and references.
        parts: store of finished parts.
    """
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
    """Returns the entry of audit.json about power: the smallest AUC that this many patients can show.

    The entry also holds the number of attacks that a verdict corrects for, and the number of patients that the release
    gate requires.

    Args:
        attacks: entries of the attacks in audit.json.
        cohorts: pairs of members, non-members and references.
    """
    n_attacks = len([attack for attack in attacks if attack["release"] != "critic"])
    groups = cohorts.members.n_patients, cohorts.non_members.n_patients
    return {
        "n_attacks": n_attacks,
        "detectable_auc": detectable_auc(*groups, n_intervals=len(UNITS) * n_attacks),
        "required_patients": {"auc": WORST_AUC, "patients": MIN_PATIENTS},
    }


def _save_pictures(path: Path, closest: Sequence[dict[str, Any]], stack: np.ndarray, cohorts: Cohorts) -> None:
    """Saves the pairs for the pictures of the most similar pairs as arrays (k, 2, 96, 96) in an .npz file.

    The arrays are `synthetic` (the synthetic pairs), `member` (the nearest member's pair of each synthetic pair) and
    `non_member` (the nearest non-member's pair of each synthetic pair).

    Args:
        path: path of the .npz file.
        closest: records of k synthetic pairs with the indices of their neighbours, from the entry `copies`.
        stack: released synthetic pairs, (n, 2, 96, 96).
        cohorts: pairs of members, non-members and references.
    """
    sources = {"synthetic": stack, "member": cohorts.members.pairs, "non_member": cohorts.non_members.pairs}
    pictures = {name: np.stack([pairs[entry[name]] for entry in closest]) for name, pairs in sources.items()}
    with written_whole(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **pictures)  # type: ignore[arg-type]
