"""How good a segmentation of a volume is."""
