"""Privacy audit: measures what synthetic pairs, their generator or a segmentation network give away about patients."""

from tofgan_monai.audit.run import audit

__all__ = ["audit"]
