"""Finds the files and texts of a report in a folder. A stack is a .npy file of image-label pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tofgan_monai.errors import InputError
from tofgan_monai.pairs.stack import manifest_path

Captioned = list[tuple[str, Path]]


@dataclass(frozen=True)
class ReportInputs:
    """The files and paragraphs of a report. If a part is empty, the page says that this part is missing.

    Attributes:
        title: title of the page.
        paragraphs: texts that say what was done, on whose data (simulated or not) and at which scale.
        results: path of the run's results.jsonl; None if there is no such file.
        stacks: (caption, path) of each stack of pairs, in the order of the page.
        losses: (name, path of losses.jsonl) of each training run.
        figures: (caption, path) of each PNG.
        errors: (caption, path) of the first error map that is there as a label, too: NAME.nii.gz beside NAME.png.
    """

    title: str
    paragraphs: list[str]
    results: Path | None
    stacks: Captioned
    losses: Captioned
    figures: Captioned
    errors: Captioned


@contextmanager
def collected(problems: list[str], path: Path) -> Iterator[None]:
    """Context manager that catches an exception while a file is read and adds its message to a list.

    The caller can then read the other files and raise one InputError with all messages.

    Args:
        problems: the list to which messages are added.
        path: the file that is read; messages begin with it.
    """
    try:
        yield
    except InputError as error:
        problems += error.problems
    except (OSError, ValueError, KeyError) as error:
        problems.append(f"{path}: the file cannot be read ({error}); make it again, or remove it")


def inputs_from_folder(folder: str | os.PathLike) -> ReportInputs:
    """Finds the files of a report in a folder; see `tofgan_monai.report` for their names.

    Raises:
        InputError: the folder does not exist, it holds nothing to report, or its about.json has a wrong form.
    """
    folder = Path(folder)
    about = _read_about(folder / "about.json")
    order = {name: position for position, name in enumerate(about.get("captions", {}))}

    def captioned(pattern: str, name: Callable[[Path], str], caption: Callable[[Path], str] | None = None) -> Captioned:
        """Returns (caption, path) of the files that match a pattern, in the order of about.json."""
        paths = sorted(sorted(folder.glob(pattern)), key=lambda path: order.get(name(path), len(order)))
        own = caption or (lambda path: name(path).replace("_", " "))
        return [(about.get("captions", {}).get(name(path)) or own(path), path) for path in paths]

    stacks = captioned("pairs/*.npy", _stem)
    folders = ("figures", "error_maps")
    figures = [one for name in folders for one in captioned(f"{name}/*.png", _stem, _figure_caption)]
    errors = [(caption, path.with_suffix(".nii.gz")) for caption, path in figures]
    inputs = ReportInputs(
        title=about.get("title", "Synthetic angiography pairs: a report"),
        paragraphs=about.get("paragraphs", []),
        results=next(folder.glob("results.jsonl"), None),
        stacks=sorted(stacks, key=lambda stack: not _is_real(stack[1])),
        losses=captioned("train/*/losses.jsonl", lambda path: path.parent.name),
        figures=figures,
        errors=[(caption, path) for caption, path in errors if path.exists()][:1],
    )
    if not (inputs.results or inputs.stacks or inputs.losses or inputs.figures):
        raise InputError(
            f"{folder}: the folder holds nothing to report; it needs at least one of results.jsonl, pairs/*.npy, "
            "train/*/losses.jsonl, figures/*.png and error_maps/*.png"
        )
    return inputs


def _read_about(path: Path) -> dict[str, Any]:
    """Reads an about.json; returns an empty dict if there is none, and raises InputError if its form is wrong."""
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        forms = {"title": str, "paragraphs": list, "captions": dict}
        wrong = [key for key, form in forms.items() if not isinstance(about.get(key, form()), form)]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: the file is not a JSON object ({error}); correct it, or remove it") from error
    if wrong:
        raise InputError(
            f"{path}: wrong type of {', '.join(wrong)}; `title` must be a text, `paragraphs` a list of texts, and "
            "`captions` an object from name to caption"
        )
    return about


def _stem(path: Path) -> str:
    """Returns the name of a file without its suffix."""
    return path.stem


def _is_real(stack: Path) -> bool:
    """Whether a stack holds pairs of patients (real or simulated), not pairs that a generator made."""
    try:
        kind = json.loads(manifest_path(stack).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        kind = None  # the error is raised when the stack is opened
    return kind in ("real", "simulated") or stack.stem.startswith("real")


def _figure_caption(figure: Path) -> str:
    """Returns the Title in the metadata of a PNG, or its file name if there is no Title."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(figure) as image:
            return str(image.info.get("Title") or figure.stem.replace("_", " "))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{figure}: the picture cannot be read ({error}); make it again") from error
