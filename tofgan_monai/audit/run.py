"""The audit from inputs to a page: each part is kept, so that it goes on where it was stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tofgan_monai.audit.attacks import on_critic, on_data, on_generator, on_segmentation
from tofgan_monai.audit.cohorts import read_cohorts
from tofgan_monai.audit.parts import Parts
from tofgan_monai.audit.positive import Canary, planted
from tofgan_monai.audit.target import read_target
from tofgan_monai.audit.training import Training
from tofgan_monai.files import require_writable, sha256, write_json
from tofgan_monai.metrics.features import load_extractor
from tofgan_monai.privacy.copies import search_copies
from tofgan_monai.privacy.segmentation_attacks import load_unet
from tofgan_monai.privacy.verdict import verdicts

FORMAT = 1
N_PAIRS, PAIRS_PER_PATIENT = 2000, 50


def audit(
    target: str | os.PathLike,
    output: str | os.PathLike,
    *,
    members: str | os.PathLike,
    non_members: str | os.PathLike,
    references: str | os.PathLike,
    run: str | os.PathLike | None = None,
    canaries: Sequence[tuple[str | os.PathLike, str | os.PathLike]] = (),
    shadows: Sequence[str | os.PathLike] = (),
    n: int = N_PAIRS,
    seed: int = 0,
    pairs_per_patient: int = PAIRS_PER_PATIENT,
    inception_weights: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """What a stack, a generator or a segmentation gives away, and how good a stack is: audit.json and audit.html.

    Args:
        target: a synthetic stack's `.npy`, or a bundle's name or folder.
        output: a folder for the result; what it holds of the same audit is not computed again.
        members: stack of the pairs that were trained on, by patient.
        non_members: pairs of held-out patients of the same site.
        references: pairs of further patients, who are neither.
        run: output folder of the training: its critic is attacked too, and the members must be what it was trained on.
        canaries: stack of `tofgan canary` and the output folder of the same training on it, for each repeat.
        shadows: weights of the segmentation trained on patients who are neither members nor non-members.
        n: pairs that a generator makes.
        seed: of their latents.
        pairs_per_patient: at most so many of each patient are looked at.
        inception_weights: of the original FID; else EfficientNet-Lite0 gives the features.

    Returns:
        The audit, as audit.json holds it.

    Raises:
        InputError: stacks that share pairs or do not tell their patients, another training's weights or members.
    """
    folder = Path(output)
    cohorts = read_cohorts(members, non_members, references, pairs_per_patient=pairs_per_patient)
    extractor = load_extractor(inception_weights)
    require_writable(folder)
    aim = read_target(target, folder, n=n, seed=seed)
    training = Training(Path(run), aim, cohorts) if run else None
    repeats = [Canary(Path(pairs), Path(trained), aim, training, cohorts) for pairs, trained in canaries]
    nets = [load_unet(path) for path in shadows]
    inputs = [FORMAT, aim.described, cohorts.described, pairs_per_patient]
    parts = Parts(folder / "parts", inputs)
    found: dict[str, Any] = {
        "format": FORMAT,
        "target": aim.described,
        "cohorts": cohorts.described,
        "guarantee": training.guarantee if training else None,
        "checked_training": training is not None,
    }
    if aim.stack is None:
        shadow_parts = Parts(folder / "parts", [*inputs, *map(sha256, shadows)])
        lines = on_segmentation(aim.network, nets, cohorts, shadow_parts)
        evidence: dict[str, Any] = {"planted": None, "canary": None, "copies": None, "quality": None}
    else:
        lines = on_data(aim.stack, cohorts, parts)
        if aim.generator:
            lines += on_generator(aim.generator, cohorts, parts)
        if training and training.critic:
            lines += on_critic(training.critic, cohorts, training.parts(parts))
        evidence = {
            "planted": planted(aim.stack, cohorts, parts),
            "canary": _canary(repeats, cohorts, parts, n) if repeats else None,
            "copies": parts.result("copies", lambda: search_copies(aim.stack, cohorts)),
            "quality": parts.result("quality", lambda: _quality(aim, cohorts, extractor)),
        }
    found |= {"power": _power(lines, cohorts), "attacks": lines, **evidence}
    found["verdicts"] = verdicts(found)
    write_json(folder / "audit.json", found)
    return found
