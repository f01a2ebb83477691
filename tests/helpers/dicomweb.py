"""A DICOMweb archive in this process, for tests: it keeps files in memory and can fail in many ways."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pydicom

BOUNDARY = b"a boundary of the stub"


@dataclass
class Stub:
    """The archive's files, and how it fails.

    Attributes:
        files: the bytes of the DICOM files, in the order in which they came.
        login: user and password that it asks for; None: everybody may do all.
        cut_at: number of bytes of a series after which it ends the connection.
        left_out: number of images of a series that it lists but does not send.
        fails: status of every answer, in place of the answer.
        refuses: whether it refuses what is stored, in a polite answer.
        asked: method and path of all requests.
    """

    files: list[bytes] = field(default_factory=list)
    login: tuple[str, str] | None = None
    cut_at: int | None = None
    left_out: int = 0
    fails: int | None = None
    refuses: bool = False
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def take(self, folder: Path) -> None:
        self.files += [path.read_bytes() for path in sorted(folder.iterdir())]

    def headers(self) -> list[pydicom.Dataset]:
        return [pydicom.dcmread(BytesIO(one), stop_before_pixels=True) for one in self.files]


@contextmanager
def archive(**how: object) -> Iterator[Stub]:
    """Runs an archive on a free port of this machine; see `Stub` for how it fails."""
    stub = Stub(**how)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(self._get)

        def do_POST(self) -> None:
            self._answer(self._post)

        def _answer(self, act) -> None:
            body = self._body()
            stub.asked.append(f"{self.command} {self.path}")
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if stub.login and given != base64.b64encode(":".join(stub.login).encode()).decode():
                self._send(401, b"")
            elif stub.fails:
                self._send(stub.fails, b"")
            else:
                act(body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _send(self, status: int, body: bytes, kind: str = "application/dicom+json", cut: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            self.close_connection = cut is not None

        def _get(self, _: bytes) -> None:
            parts = urlsplit(self.path)
            offset = int(parse_qs(parts.query).get("offset", ["0"])[0])
            if match := re.fullmatch(r"/web/studies/([\d.]+)/series", parts.path):
                rows: dict[str, pydicom.Dataset] = {}
                for one in stub.headers():
                    if one.StudyInstanceUID == match[1]:
                        rows.setdefault(one.SeriesInstanceUID, one)
                self._rows(list(rows.values())[offset:])
            elif match := re.fullmatch(r"/web/studies/([\d.]+)/series/([\d.]+)(/instances)?", parts.path):
                one_series = [
                    (head, content)
                    for head, content in zip(stub.headers(), stub.files, strict=True)
                    if (head.StudyInstanceUID, head.SeriesInstanceUID) == match.groups()[:2]
                ]
                if match[3]:
                    self._rows([head for head, _ in one_series][offset:])
                    return
                sent = [content for _, content in one_series[: len(one_series) - stub.left_out]]
                body = b"".join(
                    b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n" + content for content in sent
                )
                kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY.decode()}"'
                self._send(200, body + b"\r\n--" + BOUNDARY + b"--\r\n", kind, cut=stub.cut_at)
            else:
                self._send(404, b"")

        def _rows(self, heads: list[pydicom.Dataset]) -> None:
            names = ("SeriesInstanceUID", "SOPInstanceUID", "Modality", "SeriesDescription")
            rows = []
            for head in heads:
                row = pydicom.Dataset()
                for name in names:
                    if name in head:
                        setattr(row, name, head[name].value)
                rows.append(row.to_json_dict())
            self._send(200, json.dumps(rows).encode())

        def _post(self, body: bytes) -> None:
            answer = pydicom.Dataset()
            if stub.refuses:
                item = pydicom.Dataset()
                item.ReferencedSOPInstanceUID, item.FailureReason = "1.2", 272
                answer.FailedSOPSequence = [item]
            else:
                parts = re.split(rb"(?:\r\n)?--[0-9a-f-]{36}(?:--)?(?:\r\n|$)", body)
                stub.files += [part.split(b"\r\n\r\n", 1)[1] for part in parts if b"\r\n\r\n" in part]
            self._send(200, json.dumps(answer.to_json_dict()).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/web"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
