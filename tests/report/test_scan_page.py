"""The page of a segmented scan: its label, its truth where there is one, its picture and its measures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.heads import write_small_head
from tests.helpers.pages import Page
from tofgan_monai import InputError, installation
from tofgan_monai.report import vessel_tree
from tofgan_monai.report.scan_page import write_scan_pages
from tofgan_monai.segmentation.companions import SegmentedScan, write_measures, write_picture
from tofgan_monai.volumes.reading import IMAGE, LABEL, read_scan
from tofgan_monai.volumes.writing import label_file, write_label


def segmented(folder: Path, name: str, segmentation: str = "", **more: str) -> dict[str, str]:
    """Writes a head and what `tofgan segment` adds: the true vessels and a block. Returns the head's item."""
    item = {**write_small_head(folder / "heads" / name, **more), "subject": name}
    image, truth = read_scan(item, (IMAGE, LABEL)).values()
    found = truth.voxels > 0
    found[3:6, 3:6, 2:9] = True
    item |= {"segmentation": segmentation} if segmentation else {}
    label = folder / label_file(item, item[IMAGE])
    write_label(found, label, affine=image.affine, like=item[IMAGE])
    scan = SegmentedScan(name, image, found, label, label.parent)
    write_picture(scan)
    write_measures(scan)
    return item


def test_a_page_has_the_vessels_the_projections_and_the_measures(tmp_path):
    item = segmented(tmp_path, "sub-1")
    del item[LABEL]
    (path,) = write_scan_pages([item], tmp_path)
    page = Page(path, n_scripts=2)
    page.assert_self_contained(1)
    assert path == tmp_path / "sub-1_vessels.html" and path.stat().st_size < 8e6
    assert "true positive" not in page.text and str(tmp_path) not in page.source
    total = json.loads((tmp_path / "sub-1_measures.json").read_text("utf-8"))["measures"][0]
    assert f"vessels, {total['volume_mm3']:.0f} mm³" in page.text
    rows = [row for row in page.rows if row[0] == "all calibres"]
    assert len(rows) == 3 and float(rows[0][1]) == round(total["volume_mm3"])
    assert "Keep it where the scan may be seen" in page.text and "simulated. No patient" not in page.text


def test_where_there_is_a_truth_the_errors_are_shown(tmp_path):
    (path,) = write_scan_pages([segmented(tmp_path, "sub-1", kind="simulated")], tmp_path)
    page = Page(path, n_scripts=2)
    assert f"false positive, {9 * 7 * 0.175:.0f} mm³" in page.text and "true positive" in page.text
    assert "false negative" not in page.text  # there is none
    assert "This head is simulated" in page.text and "Keep it" not in page.text


def test_in_a_bids_derivative_the_page_stands_beside_the_label(tmp_path):
    item = segmented(tmp_path, "sub-1", "sub-1/anat/sub-1_label-vessel_mask.nii.gz")
    assert write_scan_pages([item], tmp_path) == [tmp_path / "sub-1" / "anat" / "sub-1_vessels.html"]


def test_without_the_extra_the_projections_remain_and_one_line_says_so(tmp_path, monkeypatch, caplog):
    items = [segmented(tmp_path, f"sub-{i}") for i in range(2)]
    monkeypatch.setitem(installation.EXTRAS["page"].packages, "plotly", (99,))
    for path in write_scan_pages(items, tmp_path):
        page = Page(path)
        page.assert_self_contained(1)
        assert "(plotly 99 or newer not found); run pip install" in page.text
    (record,) = caplog.records
    assert "The vessels on the page do not turn" in record.getMessage()


def test_a_page_says_that_it_draws_fewer_triangles(tmp_path, monkeypatch):
    item = segmented(tmp_path, "sub-1")
    assert "are drawn" not in Page(*write_scan_pages([item], tmp_path), n_scripts=2).text
    monkeypatch.setattr(vessel_tree, "MOST_TRIANGLES", 100)
    monkeypatch.setattr(vessel_tree, "FEWEST_TRIANGLES", 100)
    assert re.search(r"\d+ triangles of [\d,]+ are drawn", Page(*write_scan_pages([item], tmp_path), n_scripts=2).text)


def test_a_page_without_javascript_says_where_the_vessels_are(tmp_path):
    (path,) = write_scan_pages([segmented(tmp_path, "sub-1")], tmp_path)
    text = path.read_text("utf-8")
    (words,) = (part.split("</noscript>")[0] for part in text.split("<noscript>")[1:])
    assert "the projections on this page show the same vessels" in words
    assert '<div class="controls" hidden>' in text and '<div class="drawing" hidden tabindex="0"' in text


def test_an_empty_label(tmp_path):
    item = {**segmented(tmp_path, "sub-1"), LABEL: None}
    write_label(np.zeros((48, 56, 20)), tmp_path / "sub-1_vessels.nii.gz", affine=np.eye(4), like=item[IMAGE])
    page = Page(*write_scan_pages([item], tmp_path))
    assert "There are no vessels to turn here" in page.text


def test_what_is_missing_is_named_and_the_other_pages_are_written(tmp_path):
    items = [segmented(tmp_path, f"sub-{i}") for i in range(3)]
    (tmp_path / "sub-0_vessels.jpg").unlink()
    (tmp_path / "sub-1_vessels.nii.gz").write_bytes(b"no label")
    with pytest.raises(InputError) as caught:
        write_scan_pages(items, tmp_path)
    first, second = caught.value.problems
    assert "sub-0_vessels.jpg" in first and "sub-1_vessels.nii.gz: unreadable" in second
    assert [path.name for path in tmp_path.glob("*.html")] == ["sub-2_vessels.html"]
