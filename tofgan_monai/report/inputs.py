"""What a report is made of, and how it is found in a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import manifest_path

Captioned = list[tuple[str, Path]]


@dataclass
class ReportInputs:
    """Paths and words of a report; whatever is empty is left out of the page with a line that says so.

    Attributes:
        title: of the page.
        paragraphs: what was done, on whose data, simulated or not, at which scale.
        results: results.jsonl files.
        stacks: (caption, stack of pairs), in the order of the page.
        losses: (name, losses.jsonl of a training).
        figures: (caption, PNG).
    """

    title: str = "Synthetic angiography pairs: a report"
    paragraphs: list[str] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    stacks: Captioned = field(default_factory=list)
    losses: Captioned = field(default_factory=list)
    figures: Captioned = field(default_factory=list)

    def is_empty(self) -> bool:
        """Whether there is nothing to show but words."""
        return not (self.results or self.stacks or self.losses or self.figures)


def inputs_from_folder(folder: str | os.PathLike) -> ReportInputs:
    """What a folder of the layout in `tofgan_monai.report` holds.

    Raises:
        InputError: no such folder, nothing in it to report, or an about.json that is not of that form.
    """
    folder = Path(folder)
    about = _read_about(folder / "about.json")
    captions = about.get("captions", {})
    stacks = _captioned(sorted(folder.glob("pairs/*.npy")), captions, _stack_caption)
    inputs = ReportInputs(
        title=about.get("title", ReportInputs.title),
        paragraphs=about.get("paragraphs", []),
        results=sorted(folder.glob("results.jsonl")),
        stacks=sorted(stacks, key=lambda stack: not _is_real(stack[1])),
        losses=[
            (name, path / "losses.jsonl")
            for name, path in _captioned(_trainings(folder), captions, lambda path: _words(path.name))
        ],
        figures=_captioned(sorted(folder.glob("figures/*.png")), captions, _figure_caption),
    )
    if inputs.is_empty():
        raise InputError(
            f"{folder}: nothing to report; it needs at least one of results.jsonl, pairs/*.npy, train/*/losses.jsonl, "
            "figures/*.png"
        )
    return inputs


def _trainings(folder: Path) -> list[Path]:
    return [path.parent for path in sorted(folder.glob("train/*/losses.jsonl"))]


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        forms = {"title": str, "paragraphs": list, "captions": dict}
        wrong = [key for key, form in forms.items() if not isinstance(about.get(key, form()), form)]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if wrong:
        raise InputError(
            f"{path}: {', '.join(wrong)}: needs a text, a list of texts and name -> caption, in this order"
        )
    return about


def _captioned(paths: Iterable[Path], captions: dict[str, str], own: Callable[[Path], str]) -> Captioned:
    order = {name: position for position, name in enumerate(captions)}
    paths = sorted(paths, key=lambda path: order.get(path.stem, len(order)))
    return [(captions.get(path.stem) or own(path), path) for path in paths]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _manifest(stack: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(manifest_path(stack).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # told when the stack is opened
    return manifest if isinstance(manifest, dict) else {}


def _is_real(stack: Path) -> bool:
    return _manifest(stack).get("kind") in ("real", "simulated") or stack.stem.startswith("real")


def _stack_caption(stack: Path) -> str:
    return _words(stack.stem)


def _figure_caption(figure: Path) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(figure) as image:
            return str(image.info.get("Title") or _words(figure.stem))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{figure}: not a readable picture ({error}); make it again") from error
