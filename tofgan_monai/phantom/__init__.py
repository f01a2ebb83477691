"""Simulated TOF-MRA heads with vessel labels and brain masks, of two sites that stand for patients and a wide prior."""

from tofgan_monai.phantom.cohorts import head_name, write_head, write_heads
from tofgan_monai.phantom.head import Head, simulate_head
from tofgan_monai.phantom.sources import PARAMETERS, SEEDS, SOURCES, Parameter

__all__ = [
    "PARAMETERS", "SEEDS", "SOURCES", "Head", "Parameter", "head_name", "simulate_head", "write_head", "write_heads",
]  # fmt: skip
