"""Text on every page has a contrast of at least 4.5:1, in the light and in the dark (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tofgan_monai.report.rendering import TEMPLATES
from tofgan_monai.report.vessel_tree import vessel_tree

TEXT = ("ink", "soft", "faint", "accent", "passed", "failed", "inconclusive", "missing")
STYLES = "".join((TEMPLATES / name).read_text("utf-8") for name in ("base.html", "audit/style.css"))
DARK = re.findall(r"@media screen and \(prefers-color-scheme: dark\) \{\n(.*?)\n\}", STYLES, re.DOTALL)


def colours(styles: str) -> dict[str, str]:
    """The colours that the :root blocks of a style sheet define, by their names."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", "".join(re.findall(r":root \{.*?\}", styles))))


LIGHT_AND_DARK = (colours(re.sub(r"@media screen.*?\n\}", "", STYLES, flags=re.DOTALL)), colours("".join(DARK)))


def luminance(colour: str) -> float:
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#fff", "#000") == pytest.approx(21) and contrast("#777777", "#fff") == pytest.approx(
        4.48, abs=0.01
    )


@pytest.mark.parametrize("scheme", LIGHT_AND_DARK, ids=["light", "dark"])
def test_text_can_be_read_on_the_page_and_on_a_banner(scheme):
    assert scheme.keys() >= {*TEXT, "page", "wash", "rule", "hair", "synthetic"}
    assert {f"{text} on {ground}" for text in TEXT for ground in ("page", "wash")} == {
        f"{text} on {ground}"
        for text in TEXT
        for ground in ("page", "wash")
        if contrast(scheme[text], scheme[ground]) >= 4.5
    }


def test_every_colour_of_text_is_one_of_these():
    everywhere = STYLES + (TEMPLATES / "vessel_tree.css").read_text("utf-8")
    used = set(re.findall(r"(?<![\w-])color: ([^;}!]+)", everywhere))
    assert {colour.strip() for colour in used} <= {*(f"var(--{name})" for name in TEXT), "var(--sign)"}


def test_words_of_the_vessel_tree_can_be_read_on_its_ground():
    figure = json.loads(vessel_tree(np.ones((3, 3, 3), np.uint8), np.eye(4)).figure)
    scene, letters = figure["layout"]["scene"], figure["data"][-1]
    words = [*(scene[f"{axis}axis"]["color"] for axis in "xyz"), letters["textfont"]["color"]]
    assert min(contrast(colour, figure["layout"]["paper_bgcolor"]) for colour in words) >= 4.5
