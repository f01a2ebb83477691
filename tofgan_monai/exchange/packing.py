"""Packs a bundle's folder into one archive, or refuses if the folder holds something that must not leave the clinic."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.archive import NAME, VERSION, Content, write
from tofgan_monai.exchange.checks import check_files
from tofgan_monai.exchange.data_card import as_text, check_card, declared, patients_behind, with_present_names
from tofgan_monai.exchange.inspection.problems import Problem, shown
from tofgan_monai.exchange.layout import AUDIT, CARD, MANIFEST, METADATA, TENSORS, WEIGHTS, check_layout
from tofgan_monai.exchange.leaks import leaks
from tofgan_monai.exchange.release import audit_of_weights, cleared, is_cleared
from tofgan_monai.exchange.signatures import sign, signature_path
from tofgan_monai.files import write_whole
from tofgan_monai.training.foreign_weights import is_state_dict
from tofgan_monai.training.weights import load_weights, to_safetensors


def pack(
    bundle: Path,
    archive: str | os.PathLike,
    *,
    data: str | None = None,
    audit: str | os.PathLike | None = None,
    despite: str | None = None,
    key: str | os.PathLike | None = None,
) -> Path:
    """Writes the archive of a bundle, and returns the path of the archive; the same files give the same bytes.

    The tensors in models/model.pt are written as models/model.safetensors; nothing else of models/model.pt is written.

    Args:
        bundle: folder of the bundle; the name of the folder is the name of the bundle in the archive.
        archive: path of the archive, which ends in .zip; or a folder, in which the archive is called
            BUNDLE-VERSION.zip.
        data: kind of the data that the weights have seen (`simulated`, `synthetic` or `real`), if the data card of the
            bundle does not state it.
        audit: folder or audit.json of an audit of these weights. Weights that were trained on patients, or on pairs of
            a generator that was, need an audit that has passed. The summary of the audit is written into the data
            card, and its figures into docs/audit.json.
        despite: reason of a person who releases such weights without a passed audit; written into the data card.
        key: file of a private OpenSSH key; if given, the signature of the archive is written to ARCHIVE.sig.

    Raises:
        InputError: something must not leave the clinic, or the receiver would refuse it; all problems are listed, and
            nothing is written.
    """
    if not NAME.fullmatch(bundle.name):
        what = "a bundle's name has only plain letters, digits, _ and -, and is no device of Windows; rename the folder"
        raise InputError(f"{bundle}: {what}")
    files = _files(bundle)
    digest = hashlib.sha256(files[TENSORS]).hexdigest()
    files = with_present_names(files, bundle / WEIGHTS, digest)
    if data is not None:
        files[CARD] = as_text(declared(bundle, data, digest))
    _raise(bundle, [*check_files(files), *(leak for name, text in files.items() for leak in leaks(name, text))])
    files = _audited(bundle, files, audit, despite)
    version = json.loads(files[METADATA])["version"]
    if not VERSION.fullmatch(version):
        raise InputError(f"{bundle.name}/{METADATA}: cannot use version {shown(version)}; give one like 0.1.0")
    target = Path(archive)
    if target.is_dir():
        target /= f"{bundle.name}-{version}.zip"
    if target.suffix != ".zip":
        raise InputError(f"{target}: an archive's name ends in .zip")
    packed = write(Content(bundle.name, version, files))
    signature = sign(packed, key) if key is not None else None
    signature_path(target).unlink(missing_ok=True)  # it would belong to an older archive
    write_whole(target, packed)
    if signature is not None:
        write_whole(signature_path(target), signature)
    return target


def _files(folder: Path) -> dict[str, bytes]:
    """Reads the files of a bundle for the archive: a dict from path in the archive to content.

    The weights are in the dict as models/model.safetensors, and the manifest is left out.

    Raises:
        InputError: the folder holds a link, or a file that does not belong to a bundle (then no file was read); or the
            weights are not a bare state dict.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    paths.pop(MANIFEST, None)  # of an installed bundle; the archive gets a new one
    links = [name for name, path in paths.items() if path.is_symlink()]
    problems = [
        *check_layout(paths, WEIGHTS, required=()),
        *(
            Problem(name, 0, "is a link", "could bring in any file; replace the link by the file itself")
            for name in links
        ),
    ]
    _raise(folder, problems)
    weights = load_weights(paths[WEIGHTS])
    if not is_state_dict(weights):
        could = "could hold an optimiser's state, a critic, or data; `tofgan adopt` takes the network alone"
        _raise(folder, [Problem(WEIGHTS, 0, "is not a bare state dict", could)])
    files = {name: path.read_bytes() for name, path in paths.items() if name != WEIGHTS}
    return {**files, TENSORS: to_safetensors(weights)}


def _audited(
    bundle: Path, files: dict[str, bytes], path: str | os.PathLike | None, despite: str | None
) -> dict[str, bytes]:
    """Writes the outcome of an audit into the data card and docs/audit.json; returns the files of the bundle.

    Args:
        bundle: folder of the bundle.
        files: dict from path in the archive to content.
        path: folder or audit.json of the audit; None if there is none.
        despite: reason of a person for a release without a passed audit; None if there is none.

    Raises:
        InputError: the weights need a passed audit or a reason and have neither; or the audit is about other weights or
            other patients.
    """
    card = json.loads(files[CARD])
    entry = card["weights"][WEIGHTS]
    behind = patients_behind(entry["seen"], bundle)
    if path is None and despite is None and (is_cleared(entry["audit"]) or not behind):
        return files  # check_files has checked the audit in the bundle
    audit, release = audit_of_weights(path, entry["sha256"]) if path is not None else (None, "generator")
    remedy = "give one that passed (tofgan audit, then --audit), or --despite REASON, which goes into the data card"
    entry["audit"] = cleared(audit, release, despite, behind=behind, remedy=remedy)
    changed = {CARD: as_text(card)} | ({AUDIT: as_text(audit.figures)} if audit else {})
    leaking = (leak for name, text in changed.items() for leak in leaks(name, text))
    _raise(bundle, [*check_card(changed[CARD], entry["sha256"], changed.get(AUDIT)), *leaking])
    return {name: data for name, data in files.items() if name not in (CARD, AUDIT)} | changed


def _raise(bundle: Path, problems: list[Problem]) -> None:
    """Raises an InputError that lists the problems of a bundle, if there are any."""
    if problems:
        raise InputError([f"{bundle.name}/{problem}" for problem in dict.fromkeys(problems)])
