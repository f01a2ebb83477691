"""The audit of what a stack of synthetic pairs, its generator or a segmentation network gives away about patients."""

from tofgan_monai.audit.run import audit

__all__ = ["audit"]
