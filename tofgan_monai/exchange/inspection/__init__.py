"""What the configurations of a bundle from a stranger may say; this room knows no other room of tofgan_monai.

MONAI warns that any configuration is code, and has no list of what is allowed. `allowed.yaml` is that list, and
`inspect_bundle` holds any MONAI bundle's text files against it, without running or importing anything of them.
"""

from tofgan_monai.exchange.inspection.bundle import inspect_bundle

__all__ = ["inspect_bundle"]
