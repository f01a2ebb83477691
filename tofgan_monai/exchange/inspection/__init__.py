"""Inspects the text files of a bundle from another clinic; this package imports no other package of tofgan_monai.

A configuration of MONAI can run any code, as MONAI itself warns, and MONAI has no list of what is allowed. The file
`allowed.yaml` is such a list. `inspect_bundle` compares the text files of any MONAI bundle with this list; it runs and
imports nothing that the bundle names.
"""

from tofgan_monai.exchange.inspection.bundle import inspect_bundle

__all__ = ["inspect_bundle"]
