"""Synthetic image-label pairs of brain angiographies: GANs, segmentation and evaluation as MONAI bundles."""
