"""Stacks of image-label pairs, and how they are sampled from volumes."""
