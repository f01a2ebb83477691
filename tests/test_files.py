"""Files whole or not at all: what stays after an error, a full disk, a folder that is none."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from tofgan_monai import InputError, sha256
from tofgan_monai.files import (
    held,
    new_folder,
    require_writable,
    write_json,
    write_json_lines,
    write_whole,
    written_whole,
)


def test_block_that_ends_well_replaces_the_file_and_makes_its_folder(tmp_path):
    path = tmp_path / "new" / "volume.nii.gz"
    for text in ("old", "new"):
        with written_whole(path) as temporary:
            assert temporary.name.endswith(".nii.gz") and temporary.parent == path.parent
            temporary.write_text(text)
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_block_that_fails_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_full_disk_names_the_file_and_the_remedy(tmp_path):
    told = r"a\.txt cannot be written \(No space left on device\); free some space"
    with pytest.raises(InputError, match=told), written_whole(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_error_about_another_file_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a.txt"):
        (tmp_path / "input.txt").read_text()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_where_a_folder_should_be_is_told(tmp_path, below):
    (tmp_path / "output").write_text("a file")
    with pytest.raises(InputError, match=r"output.*cannot be written \([^;]*\); choose another output folder"):
        require_writable(tmp_path / "output" / below)
    with pytest.raises(InputError, match=r"output.*cannot be written"):
        write_json(tmp_path / "output" / "a.json", {})
    assert (tmp_path / "output").read_text() == "a file"


def test_a_run_that_fails_leaves_no_empty_folder(tmp_path):
    for name, is_written in (("new/deeper", False), ("new", True), ("new", False)):
        with pytest.raises(InputError), new_folder(tmp_path / name), held(tmp_path / name, "training"):
            if is_written:
                (tmp_path / name / "a.txt").touch()
            raise InputError("there is no such cohort")
        assert (tmp_path / "new").exists() == (name == "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.txt", ".lock"}


def test_writable_folder_is_made_and_left_empty(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())


def test_text_is_written_in_utf_8_and_bytes_as_they_are(tmp_path):
    for content, expected in (("\u00fc\n", b"\xc3\xbc\n"), (b"\xff", b"\xff")):
        write_whole(tmp_path / "a.txt", content)
        assert (tmp_path / "a.txt").read_bytes() == expected


def test_each_line_of_json_stands_on_its_own(tmp_path):
    write_json_lines(tmp_path / "a.jsonl", ({"n": n} for n in (1, 2)))
    assert (tmp_path / "a.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'


def test_json_and_digest_are_the_files_own(tmp_path):
    write_json(tmp_path / "a.json", {"n": 1})
    content = (tmp_path / "a.json").read_bytes()
    assert json.loads(content) == {"n": 1} and content.endswith(b"\n")
    assert sha256(tmp_path / "a.json") == hashlib.sha256(content).hexdigest()


def test_folder_is_held_by_one_process_until_that_ends_or_is_killed(tmp_path):
    block = f"with held({str(tmp_path)!r}, 'training'): print('held', flush=True); input()"
    code = f"from tofgan_monai.files import held\n{block}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match="another training process"),
            held(tmp_path, "training"),
        ):
            pass
        other.kill()
        other.wait()
        with held(tmp_path, "training"):
            pass
