"""Measures of a segmentation and of a stack: pure functions, and MONAI metrics where a configuration needs one."""
