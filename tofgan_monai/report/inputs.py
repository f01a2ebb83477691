"""The parts of a report, and how they are found in a folder."""

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
    """Files and paragraphs of a report; the page says of each empty part that it is missing.

    Attributes:
        title: title of the page.
        paragraphs: what was done, on whose data, simulated or not, at which scale.
        results: results.jsonl of the run; it has no caption.
        stacks: caption and stack of pairs, in the order of the page.
        losses: name and losses.jsonl of each training.
        figures: caption and PNG.
    """

    title: str
    paragraphs: list[str]
    results: Captioned
    stacks: Captioned
    losses: Captioned
    figures: Captioned


@contextmanager
def collected(problems: list[str], path: Path) -> Iterator[None]:
    """Context that adds an error in reading a file to a list of problems, so that all are raised together."""
    try:
        yield
    except InputError as error:
        problems += error.problems
    except (OSError, ValueError, KeyError) as error:
        problems.append(f"{path}: cannot be read ({error}); make it again, or remove it")


def inputs_from_folder(folder: str | os.PathLike) -> ReportInputs:
    """The parts of a report in a folder; see `tofgan_monai.report` for the names of its files.

    Raises:
        InputError: there is no such folder, it holds nothing to report, or its about.json has another form.
    """
    folder = Path(folder)
    about = _read_about(folder / "about.json")
    order = {name: position for position, name in enumerate(about.get("captions", {}))}

    def captioned(pattern: str, name: Callable[[Path], str], caption: Callable[[Path], str] | None = None) -> Captioned:
        paths = sorted(sorted(folder.glob(pattern)), key=lambda path: order.get(name(path), len(order)))
        own = caption or (lambda path: name(path).replace("_", " "))
        return [(about.get("captions", {}).get(name(path)) or own(path), path) for path in paths]

    stacks = captioned("pairs/*.npy", _stem)
    inputs = ReportInputs(
        title=about.get("title", "Synthetic angiography pairs: a report"),
        paragraphs=about.get("paragraphs", []),
        results=[("", path) for path in folder.glob("results.jsonl")],
        stacks=sorted(stacks, key=lambda stack: not _is_real(stack[1])),
        losses=captioned("train/*/losses.jsonl", lambda path: path.parent.name),
        figures=captioned("figures/*.png", _stem, _figure_caption),
    )
    if not (inputs.results or inputs.stacks or inputs.losses or inputs.figures):
        raise InputError(
            f"{folder}: nothing to report; the folder needs at least one of results.jsonl, pairs/*.npy, "
            "train/*/losses.jsonl and figures/*.png"
        )
    return inputs


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        forms = {"title": str, "paragraphs": list, "captions": dict}
        wrong = [key for key, form in forms.items() if not isinstance(about.get(key, form()), form)]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not readable as a JSON object ({error}); mend it, or remove it") from error
    if wrong:
        raise InputError(
            f"{path}: {', '.join(wrong)}: title must be a text, paragraphs a list of texts, captions an object of "
            "name and caption"
        )
    return about


def _stem(path: Path) -> str:
    return path.stem


def _is_real(stack: Path) -> bool:
    """True for a stack of patients' pairs, simulated patients included."""
    try:
        kind = json.loads(manifest_path(stack).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError):
        kind = None  # the error is raised when the stack is opened
    return kind in ("real", "simulated") or stack.stem.startswith("real")


def _figure_caption(figure: Path) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(figure) as image:
            return str(image.info.get("Title") or figure.stem.replace("_", " "))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{figure}: not a readable picture ({error}); make it again") from error
