"""The audit: how good a stack of synthetic pairs is, and what it, its generator or a segmentation network give away."""

from tofgan_monai.audit.run import audit

__all__ = ["audit"]
