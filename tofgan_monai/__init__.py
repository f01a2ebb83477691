"""GANs that make synthetic image-label pairs of skull-stripped TOF-MRA, and the segmentation trained on them.

`__init__.pyi` lists every public name, each once, with the module that holds it. Configurations of bundles, and users,
say `tofgan_monai.NAME`. A name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
