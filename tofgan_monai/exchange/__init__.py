"""Exchanges MONAI bundles between clinics: `pack` writes a bundle into one archive, `install` unpacks an archive.

`verify` checks an archive from another clinic before `install` does so; no code or configuration of the archive runs.
"""

from tofgan_monai.exchange.installing import install
from tofgan_monai.exchange.packing import pack
from tofgan_monai.exchange.verifying import Verified, verify

__all__ = ["Verified", "install", "pack", "verify"]
