"""Stands in for torchvision, which MONAI Label 0.8.5 imports to draw 2D previews of pathology, and nothing here needs.

PyPI's torchvision loads beside PyPI's own build of PyTorch alone, so a CPU build could not serve.
"""
