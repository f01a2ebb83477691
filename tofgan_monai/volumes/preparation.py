"""Volumes made ready: a cohort prepared into a folder of masked volumes, and that folder's pairs in a stack."""

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
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Compose
from tqdm import tqdm

from tofgan_monai.errors import InputError, unwrapped
from tofgan_monai.files import write_json, written_whole
from tofgan_monai.volumes.cohort import UNSPLIT, cohort_path, read_cohort, write_cohort
from tofgan_monai.volumes.digests import content_digest
from tofgan_monai.volumes.splits import SPLITS
from tofgan_monai.volumes.transforms.bias_field import BiasFieldCorrectiond
from tofgan_monai.volumes.transforms.denoise import RicianDenoised
from tofgan_monai.volumes.transforms.skull_strip import Method, SkullStripd
from tofgan_monai.volumes.volume import binary_label, geometry_differences, load_volume

_KEYS = ("image", "label", "mask")
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
    """The cohort.json of the prepared folder: a folder a subject with image, label and mask on the input's own grid.

    Image and label are 0 outside the brain, all are NIfTI. Nothing is resampled or turned. A subject that is prepared
    already, from the same files by content, is left as it is, so a run that was stopped goes on. A computed mask stays
    in the subject's folder; where it was corrected by hand since, the subject is prepared again with it.

    Args:
        cohort: cohort.json or its folder, as `tofgan check` wrote it.
        output: the prepared folder.
        skull_strip: `given` takes the cohort's masks, `computed` computes them (even where the cohort has some), `none`
            leaves head and all, and the masks out.
        bias_field: correct the image's shading by N4.
        denoise: rid the image of Rician noise.
        workers: processes.
        force: prepare everything anew, masks and all.

    Raises:
        InputError: what is wrong with the subjects (the others are prepared by then), or `output` was prepared in
            another way.
    """
    output = Path(os.path.abspath(output))
    if cohort_path(cohort) == cohort_path(output):
        raise InputError(f"{output}: holds the cohort itself; choose another output folder")
    items = read_cohort(cohort, "all")
    settings = {"skull_strip": skull_strip, "bias_field": bias_field, "denoise": denoise}
    steps = _steps(skull_strip, bias_field=bias_field, denoise=denoise)
    if not force:
        _refuse_other_settings(output, settings)
    write_json(output / _RECORD, settings)
    task = partial(_prepare_subject, output=output, steps=steps, settings=settings, force=force)
    results = list(tqdm(_mapped(task, items, workers), "preparing", len(items), unit="volume", disable=None))
    problems = [problem for _, wrong in results for problem in wrong]
    if problems:
        raise InputError(problems)
    prepared = {
        item["subject"]: {key: item[key] for key in ("subject", "patient", "simulated") if key in item} | files
        for item, (files, _) in zip(items, results, strict=True)
    }
    present = json.loads(cohort_path(cohort).read_text(encoding="utf-8"))
    splits = {split: read_cohort(cohort, split) for split in (*SPLITS, UNSPLIT) if split in present}
    kept = {split: [prepared[item["subject"]] for item in members] for split, members in splits.items()}
    return write_cohort(output, kept)


def _steps(skull_strip: Method, *, bias_field: bool, denoise: bool) -> Compose:
    # The mask comes first: the noise is then judged within the brain, and N4 sees nothing but brain.
    steps: list[Any] = [SkullStripd(_KEYS[:2], method=skull_strip, allow_missing_keys=True)]
    steps += [RicianDenoised()] if denoise else []
    steps += [BiasFieldCorrectiond()] if bias_field else []
    return Compose(steps)


def _refuse_other_settings(output: Path, settings: Mapping[str, Any]) -> None:
    record = output / _RECORD
    before = json.loads(record.read_text(encoding="utf-8")) if record.exists() else settings
    if before != settings:
        raise InputError(
            f"{output}: was prepared with {_said(before)}, not {_said(settings)}; choose another folder, or --force to "
            "prepare it all anew"
        )


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _mapped(task: Any, items: Sequence[Any], workers: int) -> Iterator[tuple[dict[str, str], list[str]]]:
    if workers <= 1:
        yield from map(task, items)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:  # forked threads of torch may hang
        yield from pool.map(task, items)


def _prepare_subject(
    item: Mapping[str, Any], *, output: Path, steps: Compose, settings: Mapping[str, Any], force: bool
) -> tuple[dict[str, str], list[str]]:
    """The files of one prepared subject by key, and what was wrong instead."""
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
) -> dict[str, str]:
    computed = settings["skull_strip"] == "computed"
    keys = _KEYS if settings["skull_strip"] == "given" else _KEYS[:2]
    sources = {key: item[key] for key in keys if item.get(key)}
    if settings["skull_strip"] == "given" and "mask" not in sources:
        raise InputError("no brain mask in the cohort; add one, or skull-strip with computed or none")
    made_from = {**settings, "label_values": item.get("label_values")}
    made_from |= {key: content_digest(path) for key, path in sources.items()}
    targets = {key: folder / f"{key}.nii.gz" for key in _KEYS}
    record = {} if force else _record_of(folder)
    whole = all(targets[key].exists() for key in [*sources, *(["mask"] if computed else [])])
    if whole and record == made_from | _mask_digest(folder):
        return {key: os.fspath(path) for key, path in targets.items() if path.exists()}

    volumes = _loaded(item, sources)
    own = (
        record.get("image", made_from["image"]) == made_from["image"]
        and record.get("skull_strip", "computed") == "computed"
    )
    if computed and own and not force and targets["mask"].exists():
        volumes |= _loaded(item, {"mask": os.fspath(targets["mask"])})
    done = steps({"subject": item["subject"], **volumes})
    (folder / _RECORD).unlink(missing_ok=True)
    for key in reversed(_KEYS):  # the mask first: what took long is kept when the rest is interrupted
        if key in done:
            _write(done[key], targets[key], key=key)
        else:
            targets[key].unlink(missing_ok=True)
    write_json(folder / _RECORD, made_from | _mask_digest(folder))
    return {key: os.fspath(targets[key]) for key in _KEYS if key in done}


def _loaded(item: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, MetaTensor]:
    """Volumes (1, X, Y, Z) by key, the label and the mask binary."""
    loaded: dict[str, MetaTensor] = {}
    grid = None
    for key, path in paths.items():
        try:
            volume = load_volume(path)
            voxels = volume.voxels if key == "image" else (volume.voxels > 0).astype(np.uint8)
            if key == "label":
                voxels = binary_label(volume.voxels, item.get("label_values"))
        except InputError as error:
            raise InputError([f"{path}: {problem}" for problem in error.problems]) from error
        grid = grid or (voxels.shape, volume.affine)
        differences = geometry_differences((voxels.shape, volume.affine), grid, "the image's")
        if differences:
            raise InputError([f"{path}: {difference}" for difference in differences])
        loaded[key] = MetaTensor(
            torch.from_numpy(np.ascontiguousarray(voxels)[None]), affine=torch.from_numpy(volume.affine)
        )
    return loaded


def _write(volume: MetaTensor, path: Path, *, key: str) -> str:
    """Writes a volume as NIfTI; an image of whole numbers as int16, which loses nothing and is half as large."""
    voxels = np.asarray(volume[0])
    if key == "image" and np.abs(voxels).max() < 2**15 and (voxels == np.rint(voxels)).all():
        voxels = voxels.astype(np.int16)
    image = nib.Nifti1Image(voxels, np.asarray(volume.affine, float))
    image.header.set_xyzt_units("mm")
    with written_whole(path) as temporary:
        nib.save(image, temporary)
    return os.fspath(path)


def _record_of(folder: Path) -> dict[str, Any]:
    """What the subject was prepared from; empty where it was not, or not wholly."""
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _mask_digest(folder: Path) -> dict[str, str]:
    mask = folder / "mask.nii.gz"
    return {"own_mask": content_digest(mask)} if mask.exists() else {}
