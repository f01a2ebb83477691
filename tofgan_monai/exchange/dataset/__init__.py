"""Writes a stack of pairs as a dataset that others can use and cite.

A stack is a `.npy` file of image-label pairs with a manifest beside it. The dataset is a folder with the stack, the
same pairs as PNG files, a dataset card (README.md), a description for programs (croissant.json), a picture and
checksums.
"""
