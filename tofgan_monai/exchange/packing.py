"""A bundle's folder made into one archive, if nothing in it must stay at home."""

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
from tofgan_monai.files import written_whole
from tofgan_monai.training.weights import is_state_dict, load_weights, to_safetensors


def pack(
    bundle: Path,
    archive: str | os.PathLike,
    *,
    data: str | None = None,
    audit: str | os.PathLike | None = None,
    despite: str | None = None,
    key: str | os.PathLike | None = None,
) -> Path:
    """The path of the archive of a bundle; the same files make the same bytes.

    The weights of models/model.pt travel as models/model.safetensors, and nothing else of that file travels.

    Args:
        bundle: the bundle's folder, whose name the bundle keeps.
        archive: a name that ends in .zip, or a folder for BUNDLE-VERSION.zip.
        data: which kind of data the weights have seen (simulated, synthetic, real), if no card of theirs tells it.
        audit: folder or audit.json of an audit of these weights. Weights that may tell of patients need one that has
            passed. Its summary goes into the card, its figures go to docs/audit.json.
        despite: why a person releases such weights without a passed audit; goes into the card.
        key: a private key of OpenSSH: the signature goes beside the archive, to ARCHIVE.sig.

    Raises:
        InputError: everything that must not leave, or that the other side would refuse; then nothing is written.
    """
    if not NAME.fullmatch(bundle.name):
        what = "a bundle's name is of plain letters, digits, _ and -, and no device of Windows; rename the folder"
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
        raise InputError(f"{bundle.name}/{METADATA}: version {shown(version)}; give one like 0.1.0")
    target = Path(archive)
    if target.is_dir():
        target /= f"{bundle.name}-{version}.zip"
    if target.suffix != ".zip":
        raise InputError(f"{target}: an archive's name ends in .zip")
    packed = write(Content(bundle.name, version, files))
    signature = sign(packed, key) if key is not None else None
    signature_path(target).unlink(missing_ok=True)  # it would be of an older archive
    for path, content in ((target, packed), (signature_path(target), signature)):
        if content is not None:
            with written_whole(path) as temporary:
                temporary.write_bytes(content)
    return target


def _files(folder: Path) -> dict[str, bytes]:
    """The files of the archive: those of a folder that is a bundle and nothing else, the weights as safetensors.

    Raises:
        InputError: something else lies in the folder; then no file was read.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    paths.pop(MANIFEST, None)  # of a bundle that was installed; the archive gets its own
    links = [name for name, path in paths.items() if path.is_symlink()]
    problems = [
        *check_layout(paths, WEIGHTS, required=()),
        *(Problem(name, 0, "a link", "could bring in any file; put the file itself there") for name in links),
    ]
    _raise(folder, problems)
    weights = load_weights(paths[WEIGHTS])
    if not is_state_dict(weights):
        could = "could hold an optimiser's state, a critic, or data; `tofgan adopt` takes the network out of it"
        _raise(folder, [Problem(WEIGHTS, 0, "not a bare state dict", could)])
    files = {name: path.read_bytes() for name, path in paths.items() if name != WEIGHTS}
    return {**files, TENSORS: to_safetensors(weights)}


def _audited(
    bundle: Path, files: dict[str, bytes], path: str | os.PathLike | None, despite: str | None
) -> dict[str, bytes]:
    """The files, with the outcome of an audit in the card and its figures beside it.

    Raises:
        InputError: the weights need a passed audit or a person's reason, and have neither.
    """
    card = json.loads(files[CARD])
    entry = card["weights"][WEIGHTS]
    behind = patients_behind(entry["seen"], bundle)
    if path is None and despite is None and (is_cleared(entry["audit"]) or not behind):
        return files  # check_files has judged the audit that came with the bundle anew
    audit, release = audit_of_weights(path, entry["sha256"]) if path is not None else (None, "generator")
    remedy = "give one that passed (tofgan audit, then --audit), or --despite REASON, which goes into the data card"
    entry["audit"] = cleared(audit, release, despite, behind=behind, remedy=remedy)
    changed = {CARD: as_text(card)} | ({AUDIT: as_text(audit.figures)} if audit else {})
    leaking = (leak for name, text in changed.items() for leak in leaks(name, text))
    _raise(bundle, [*check_card(changed[CARD], entry["sha256"], changed.get(AUDIT)), *leaking])
    return {name: data for name, data in files.items() if name not in (CARD, AUDIT)} | changed


def _raise(bundle: Path, problems: list[Problem]) -> None:
    if problems:
        raise InputError([f"{bundle.name}/{problem}" for problem in dict.fromkeys(problems)])
