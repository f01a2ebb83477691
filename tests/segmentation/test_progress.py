"""A run that was stopped goes on with the next patient, or says why it does not."""

from __future__ import annotations

import json

import pytest

from tofgan_monai import InputError, Progress

SETTINGS = {"weights": "abc", "threshold": 0.5}


@pytest.fixture
def items(tmp_path):
    """Three patients, whose files need not be volumes here."""
    paths = [tmp_path / f"{n}.nii.gz" for n in range(3)]
    for n, path in enumerate(paths):
        path.write_text(f"scan {n}")
    return [{"subject": f"sub-secret{n}", "image": str(path)} for n, path in enumerate(paths)]


@pytest.fixture
def stopped(items, tmp_path):
    """The output folder of a run that was killed while it recorded the second patient."""
    progress = Progress(items, tmp_path / "out", settings=SETTINGS)
    progress.start()
    progress.add({"dsc": 0.1 + 0.2})
    with open(progress.path, "a") as stream:
        stream.write('{"files": {"ima')
    return tmp_path / "out"


def test_a_stopped_run_goes_on_with_the_next_patient(items, stopped):
    progress = Progress(items, stopped, settings=SETTINGS)
    assert list(progress) == items[1:] and [line["figures"] for line in progress.done] == [{"dsc": 0.1 + 0.2}]
    progress.start()
    for n in (1, 2):
        progress.add({"dsc": n})
    assert "secret" not in progress.path.read_text()
    assert list(Progress(items, stopped, settings=SETTINGS)) == items[2:]  # all are done: the last one again
    progress.finish()
    assert not list(stopped.iterdir()) and list(Progress(items, stopped, settings=SETTINGS)) == items


def test_a_run_with_other_settings_or_files_is_refused(items, stopped):
    with pytest.raises(InputError, match=r"threshold was 0.5, is 0.4 now.; choose another output folder.*--restart"):
        Progress(items, stopped, settings={**SETTINGS, "threshold": 0.4})
    with pytest.raises(InputError, match="the files of sub-secret1 have changed"):
        Progress(items[1:] + items[:1], stopped, settings=SETTINGS)
    assert list(Progress(items, stopped, settings={}, restart=True)) == items


def test_scores_stay_in_the_order_of_the_items(items, stopped):
    added = {"subject": "sub-secret", "image": items[2]["image"]}
    assert list(Progress([*items, added], stopped, settings=SETTINGS)) == [*items[1:], added]
    with pytest.raises(InputError, match="the files of sub-secret have changed"):
        Progress([added, *items], stopped, settings=SETTINGS)


@pytest.fixture
def labelled(items, tmp_path):
    """The output folder of a run that was killed after it had written the labels of the first two patients."""
    progress = Progress(items, tmp_path / "labels", settings=SETTINGS)
    progress.start()
    for item in items[:2]:
        (progress.path.parent / f"{item['subject']}_vessels.nii.gz").write_text("label")
        progress.add({})
    return tmp_path / "labels"


def test_scans_that_were_added_are_processed_and_finished_ones_are_kept(items, labelled):
    twin = {**items[0], "subject": "sub-first"}
    progress = Progress([twin, *items], labelled, settings=SETTINGS)
    assert list(progress) == [twin, items[2]] and progress.items == [twin, *items]
    progress.start()
    (labelled / "sub-first_vessels.nii.gz").write_text("label")
    progress.add({})
    assert list(Progress([twin, *items], labelled, settings=SETTINGS)) == items[2:]


def test_a_scan_that_has_changed_or_lost_its_label_is_processed_again(items, labelled):
    (labelled / "sub-secret1_vessels.nii.gz").unlink()
    assert list(Progress(items, labelled, settings=SETTINGS)) == items[1:]
    with open(items[0]["image"], "a") as stream:
        stream.write("changed")
    with pytest.raises(InputError, match="labels holds a stopped run of other scans; choose another output folder"):
        Progress(items, labelled, settings=SETTINGS)


def test_a_record_that_is_not_readable_is_no_run(items, stopped):
    (stopped / "unfinished.jsonl").write_text("\n" + json.dumps(SETTINGS))
    assert list(Progress(items, stopped, settings=SETTINGS)) == items
