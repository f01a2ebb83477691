"""Preparation of a checked cohort, which writes skull-stripped volumes on the image's own grid as NIfTI files.

The result is called a prepared folder. A bundle samples its patches from a prepared folder. The preparation and the
section `sampling` of a bundle both use `ReadScand` and `SkullStripd`. The preparation does not use the other transforms
of `sampling`, so a prepared volume keeps the grid and the orientation of its source file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from tofgan_monai.errors import InputError, unwrapped
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.volumes.cohort import FILES, cohort_path, read_splits, write_cohort
from tofgan_monai.volumes.digests import content_digest
from tofgan_monai.volumes.kinds import kind_of
from tofgan_monai.volumes.reading import ReadScand
from tofgan_monai.volumes.transforms.bias_field import BiasFieldCorrectiond
from tofgan_monai.volumes.transforms.denoise import RicianDenoised
from tofgan_monai.volumes.transforms.skull_strip import Method, SkullStripd

_RECORD = "preparation.json"


def prepare(
    cohort: str | os.PathLike,
    output: str | os.PathLike,
    *,
    skull_strip: Method = "given",
    bias_field: bool = False,
    denoise: bool = False,
    workers: int = 1,
    force: bool = False,
) -> Path:
    """Writes a prepared folder from a checked cohort; returns the path of the new cohort.json.

    Outside the brain, the image has its smallest intensity (`black` in the new cohort.json) and the label is 0. All
    files are NIfTI, and nothing is resampled. A subject that was prepared before is prepared again only if its
    source files have changed, so a stopped run can be continued. A computed mask is kept in the subject's folder. If
    somebody corrects this mask, the next run prepares the subject again with the corrected mask.

    Args:
        cohort: the cohort.json that `tofgan check` wrote, or its folder.
        output: the prepared folder to write.
        skull_strip: `given` uses the masks of the cohort; `computed` computes masks, even if the cohort has masks;
            `none` keeps the whole head and omits the masks.
        bias_field: whether the shading of the image is corrected by N4.
        denoise: whether Rician noise is removed from the image.
        workers: number of processes.
        force: whether all subjects are prepared again, also with new computed masks.

    Raises:
        InputError: subjects have problems, which the message lists (all other subjects have been prepared), or `output`
            was prepared with other settings.
    """
    output = Path(os.path.abspath(output))
    if cohort_path(cohort) == cohort_path(output):
        raise InputError(f"{output} is the folder of the cohort itself; choose another output folder")
    splits = read_splits(cohort)
    items = [item for members in splits.values() for item in members]
    settings = {"skull_strip": skull_strip, "bias_field": bias_field, "denoise": denoise}
    steps = _steps(skull_strip, bias_field=bias_field, denoise=denoise)
    before = _read(output)
    if not force and before and before != settings:
        was, now = (", ".join(f"{name} {value}" for name, value in said.items()) for said in (before, settings))
        raise InputError(f"{output} was prepared with {was}, not {now}; choose another folder, or prepare with --force")
    write_json(output / _RECORD, settings)
    task = partial(_prepare_subject, output=output, steps=steps, settings=settings, force=force)
    results = list(tqdm(_mapped(task, items, workers), "preparing", len(items), unit="volume", disable=None))
    problems = [problem for _, wrong in results for problem in wrong]
    if problems:
        raise InputError(problems)
    made = {item["subject"]: facts for item, (facts, _) in zip(items, results, strict=True)}

    def prepared(item: Mapping[str, Any]) -> dict[str, Any]:
        named = {key: item[key] for key in ("subject", "patient", "simulation") if key in item}
        return named | made[item["subject"]] | {"kind": kind_of(item)}

    return write_cohort(output, {split: list(map(prepared, members)) for split, members in splits.items()})


def _steps(skull_strip: Method, *, bias_field: bool, denoise: bool) -> Compose:
    # The mask comes first, so that the noise is estimated in the brain and N4 sees the brain alone.
    steps: list[Any] = [SkullStripd(FILES[:2], method=skull_strip, allow_missing_keys=True)]
    steps += [RicianDenoised()] if denoise else []
    steps += [BiasFieldCorrectiond()] if bias_field else []
    return Compose(steps)


def _mapped(task: Any, items: Sequence[Any], workers: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    if workers <= 1:
        yield from map(task, items)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:  # forked threads of torch may hang
        yield from pool.map(task, items)


def _prepare_subject(
    item: Mapping[str, Any], *, output: Path, steps: Compose, settings: Mapping[str, Any], force: bool
) -> tuple[dict[str, Any], list[str]]:
    """Prepares one subject; returns its files and `black` for cohort.json, and the problems if this failed."""
    try:
        return _prepared(item, output / item["subject"], steps, settings, force=force), []
    except (InputError, RuntimeError, OSError) as error:
        cause = unwrapped(error)
        if not isinstance(cause, InputError | OSError):
            raise
        lines = cause.problems if isinstance(cause, InputError) else [str(cause)]
        return {}, [line if line.startswith(item["subject"]) else f"{item['subject']}: {line}" for line in lines]


def _prepared(
    item: Mapping[str, Any], folder: Path, steps: Compose, settings: Mapping[str, Any], *, force: bool
) -> dict[str, Any]:
    method = settings["skull_strip"]
    sources = {key: item[key] for key in FILES[: 3 if method == "given" else 2] if item.get(key)}
    if method == "given" and "mask" not in sources:
        raise InputError("the cohort has no brain mask; add a mask, or use --skull-strip computed or none")
    made_from = {**settings, "label_values": item.get("label_values")}
    made_from |= {key: content_digest(path) for key, path in sources.items()}
    targets = {key: folder / f"{key}.nii.gz" for key in FILES}
    record = {} if force else _read(folder)
    whole = all(targets[key].exists() for key in [*sources, *(["mask"] if method == "computed" else [])])
    if whole and record == made_from | {"black": record.get("black")} | _mask_digest(folder):
        return {key: os.fspath(path) for key, path in targets.items() if path.exists()} | {"black": record["black"]}

    paths = dict(sources)
    # A mask in the prepared folder is used if an earlier run has computed it for the same image.
    is_own = record.get("image", made_from["image"]) == made_from["image"]
    is_own &= record.get("skull_strip", "computed") == "computed"
    if method == "computed" and is_own and not force and targets["mask"].exists():
        paths["mask"] = os.fspath(targets["mask"])
    named = {key: item[key] for key in ("subject", "label_values") if key in item}
    done = steps(ReadScand([*paths])(named | paths))
    (folder / _RECORD).unlink(missing_ok=True)
    for key in reversed(FILES):  # the mask first, as it took longest: it is kept if the rest is interrupted
        if key in done:
            _write(done[key], targets[key], key=key)
        else:
            targets[key].unlink(missing_ok=True)
    black = {"black": float(done["image"].min())}
    write_json(folder / _RECORD, made_from | black | _mask_digest(folder))
    return {key: os.fspath(targets[key]) for key in FILES if key in done} | black


def _write(volume: MetaTensor, path: Path, *, key: str) -> None:
    """Writes a volume as NIfTI; labels and masks become uint8, and an image of small whole numbers becomes int16."""
    voxels = np.asarray(volume[0])
    if key != "image":
        voxels = voxels.astype(np.uint8)
    elif np.abs(voxels).max() < 2**15 and (voxels == np.rint(voxels)).all():
        voxels = voxels.astype(np.int16)
    image = nib.Nifti1Image(voxels, np.asarray(volume.affine, float))
    image.header.set_xyzt_units("mm")
    with written_whole(path) as temporary:
        nib.save(image, temporary)


def _read(folder: Path) -> dict[str, Any]:
    """Returns the content of preparation.json in a folder; an empty dict if this file is missing or cannot be read."""
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _mask_digest(folder: Path) -> dict[str, str]:
    mask = folder / "mask.nii.gz"
    return {"own_mask": content_digest(mask)} if mask.exists() else {}
