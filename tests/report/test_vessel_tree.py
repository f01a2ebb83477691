"""The surfaces of a label: in millimetres, complete, small enough for a page."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial import KDTree

from tests.helpers.tubes import draw
from tofgan_monai.report import vessel_tree as trees
from tofgan_monai.report.vessel_tree import VESSELS, vessel_tree, view_of
from tofgan_monai.segmentation.error_maps import ERROR_COLOURS

SHEARED = np.array([[0.1, -0.45, 0.05, 12.0], [0.4, 0.05, 0.1, -30.0], [0, 0.1, 0.8, 7.0], [0, 0, 0, 1]])


def surface(tree, part=0):
    """The points (n, 3) and triangles (m, 3) of a part, as a browser reads them from the figure."""
    trace = json.loads(tree.figure)["data"][part]
    assert trace["type"] == "mesh3d" and trace["name"] == tree.parts[part].name

    def read(name):
        return np.frombuffer(base64.b64decode(trace[name]["bdata"]), trace[name]["dtype"])

    return np.column_stack([read(name) for name in "xyz"]), np.column_stack([read(name) for name in "ijk"]).astype(int)


def signed_volume(points, triangles):
    a, b, c = (points[triangles[:, corner]].astype(float) for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_ball_has_its_place_and_volume_in_millimetres(mirror):
    affine = SHEARED @ np.diag([mirror, 1, 1, 1])
    index = np.indices((40, 44, 30)) - np.array([25, 16, 14]).reshape(3, 1, 1, 1)
    ball = (np.linalg.norm(index, axis=0) < 9).astype(np.uint8)
    tree = vessel_tree(ball, affine)
    points, triangles = surface(tree)
    np.testing.assert_allclose(points.mean(axis=0), apply_affine(affine, [25, 16, 14]), atol=1e-3)
    volume = ball.sum() * abs(np.linalg.det(affine))
    assert tree.parts[0].volume_mm3 == pytest.approx(volume)
    assert abs(signed_volume(points, triangles)) == pytest.approx(volume, rel=0.03)
    assert signed_volume(points, triangles) * signed_volume(*surface(vessel_tree(ball, SHEARED))) > 0
    np.testing.assert_allclose(tree.size_mm, np.ptp(points, axis=0), rtol=1e-5)


def test_a_vessel_at_the_border_is_closed():
    tree = vessel_tree(np.ones((2, 3, 4), np.uint8), np.eye(4))
    _, triangles = surface(tree)
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    np.testing.assert_allclose(tree.size_mm, (2, 3, 4))


def test_each_part_has_its_colour_and_an_empty_one_is_left_out():
    label = np.zeros((6, 6, 20), np.uint8)
    label[2:4, 2:4, 2:9], label[2:4, 2:4, 9:17] = 1, 3
    tree = vessel_tree(label, np.eye(4), ERROR_COLOURS)
    assert [(part.name, part.volume_mm3) for part in tree.parts] == [("true positive", 28), ("false negative", 32)]
    assert surface(tree, 0)[0][:, 2].max() == surface(tree, 1)[0][:, 2].min() == 8.5
    assert json.loads(tree.figure)["data"][1]["color"] == "rgb(255, 221, 0)"
    letters = json.loads(tree.figure)["data"][2]
    assert letters["text"] == ["L", "R", "P", "A", "I", "S"] and letters["type"] == "scatter3d"


def test_a_millimetre_is_as_long_along_each_axis_and_all_is_within_the_walls():
    label = np.zeros((30, 12, 50), np.uint8)
    label[3:27, 4:8, 5:45] = 1
    tree = vessel_tree(label, SHEARED)
    scene = json.loads(tree.figure)["layout"]["scene"]
    ranges = np.array([scene[f"{axis}axis"]["range"] for axis in "xyz"])
    scale = np.ptp(ranges, axis=1) / [scene["aspectratio"][axis] for axis in "xyz"]
    np.testing.assert_allclose(scale, scale[0])
    points, _ = surface(tree)
    assert (points > ranges[:, 0]).all() and (points < ranges[:, 1]).all()


def test_nothing_to_draw_is_said():
    assert vessel_tree(np.zeros((3, 4, 5), np.uint8), np.eye(4)) is None
    assert "the label is empty" in view_of("x", np.zeros((3, 4, 5), np.uint8), np.eye(4)).why


def test_a_large_tree_is_simplified_and_stays_in_place(monkeypatch):
    ends = [((15, 15), 6.0), ((40, 40), 3.0), ((15, 45), 1.0)]
    segments = [(np.array([*end, 5.0]), np.array([*end, 110.0]), radius) for end, radius in ends]
    label = draw(segments, (1, 1, 1), flat=True)[0].astype(np.uint8)
    whole, every = surface(vessel_tree(label, np.eye(4)))
    monkeypatch.setattr(trees, "MOST_TRIANGLES", 6000)
    tree = vessel_tree(label, np.eye(4))
    points, triangles = surface(tree)
    assert (tree.n_found, tree.n_drawn) == (len(every), len(triangles))
    assert 5900 < len(triangles) <= 6000 < len(every) / 2
    assert KDTree(whole).query(points)[0].max() < 1.0  # in voxels
    assert KDTree(points).query(whole)[0].max() < 3.0  # no end of a thin tube is lost
    assert signed_volume(points, triangles) == pytest.approx(signed_volume(whole, every), rel=0.02)


def test_a_small_part_beside_a_large_one_is_kept(monkeypatch):
    monkeypatch.setattr(trees, "MOST_TRIANGLES", 2000)
    label = np.zeros((40, 40, 40), np.uint8)
    label[4:30, 4:30, 4:30], label[35, 35, 35] = 1, 2
    tree = vessel_tree(label, np.eye(4), ERROR_COLOURS)
    assert len(surface(tree, 1)[1]) == 8 and tree.n_drawn <= 2008 < tree.n_found


def test_the_most_triangles_make_a_page_of_less_than_8_megabytes():
    dots = (np.random.default_rng(0).random((100, 100, 60)) < 0.03).astype(np.uint8)
    tree = vessel_tree(dots, np.eye(4), VESSELS)
    _, triangles = surface(tree)
    assert 0.99 * trees.MOST_TRIANGLES < len(triangles) <= trees.MOST_TRIANGLES
    assert len(tree.script.encode()) + len(tree.figure) < 7.5e6  # half a megabyte for what else is on the page
