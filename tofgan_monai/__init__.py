"""Synthetic image-label pairs of brain angiographies: GANs, segmentation and evaluation as MONAI bundles."""

from tofgan_monai.errors import InputError
from tofgan_monai.gan.networks import Critic, Generator, HalfUNet
from tofgan_monai.gan.objectives import NonSaturating, Objective, WassersteinGP, gradient_penalty
from tofgan_monai.gan.step import AdversarialStep, GaussianLatents, Player, TrainingDivergedError
from tofgan_monai.pairs.stack import PairDataset, StackWriter, open_stack

__all__ = [
    "AdversarialStep",
    "Critic",
    "GaussianLatents",
    "Generator",
    "HalfUNet",
    "InputError",
    "NonSaturating",
    "Objective",
    "PairDataset",
    "Player",
    "StackWriter",
    "TrainingDivergedError",
    "WassersteinGP",
    "gradient_penalty",
    "open_stack",
]
