"""The grid of axial patches: their size, and where in a slice their centres may lie."""

from __future__ import annotations

PATCH_SIZE = 96
