"""Lists the files that belong to a bundle, and the reasons why all other files must not leave the clinic."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tofgan_monai.exchange.inspection.bundle import LOGGING, METADATA
from tofgan_monai.exchange.inspection.problems import Problem, shown

WEIGHTS = "models/model.pt"  # in a folder, where MONAI looks for them
TENSORS = "models/model.safetensors"  # the same weights in an archive
INFERENCE, CARD, MANIFEST = "configs/inference.yaml", "docs/data_card.json", "manifest.json"
AUDIT = "docs/audit.json"  # figures of an audit that may leave the clinic, see audit/record.py
README = "docs/README.md"
REQUIRED = (METADATA, INFERENCE, CARD, "LICENSE")

DEVICE = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])"  # Windows gives these names to devices, so no file can have them
_BELONGS = re.compile(
    rf"(?!.*\b{DEVICE}\.)"
    r"(LICENSE|manifest\.json|docs/(data_card|audit)\.json|docs/[A-Za-z0-9_-]+\.(md|txt)"
    rf"|{re.escape(LOGGING)}|configs/[A-Za-z0-9_-]+\.(ya?ml|json))"
)
_STAYS = (
    (rf"(^|/){DEVICE}\.", "a device of Windows", "could not be written on Windows; rename the file"),
    (r"(^|/)scripts/|\.(py[a-z]?|ipynb|sh|so|dll|exe|bat|pth)$", "code", "would run with the reader's rights"),
    (r"\.(ts|torchscript|onnx|engine|plan)$", "a compiled network", "is code; give a state dict in models/model.pt"),
    (r"events\.out\.tfevents|(^|/)tensorboard/", "a TensorBoard log", "can show patches of patients"),
    (r"(^|/)(pairs_|real|.*\.np[yz]$)", "a stack of pairs", "can hold images of patients"),
    (r"\.(nii(\.gz)?|dcm|mha|mhd|nrrd)$|(^|/)prepared/", "training data", "is the volume of a patient"),
    (r"(^|/)cohort\.json$|preparation\.json$|participants\.tsv$", "a list of patients", "names patients and paths"),
    (r"checkpoint[^/]*$", "a checkpoint", "holds the optimisers and the critic, which has seen patients"),
    (
        rf"^{re.escape(WEIGHTS)}$",
        "a pickle in place of models/model.safetensors",
        "could be any code; ask the sender to make the archive with `tofgan pack`",
    ),
    (
        r"\.(pt|pth|ckpt|pkl|pickle|bin|safetensors)$",
        "other weights",
        "could be a critic, which has seen patients; only models/model.pt, the network of inference.yaml, is released",
    ),
    (r"\.(jsonl|csv|html|png|jpe?g|svg|gif|tiff?)$", "a result or a picture", "can show patients or name them"),
)


def check_layout(names: Iterable[str], weights: str, required: Iterable[str] = REQUIRED) -> list[Problem]:
    """Returns a problem for each file that does not belong to a bundle, and for each file that is missing.

    Args:
        names: paths of the files in the bundle.
        weights: path of the weights, which must be there: `WEIGHTS` in a folder, `TENSORS` in an archive.
        required: paths of the other files that must be there.
    """
    names = list(names)
    strangers = [name for name in names if name != weights and not _BELONGS.fullmatch(name)]
    missing = [name for name in (*required, weights) if name not in names]
    return [
        *(Problem(shown(name)[1:-1], 0, *_reason(name)) for name in strangers),
        *(Problem(name, 0, "is missing", "a bundle needs this file") for name in missing),
    ]


def _reason(name: str) -> tuple[str, str]:
    """Returns the kind of a file that does not belong to a bundle, and the reason why it is not accepted."""
    for pattern, what, why in _STAYS:
        if re.search(pattern, name, re.IGNORECASE):
            return f"is {what}, which is no part of a bundle", why
    return "is no part of a bundle", "could be anything; move it out of the bundle's folder"
