"""The zip file of torch.save: its records one after another, and no byte that both zipfile and torch do not read alike.

Two readers of zip files may find two files in one: so the file that torch writes of its records is made again, and must
be this one, byte for byte. Which records there are, and in which order, is left to torch's version.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Iterator

from tofgan_monai.exchange.inspection.problems import shown

MAX_RECORDS = 10_000
RESAVE = (
    "save it again: tofgan_monai.training.weights.save_weights({name: tensor.cpu().clone() for name, tensor in "
    "weights.items()}, 'models/model.pt')"
)
_RECORDS = {
    "data.pkl": rb"(?s).+",
    "version": rb"\d{1,2}\n?",
    "byteorder": rb"little",
    ".format_version": rb"\d{1,2}",
    ".storage_alignment": rb"\d{1,4}",
    ".data/serialization_id": rb"\d{1,40}",
}
_FOLDER = "archive/"  # of what is saved into a buffer; what is saved to a path has its name
_KNOWN = re.compile(rf"[^/]+/({'|'.join(map(re.escape, _RECORDS))}|data/\d+)")


class NotPlainError(ValueError):
    """What of a file is no state dict as `torch.save` writes it, and what it could do."""

    def __init__(self, what: str, could: str) -> None:
        super().__init__(what)
        self.problem = what, could


def torch_records(data: bytes) -> dict[str, bytes]:
    """The content of the records by their names, if the file has them one after another and nothing else.

    Raises:
        NotPlainError: it is any other file than `torch.save` writes into a buffer.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(names) > MAX_RECORDS:
                raise NotPlainError(f"more than {MAX_RECORDS} records", "could exhaust the memory")
            if strangers := [name for name in names if not _KNOWN.fullmatch(name)]:
                what = f"{shown(strangers[0])} in it: TorchScript, or no file of torch.save"
                raise NotPlainError(what, "could run code of its own")
            if len({*names}) != len(names):
                raise NotPlainError("two records of one name", "could be read in two ways")
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or sum(entry.file_size for entry in entries) > len(data):
                raise NotPlainError("compressed", "could unpack to more than the memory holds")
            records = {entry.filename: archive.read(entry) for entry in entries}
        if b"".join(_pieces(entries, records, data)) != data:
            raise NotPlainError("not the bytes that torch.save writes", f"could be read in two ways; {RESAVE}")
    except NotPlainError:
        raise
    except Exception as error:  # of a broken or forged file
        raise NotPlainError(
            f"no zip file of torch.save ({shown(str(error))})", "could be a pickle of any code"
        ) from error
    if {name.split("/")[0] + "/" for name in names} != {_FOLDER}:
        raise NotPlainError(f"saved as {shown(names[0].split('/')[0])}", f"could name whose they are; {RESAVE}")
    inner = {name.removeprefix(_FOLDER): content for name, content in records.items()}
    if not {"data.pkl", "version", "byteorder"} <= {*inner}:
        raise NotPlainError("records are missing", "is no file of torch.save")
    for name, content in inner.items():
        if name in _RECORDS and not re.fullmatch(_RECORDS[name], content):
            raise NotPlainError(f"its {name} is {shown(content)}", "is no file of torch.save")
    return inner


def _pieces(entries: list[zipfile.ZipInfo], records: dict[str, bytes], data: bytes) -> Iterator[bytes]:
    """The file that torch writes of records: each padded to a multiple of 64 bytes, its size and sum behind it."""
    directory, end = [], 0
    for entry in entries:
        name, content = entry.filename.encode("ascii"), records[entry.filename]
        (padding,) = struct.unpack_from("<H", data, entry.header_offset + 28)
        sizes = struct.pack("<3L", entry.CRC, len(content), len(content))
        extra = struct.pack("<2sH", b"FB", max(padding - 4, 0)) + b"Z" * min(padding - 4, 64)
        yield struct.pack("<4s5H3L2H", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, len(name), padding) + name + extra
        yield content
        yield b"PK\7\10" + sizes
        directory.append(
            struct.pack("<4s6H", b"PK\1\2", 0, 0, 0x808, 0, 0, 0)
            + sizes
            + struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, end)
            + name
        )
        end += 30 + len(name) + padding + len(content) + 16
    n, size = len(entries), sum(map(len, directory))
    yield from directory
    yield struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x31E, 45, 0, 0, n, n, size, end)
    yield struct.pack("<4sLQL", b"PK\6\7", 0, end + size, 1)
    yield struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, size, end, 0)
