"""Simulates TOF-MRA heads with vessel labels and brain masks.

A simulated site ("source" in the code) is a set of ranges from which the parameters of a head are drawn. Sites A and B
stand for the patients of two hospitals. Site C is public; its ranges are much wider.
"""

from tofgan_monai.phantom.cohorts import head_name, write_head, write_heads
from tofgan_monai.phantom.head import Head, simulate_head
from tofgan_monai.phantom.sources import PARAMETERS, SEEDS, SOURCES, Parameter

__all__ = [
    "PARAMETERS", "SEEDS", "SOURCES", "Head", "Parameter", "head_name", "simulate_head", "write_head", "write_heads",
]  # fmt: skip
