"""Functions that measure how good the synthetic pairs of a stack are (a stack is a file of image-label pairs)."""
