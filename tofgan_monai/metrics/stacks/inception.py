"""Inception-v3 network for the FID, which returns 2048 pooled features; its layers are named as in torchvision.

Each network block ("Mixed") is built from a table of layers; there is no class for each block. The network differs from
torchvision's Inception-v3 in the same way as the network of the original FID: average pooling does not count the
padding, and the last block uses maximum pooling. There is no classifier and no auxiliary classifier. Tests check names,
shapes and blocks. But the file of the original weights was not available, so the features have not been compared with
the features of the original network.

Sources: Szegedy et al. 2015, arXiv:1512.00567; the FID's variant after Heusel et al. 2017, arXiv:1706.08500.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

DIM, SIZE = 2048, 299

Kernel = int | tuple[int, int]
Layer = tuple[int, Kernel] | tuple[int, Kernel, int]  # channels out, kernel, stride if not 1
Branches = dict[str, list[Layer | list[Layer]]]

average = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
maximum = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
halving_maximum = partial(F.max_pool2d, kernel_size=3, stride=2)


def inception_v3() -> nn.Sequential:
    """Builds the network, with random weights, from images (B, 3, 299, 299) in [-1, 1] to features (B, 2048)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        Conv2d_1a_3x3=convolution(3, 32, 3, stride=2),  # (B, 32, 149, 149)
        Conv2d_2a_3x3=convolution(32, 32, 3),
        Conv2d_2b_3x3=convolution(32, 64, 3, padding=1),
        maxpool1=nn.MaxPool2d(3, stride=2),  # (B, 64, 73, 73)
        Conv2d_3b_1x1=convolution(64, 80, 1),
        Conv2d_4a_3x3=convolution(80, 192, 3),
        maxpool2=nn.MaxPool2d(3, stride=2),  # (B, 192, 35, 35)
        Mixed_5b=_mixed_5(192, n_pooled=32),
        Mixed_5c=_mixed_5(256, n_pooled=64),
        Mixed_5d=_mixed_5(288, n_pooled=64),
        Mixed_6a=_mixed_6a(288),  # (B, 768, 17, 17)
        Mixed_6b=_mixed_6(768, n_inner=128),
        Mixed_6c=_mixed_6(768, n_inner=160),
        Mixed_6d=_mixed_6(768, n_inner=160),
        Mixed_6e=_mixed_6(768, n_inner=192),
        Mixed_7a=_mixed_7a(768),  # (B, 1280, 8, 8)
        Mixed_7b=_mixed_7(1280, average),
        Mixed_7c=_mixed_7(2048, maximum),
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
    return nn.Sequential(layers)


def convolution(n_in: int, n_out: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0) -> nn.Sequential:
    """Builds a sequence of a convolution without bias, a batch normalisation and a ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False),
        bn=nn.BatchNorm2d(n_out, eps=0.001),
        relu=nn.ReLU(inplace=True),
    )
    return nn.Sequential(layers)


class Mixed(nn.Module):
    """Network block of parallel branches of convolutions, whose outputs are joined along the channels.

    If a branch has one convolution, the convolution has the branch's name, for example `branch1x1`. If a branch has
    several, their names are `branch5x5_1`, `branch5x5_2` and so on. Two convolutions with the same input are a list in
    the table of layers, and their names end in `a` and `b`. Convolutions with stride 1 keep the image's size;
    convolutions with stride 2 have no padding.

    Args:
        n_in: number of input channels.
        branches: dict from the name of a branch to its layers; the outputs are joined in the order of the dict.
        pool: pooling function, the first step of the branch `branch_pool`.
    """

    def __init__(self, n_in: int, branches: Branches, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.paths: dict[str, list[list[str]]] = {}
        for branch, layers in branches.items():
            self.paths[branch] = path = []
            n = n_in
            for place, layer in enumerate(layers, start=1):
                twins, letters = (layer, "ab") if isinstance(layer, list) else ([layer], ("",))
                name = branch if len(layers) == 1 else f"{branch}_{place}"
                path.append([name + letter for letter in letters])
                for twin, twin_name in zip(twins, path[-1], strict=True):
                    self.add_module(twin_name, _mixed_convolution(n, *twin))
                n = sum(twin[0] for twin in twins)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output (B, n_out, H, W) for the input x (B, n_in, H, W).

        If the block has convolutions with stride 2, height and width of the output are about H / 2 and W / 2.
        """
        ends = []
        for branch, path in self.paths.items():
            end = self.pool(x) if branch == "branch_pool" else x
            for names in path:
                end = torch.cat([self.get_submodule(name)(end) for name in names], dim=1)
            ends.append(end)
        return torch.cat(ends, dim=1)


def _mixed_convolution(n_in: int, n_out: int, kernel: Kernel, stride: int = 1) -> nn.Sequential:
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return convolution(n_in, n_out, kernel, stride, (height // 2, width // 2) if stride == 1 else 0)


def _mixed_5(n_in: int, n_pooled: int) -> Mixed:
    branches: Branches = {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": [(n_pooled, 1)],
    }
    return Mixed(n_in, branches, average)


def _mixed_6a(n_in: int) -> Mixed:
    branches: Branches = {
        "branch3x3": [(384, 3, 2)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)],
        "branch_pool": [],
    }
    return Mixed(n_in, branches, halving_maximum)


def _mixed_6(n_in: int, n_inner: int) -> Mixed:
    n, row, column = n_inner, (1, 7), (7, 1)
    branches: Branches = {
        "branch1x1": [(192, 1)],
        "branch7x7": [(n, 1), (n, row), (192, column)],
        "branch7x7dbl": [(n, 1), (n, column), (n, row), (n, column), (192, row)],
        "branch_pool": [(192, 1)],
    }
    return Mixed(n_in, branches, average)


def _mixed_7a(n_in: int) -> Mixed:
    branches: Branches = {
        "branch3x3": [(192, 1), (320, 3, 2)],
        "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)],
        "branch_pool": [],
    }
    return Mixed(n_in, branches, halving_maximum)


def _mixed_7(n_in: int, pool: Callable[[Tensor], Tensor]) -> Mixed:
    fork: list[Layer] = [(384, (1, 3)), (384, (3, 1))]
    branches: Branches = {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), fork],
        "branch3x3dbl": [(448, 1), (384, 3), fork],
        "branch_pool": [(192, 1)],
    }
    return Mixed(n_in, branches, pool)
