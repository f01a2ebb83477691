"""Measures of how good the segmentation of a volume is."""
