"""GANs that make synthetic image-label pairs of skull-stripped TOF-MRA, and a segmentation network for such pairs.

`__init__.pyi` lists every public name once, with the module that holds it. Users and the configurations of bundles
write `tofgan_monai.NAME`. Python imports a name when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
