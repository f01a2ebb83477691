"""Replaces torchvision, which MONAI Label 0.8.5 imports to draw 2D previews of pathology; this project has none.

PyPI's torchvision works only with PyPI's own build of PyTorch, so it cannot be used with a CPU build of PyTorch.
"""
