"""Which files make a bundle, and why all others stay at home."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tofgan_monai.exchange.inspection.problems import Problem, shown

METADATA, LOGGING, WEIGHTS = "configs/metadata.json", "configs/logging.conf", "models/model.pt"
INFERENCE, CARD, MANIFEST = "configs/inference.yaml", "docs/data_card.json", "manifest.json"
AUDIT = "docs/audit.json"  # figures of an audit, no more: see privacy/evidence.py
REQUIRED = (METADATA, INFERENCE, WEIGHTS, CARD, "LICENSE")

DEVICE = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])"  # which no file of Windows can be called
_BELONGS = re.compile(
    rf"(?!.*\b{DEVICE}\.)"
    r"(LICENSE|manifest\.json|models/model\.pt|docs/(data_card|audit)\.json|docs/[A-Za-z0-9_-]+\.(md|txt)"
    r"|configs/(logging\.conf|metadata\.json|[A-Za-z0-9_-]+\.(ya?ml|json)))"
)
_STAYS = (
    (rf"(^|/){DEVICE}\.", "a device of Windows", "could not be written there; rename it"),
    (r"(^|/)scripts/|\.(py[a-z]?|ipynb|sh|so|dll|exe|bat|pth)$", "code", "would run in the reader's name"),
    (r"\.(ts|torchscript|onnx|engine|plan)$", "a compiled network", "is code; give a state dict in models/model.pt"),
    (r"events\.out\.tfevents|(^|/)tensorboard/", "a TensorBoard log", "can show patients' patches"),
    (r"(^|/)(pairs_|real|.*\.np[yz]$)", "a stack of pairs", "can be patients' images"),
    (r"\.(nii(\.gz)?|dcm|mha|mhd|nrrd)$|(^|/)prepared/", "training data", "is a patient's volume"),
    (r"(^|/)cohort\.json$|preparation\.json$|participants\.tsv$", "a list of patients", "names them and their paths"),
    (r"checkpoint[^/]*$", "a checkpoint", "has the optimisers and the critic, which has seen patients"),
    (r"\.(pt|pth|ckpt|pkl|pickle|bin|safetensors)$", "other weights", "only models/model.pt leaves, the generator's"),
    (r"\.(jsonl|csv|html|png|jpe?g|svg|gif|tiff?)$", "a result or a picture", "can show patients or name them"),
)


def check_layout(names: Iterable[str], required: Iterable[str] = REQUIRED) -> list[Problem]:
    """The files that do not belong into a bundle, by their names, and those that are missing."""
    names = list(names)
    strangers = [name for name in names if not _BELONGS.fullmatch(name)]
    missing = [name for name in required if name not in names]
    return [
        *(Problem(shown(name)[1:-1], 0, *_reason(name)) for name in strangers),
        *(Problem(name, 0, "missing", "without it this is no bundle") for name in missing),
    ]


def _reason(name: str) -> tuple[str, str]:
    for pattern, what, why in _STAYS:
        if re.search(pattern, name, re.IGNORECASE):
            return f"{what}, no part of a bundle", why
    return "no part of a bundle", "nobody has looked at what it could be; move it out of the bundle's folder"


def config_names(names: Iterable[str]) -> list[str]:
    """Those that MONAI reads as configurations, sorted."""
    configs = (name for name in names if name.startswith("configs/") and name not in (METADATA, LOGGING))
    return sorted(configs)
