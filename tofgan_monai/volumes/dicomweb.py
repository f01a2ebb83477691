"""Fetches a DICOM series from an archive, and stores a DICOM SEG there, by DICOMweb.

User and password come from the environment (TOFGAN_DICOMWEB_USER, TOFGAN_DICOMWEB_PASSWORD) or from netrc (the file
~/.netrc, or the one that NETRC names). No function takes a password, and no message contains one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tofgan_monai.errors import InputError
from tofgan_monai.files import written_whole
from tofgan_monai.installation import require_extra
from tofgan_monai.volumes.dicom_extra import as_bytes

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

PREFIX = "dicomweb:"
USER, PASSWORD = "TOFGAN_DICOMWEB_USER", "TOFGAN_DICOMWEB_PASSWORD"
TIMEOUT_S = (10.0, 120.0)
"""How long the archive may take to accept a connection, and to send the next part of an answer."""

_logger = logging.getLogger(__name__)
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_SERIES_UID, _INSTANCE_UID, _MODALITY, _DESCRIPTION = "0020000E", "00080018", "00080060", "0008103E"
_HERE = ("localhost", "127.0.0.1", "::1")


def open_archive(url: str) -> DICOMwebClient:
    """Returns a client for an archive; nothing is asked yet.

    Args:
        url: address of the archive's DICOMweb service, such as https://pacs.example/dicom-web.

    Raises:
        InputError: the extra `dicom` is not installed, the address is none, or it contains a user or a password.
    """
    require_extra("dicom", "an archive")
    import requests
    from dicomweb_client import DICOMwebClient

    parts = urlsplit(url)
    if parts.username or parts.password or "@" in parts.netloc:
        raise InputError(f"the address of the archive contains a user or a password; {_credentials()}, and remove them")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url} is no address of an archive; give one such as https://pacs.example/dicom-web")
    session = requests.Session()
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if (user is None) != (password is None):
        raise InputError(f"only one of {USER} and {PASSWORD} is set; {_credentials()}")
    if user is not None and password is not None:
        session.auth = (user, password)
    knows_password = user is not None or requests.utils.get_netrc_auth(url) is not None
    if knows_password and parts.scheme == "http" and parts.hostname not in _HERE:
        _logger.warning("%s: the password is sent without encryption; use https if the archive has it", url)
    logging.getLogger("dicomweb_client").setLevel(logging.WARNING)
    client = DICOMwebClient(url.rstrip("/"), session=session, timeout=TIMEOUT_S)
    client.set_http_retry_params(retry=False)  # the caller learns at once what is wrong
    return client


def fetch_series(archive: DICOMwebClient, study: str, folder: Path, *, series: str | None = None) -> Path:
    """Fetches a series into FOLDER/SERIES_UID/, whole or not at all; returns this folder.

    Args:
        archive: client of the archive.
        study: StudyInstanceUID.
        folder: the folder to write into.
        series: SeriesInstanceUID; None for the only MR series of the study.

    Raises:
        InputError: the archive cannot be reached, refuses the user, has no such study or series, or several MR series;
            it sent other images than it lists, or the connection ended before all came.
    """
    for name, uid in (("--study", study), ("--series", series)):
        if uid is not None and not _UID.fullmatch(uid):
            raise InputError(f"{name} {uid} is no UID; give digits and points, such as 1.2.840.113619.2.1")
    chosen = _choose(archive, study, series)
    with _plainly(archive, f"series {chosen} of study {study}"):
        rows = archive.search_for_instances(study, chosen, get_remaining=True)
    wanted = {_value(row, _INSTANCE_UID) for row in rows}
    target = folder / chosen
    with written_whole(target) as temporary:
        temporary.mkdir()
        came = set()
        with _plainly(archive, f"series {chosen} of study {study}"):
            images = archive.iter_series(study, chosen, media_types=(("application/dicom", "*"),))
            for number, image in enumerate(images, start=1):
                came.add(str(image.SOPInstanceUID))
                (temporary / f"IM{number:05d}.dcm").write_bytes(as_bytes(image))
        if came != wanted:
            problem = f"{len(wanted - came)} of the {len(wanted)} images that the archive lists did not come"
            unknown = f", and {len(came - wanted)} came that it does not list" if came - wanted else ""
            raise InputError(f"{archive.base_url}: series {chosen}: {problem}{unknown}; nothing was kept: try again")
    _logger.info("%s: %d images of series %s fetched", archive.base_url, len(came), chosen)
    return target


def _choose(archive: DICOMwebClient, study: str, series: str | None) -> str:
    """Returns the UID of the series of a study that was asked for, or of its only MR series."""
    with _plainly(archive, f"study {study}"):
        rows = archive.search_for_series(study, get_remaining=True)
    if not rows:
        raise InputError(f"{archive.base_url}: the archive has no study {study}; look at the UID")
    known = {_value(row, _SERIES_UID): row for row in rows if _UID.fullmatch(_value(row, _SERIES_UID))}
    mr = [uid for uid, row in known.items() if _value(row, _MODALITY) == "MR"]
    listed = "; ".join(
        f"{uid} ({_value(row, _MODALITY)}, {_value(row, _DESCRIPTION) or 'no description'})"
        for uid, row in known.items()
    )
    if series is not None:
        if series not in known:
            problem = f"study {study} has no series {series}"
            raise InputError(f"{archive.base_url}: {problem}; choose one by --series: {listed}")
        return series
    if len(mr) != 1:
        problem = f"study {study} has {len(mr)} MR series"
        raise InputError(f"{archive.base_url}: {problem}; choose the angiography by --series: {listed}")
    return mr[0]


def store(archive: DICOMwebClient, path: str | os.PathLike) -> None:
    """Stores a DICOM file in an archive; the archive takes the one file whole or not at all.

    Raises:
        InputError: the archive cannot be reached or refuses the user or the file; the file stays where it is.
    """
    import pydicom

    kept = f"the file stays, {path}"
    with _plainly(archive, f"storing; {kept}"):
        answer = archive.store_instances([pydicom.dcmread(path)])
    if failed := answer.get("FailedSOPSequence"):
        reason = failed[0].get("FailureReason", "unknown")
        raise InputError(f"{archive.base_url}: the archive refused the DICOM SEG (reason {reason}); {kept}")
    _logger.info("%s: stored in the archive %s", path, archive.base_url)


@contextmanager
def _plainly(archive: DICOMwebClient, what: str) -> Iterator[None]:
    """Context manager that raises an InputError for what can go wrong between here and the archive.

    Args:
        archive: client of the archive.
        what: what was asked for, for the message.
    """
    import requests

    try:
        yield
    except requests.HTTPError as error:
        response: Any = error.response
        status = response.status_code
        reasons = {
            401: f"the archive refuses the user or the password; {_credentials()}",
            403: "the archive does not allow this user to do this; ask its administrator",
            404: "the archive does not have this, or the address is not that of its DICOMweb service; look at both",
        }
        reason = reasons.get(status, f"{response.reason}; ask the archive's administrator")
        raise InputError(f"{archive.base_url}: {what}: status {status}, {reason}") from None
    except requests.exceptions.ChunkedEncodingError:
        raise InputError(f"{archive.base_url}: {what}: the connection ended before all had come; try again") from None
    except requests.ConnectionError:
        problem = "the archive does not answer, or ended the connection"
        raise InputError(f"{archive.base_url}: {what}: {problem}; look at the address and try again") from None
    except requests.Timeout:
        raise InputError(f"{archive.base_url}: {what}: the archive did not answer in time; try again") from None
    except (requests.RequestException, ValueError, KeyError, EOFError, AttributeError) as error:
        problem = f"the answer is not DICOMweb ({type(error).__name__})"
        raise InputError(f"{archive.base_url}: {what}: {problem}; look at the address") from error


def _value(row: dict[str, Any], tag: str) -> str:
    """Returns the first value of a tag in DICOM JSON as text, "" if there is none."""
    return str((row.get(tag, {}).get("Value") or [""])[0])


def _credentials() -> str:
    return f"put them into ~/.netrc, or into the environment as {USER} and {PASSWORD}"
