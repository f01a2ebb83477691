"""Fetching from and storing into an archive: what comes is whole, what fails is told in one line without a password."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.helpers.dicom import write_slice
from tests.helpers.dicomweb import archive
from tofgan_monai import InputError
from tofgan_monai.installation import EXTRAS
from tofgan_monai.volumes.dicomweb import PASSWORD, USER, fetch_series, open_archive, store

STUDY, SERIES = "1.2.3", "1.2.3.4"  # of the helper's slices
N = 4
SECRET = "very-secret-word"


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch, tmp_path):
    monkeypatch.delenv(USER, raising=False)
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    for i in range(N):
        voxels = np.random.default_rng(i).integers(0, 1000, (20, 22))
        write_slice(folder / f"IM{i}.dcm", voxels, (0.0, 0.0, 0.7 * i))
    return folder


def other(folder: Path, to: Path, **tags: str) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        for name, value in tags.items():
            setattr(one, name, value)
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{one.SOPInstanceUID}.1"
        one.save_as(to / path.name)
    return to


def refusal(stub, folder: Path, **choice: str) -> str:
    with pytest.raises(InputError) as caught:
        fetch_series(open_archive(stub.url), choice.pop("study", STUDY), folder, **choice)
    (line,) = caught.value.problems
    assert not [path for path in folder.rglob("*") if path.is_file()]
    return line


def test_a_series_comes_as_it_is_stored(tmp_path, series):
    with archive() as stub:
        stub.take(series)
        folder = fetch_series(open_archive(stub.url + "/"), STUDY, tmp_path)
    assert folder == tmp_path / SERIES
    come = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, folder.iterdir())}
    stored = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, series.iterdir())}
    assert come == stored and len(come) == N


def test_the_only_mr_series_is_taken_and_others_are_asked_for(tmp_path, series):
    with archive() as stub:
        stub.take(series)
        stub.take(other(series, tmp_path / "seg", SeriesInstanceUID="1.2.3.7", Modality="SEG"))
        client = open_archive(stub.url)
        assert fetch_series(client, STUDY, tmp_path / "a").name == SERIES
        stub.take(other(series, tmp_path / "t1", SeriesInstanceUID="1.2.3.8", SeriesDescription="T1"))
        line = refusal(stub, tmp_path / "b")
        assert (
            "2 MR series" in line and "--series" in line and "1.2.3.8 (MR, T1)" in line and "1.2.3.4 (MR, TOF)" in line
        )
        assert fetch_series(client, STUDY, tmp_path / "c", series="1.2.3.8").name == "1.2.3.8"


def test_a_missing_study_or_series_is_told(tmp_path, series):
    with archive() as stub:
        stub.take(series)
        assert f"{stub.url}: the archive has no study 1.2.9; look at the UID" in refusal(stub, tmp_path, study="1.2.9")
        line = refusal(stub, tmp_path, series="1.2.9")
        assert "has no series 1.2.9; choose one by --series: 1.2.3.4 (MR, TOF)" in line
        assert "--study ../x is no UID" in refusal(stub, tmp_path, study="../x")
        assert all("../" not in request for request in stub.asked)


@pytest.mark.parametrize("how", ["environment", "netrc"])
def test_a_password_comes_from_environment_or_netrc(tmp_path, series, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv(USER, "anna")
        monkeypatch.setenv(PASSWORD, SECRET)
    else:
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login anna password {SECRET}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with archive(login=("anna", SECRET)) as stub:
        stub.take(series)
        assert len(list(fetch_series(open_archive(stub.url), STUDY, tmp_path / "in").iterdir())) == N


def test_a_wrong_password_is_told_and_not_printed(tmp_path, series, monkeypatch, caplog):
    monkeypatch.setenv(USER, "anna")
    monkeypatch.setenv(PASSWORD, SECRET)
    with archive(login=("anna", "another")) as stub, caplog.at_level(logging.DEBUG):
        stub.take(series)
        line = refusal(stub, tmp_path)
    assert "status 401, the archive refuses the user or the password" in line and "netrc" in line and PASSWORD in line
    assert SECRET not in line + caplog.text


@pytest.mark.parametrize("given", [USER, PASSWORD])
def test_half_of_the_credentials_are_refused(monkeypatch, given):
    monkeypatch.setenv(given, SECRET)
    with pytest.raises(InputError, match="only one of") as caught:
        open_archive("http://127.0.0.1:1/web")
    assert SECRET not in str(caught.value)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(InputError, match=r"contains a user or a password; .*netrc") as caught:
        open_archive(f"https://anna:{SECRET}@pacs.example/dicom-web")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("url", "warns"), [("http://pacs.example/web", True), ("https://pacs.example/web", False)])
def test_an_unencrypted_password_is_warned_of(monkeypatch, caplog, url, warns):
    monkeypatch.setenv(USER, "anna")
    monkeypatch.setenv(PASSWORD, SECRET)
    open_archive(url)
    assert ("without encryption" in caplog.text) == warns


@pytest.mark.parametrize("url", ["ftp://pacs.example", "pacs.example/web", "http://", ""])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(InputError, match="no address of an archive; give one such as https"):
        open_archive(url)


def test_a_connection_that_ends_in_the_middle_leaves_nothing(tmp_path, series):
    with archive(cut_at=3000) as stub:
        stub.take(series)
        assert "the connection ended before all had come; try again" in refusal(stub, tmp_path)


def test_an_answer_without_all_images_leaves_nothing(tmp_path, series):
    with archive(left_out=1) as stub:
        stub.take(series)
        assert "1 of the 4 images that the archive lists did not come; nothing was kept" in refusal(stub, tmp_path)


def test_a_server_that_is_gone_is_told(tmp_path):
    with archive() as stub:
        pass
    assert "the archive does not answer" in refusal(stub, tmp_path)


@pytest.mark.parametrize(("status", "words"), [(403, "does not allow"), (404, "not that of its"), (503, "status 503")])
def test_a_status_is_told(tmp_path, status, words):
    with archive(fails=status) as stub:
        line = refusal(stub, tmp_path)
        assert words in line and stub.url in line and len(stub.asked) == 1


def test_a_file_is_stored_whole(tmp_path, series):
    one = next(series.iterdir())
    large = pydicom.dcmread(one)
    large.Rows, large.Columns, large.PixelData = 1000, 1000, bytes(2_000_000)  # sent in chunks
    large.save_as(tmp_path / "large.dcm")
    with archive() as stub:
        for path in (one, tmp_path / "large.dcm"):
            store(open_archive(stub.url), path)
        assert [pydicom.dcmread(path) for path in (one, tmp_path / "large.dcm")] == [
            pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)) for content in stub.files
        ]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"refuses": True}, "the archive refused the DICOM SEG (reason 272)"),
        ({"login": ("anna", SECRET)}, "status 401"),
        ({"fails": 409}, "status 409"),
    ],
)
def test_what_is_not_stored_is_told_with_the_file_that_stays(series, how, words):
    path = next(series.iterdir())
    with archive(**how) as stub, pytest.raises(InputError) as caught:
        store(open_archive(stub.url), path)
    (line,) = caught.value.problems
    assert words in line and f"the file stays, {path}" in line and not stub.files


def test_without_the_extra_one_line_names_it(monkeypatch):
    monkeypatch.setitem(EXTRAS["dicom"].packages, "dicomweb-client", (99,))
    with pytest.raises(InputError, match=r"an archive needs the extra dicom \(dicomweb-client 99 or newer not found"):
        open_archive("https://pacs.example/dicom-web")
