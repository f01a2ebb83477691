"""A bundle's folder made into one archive, if nothing in it must stay at home."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tofgan_monai.errors import InputError
from tofgan_monai.exchange.archive import NAME, VERSION, Content, write
from tofgan_monai.exchange.checks import check_files
from tofgan_monai.exchange.data_card import as_text, declared
from tofgan_monai.exchange.layout import CARD, MANIFEST, METADATA, WEIGHTS, check_layout
from tofgan_monai.exchange.leaks import leaks
from tofgan_monai.exchange.problems import Problem, shown
from tofgan_monai.exchange.signatures import sign, signature_path
from tofgan_monai.files import written_whole


def pack(
    bundle: Path,
    archive: str | os.PathLike,
    *,
    data: str | None = None,
    key: str | os.PathLike | None = None,
) -> Path:
    """The path of the archive of a bundle; the same files make the same bytes.

    Args:
        bundle: the bundle's folder, whose name the bundle keeps.
        archive: a name that ends in .zip, or a folder for BUNDLE-VERSION.zip.
        data: which kind of data the weights have seen (simulated, synthetic, real), where no card of theirs says it.
        key: a private key of OpenSSH: the signature goes beside the archive, to ARCHIVE.sig.

    Raises:
        InputError: everything that must not leave, or that the other side would refuse; then nothing is written.
    """
    if not NAME.fullmatch(bundle.name):
        raise InputError(
            f"{bundle}: a bundle's name is of plain letters, digits, _ and -, no device of Windows; rename the folder"
        )
    files = _files(bundle)
    if data is not None and WEIGHTS in files:
        files[CARD] = as_text(declared(bundle, data, files[WEIGHTS]))
    problems = [*check_files(files), *(leak for name, text in files.items() for leak in leaks(name, text))]
    if problems:
        raise InputError([f"{bundle.name}/{problem}" for problem in dict.fromkeys(problems)])
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
    signature_path(target).unlink(missing_ok=True)  # of another archive
    with written_whole(target) as temporary:
        temporary.write_bytes(packed)
    if signature is not None:
        with written_whole(signature_path(target)) as temporary:
            temporary.write_bytes(signature)
    return target


def _files(folder: Path) -> dict[str, bytes]:
    """The content of the files of a folder that is a bundle and nothing else, none of which was read before that."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    paths.pop(MANIFEST, None)  # of a bundle that was installed: the archive has its own
    problems = [
        *check_layout(paths, required=()),
        *(Problem(name, 0, "a link", "could bring in any file") for name, path in paths.items() if path.is_symlink()),
    ]
    if problems:
        raise InputError([f"{folder.name}/{problem}" for problem in problems])
    return {name: path.read_bytes() for name, path in paths.items()}
