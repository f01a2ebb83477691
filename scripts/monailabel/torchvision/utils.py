"""The two functions of torchvision.utils that MONAI Label imports by name; both raise ImportError when called."""


def make_grid(*args, **kwargs):
    """Raises ImportError, because torchvision is not installed."""
    raise ImportError("torchvision is not installed in this environment; see scripts/monailabel/torchvision")


save_image = make_grid
