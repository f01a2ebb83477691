"""Table and pictures of the private curve, from points as `scripts/measure_privacy.py` writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def measured(tmp_path, write_pairs):
    """A folder with two seeds of one training, and the real pairs."""
    rng = np.random.default_rng(0)
    private = {"pairs": "private", "unit": "patch", "start": "public", "epsilon": 7.4}
    write_pairs(tmp_path / "real.npy")
    for name, point, dsc in (
        ("real_0_None", {"pairs": "real", "seed": 0, "unit": "", "start": "", "epsilon": None}, 0.8),
        ("private_0_patch_public_7.4", {**private, "seed": 0}, 0.7),
        ("private_1_patch_public_7.4", {**private, "seed": 1}, 0.6),
    ):
        folder = tmp_path / "points" / name
        write_pairs(folder / "synthetic.npy")
        figures = {"dsc": [dsc, dsc], "hd95_mm": [5.0, 7.0], "distance": 0.1, "ms_ssim": 0.3}
        guarantee = {"noise_multiplier": 0.5} if point["epsilon"] else None
        (folder / "point.json").write_text(json.dumps({**point, **figures, "guarantee": guarantee}))
        people = {"patients": np.arange(20), "is_member": np.arange(20) < 10}
        scores = {"density ratio": np.arange(20.0), **({"LOGAN": rng.normal(size=20)} if guarantee else {})}
        np.savez(folder / "scores.npz", **people, **scores)
    return tmp_path


def test_table_has_a_row_for_the_seeds_of_a_training_and_one_for_real_pairs(measured):
    words = [sys.executable, str(SCRIPTS / "draw_privacy.py"), str(measured)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert {len(row) for row in rows} == {11} and len(rows) == 4
    assert rows[2][:9] == ["real", "", "", "", "", "0.800", "6.0", "0.10", "0.30"] and rows[2][10] == ""
    assert rows[3][:6] == ["private", "patch", "public", "7.4", "0.50", "0.700, 0.600"]
    assert rows[3][9] == "0.00 (0.00 to 0.31), 0.00 (0.00 to 0.31)"  # all others score above all members
    assert (measured / "privacy.svg").read_text().startswith("<?xml")
    assert (measured / "privacy_pairs.png").stat().st_size > 1000
