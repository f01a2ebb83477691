"""Bundles between clinics: packed into one archive, verified without running anything of it, installed."""

from tofgan_monai.exchange.installing import install
from tofgan_monai.exchange.packing import pack
from tofgan_monai.exchange.verifying import Verified, verify

__all__ = ["Verified", "install", "pack", "verify"]
