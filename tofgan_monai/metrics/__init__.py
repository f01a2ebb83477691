"""Measures of a segmentation and of a stack: pure functions, with MONAI metric shells where a config wants one."""
