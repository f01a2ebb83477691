"""Pure functions that measure a segmentation or a stack (a file of image-label pairs), and the MONAI metrics."""
