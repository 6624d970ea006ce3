"""The references in PyTorch: U-Net and UNet 3+ as `side_by_side.plain_unet` and `plain_unet3plus` have them.

Both take images `(batch, 3, height, width)` and return logits `(batch, classes, height, width)`.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional

VGG = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # convolutions of each level
VGG_WIDTHS = (64, 128, 256, 512, 512)


def convs(channels: int, widths: list[int], norm: bool = True, bias: bool = True) -> nn.Sequential:
    """3x3 convolutions, each with a batch normalisation, if any, and a ReLU."""
    parts: list[nn.Module] = []
    for inside, width in itertools.pairwise([channels, *widths]):
        parts.append(nn.Conv2d(inside, width, 3, padding=1, bias=bias))
        parts += [nn.BatchNorm2d(width, eps=1e-3)] if norm else []
        parts.append(nn.ReLU(inplace=True))
    return nn.Sequential(*parts)


class Encoder(nn.ModuleList):
    """Blocks with max pooling between them: image -> the maps of strides 1, 2, 4, 8 and 16."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for level, block in enumerate(self):
            x = block(functional.max_pool2d(x, 2) if level else x)
            maps.append(x)
        return maps


class UNet(nn.Module):
    """U-Net of these widths."""

    def __init__(self, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs = zip((3, *widths[:-1]), widths, strict=True)
        self.encoder = Encoder(convs(channels, [width] * 2, bias=False) for channels, width in inputs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, 2) for fine, coarse in itertools.pairwise(widths))
        self.fuse = nn.ModuleList(convs(2 * width, [width] * 2, bias=False) for width in widths[:-1])
        self.logits = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        *skips, x = self.encoder(images)
        for up, fuse, skip in reversed(list(zip(self.up, self.fuse, skips, strict=True))):
            x = fuse(torch.cat([up(x), skip], 1))
        return self.logits(x)


class UNet3Plus(nn.Module):
    """UNet 3+ with the plain encoder or with VGG-16 or VGG-19; its decoder is widths[0] wide."""

    def __init__(self, classes: int, widths: tuple[int, ...], vgg: str | None = None) -> None:
        super().__init__()
        depths, encoder_widths = (VGG[vgg], VGG_WIDTHS) if vgg else ((2,) * 5, widths)
        inputs = zip((3, *encoder_widths[:-1]), encoder_widths, depths, strict=True)
        self.encoder = Encoder(convs(channels, [width] * depth, norm=not vgg) for channels, width, depth in inputs)
        narrow, wide = widths[0], 5 * widths[0]
        self.incoming, self.fuse = nn.ModuleList(), nn.ModuleList()
        for level in range(4):
            channels = (*encoder_widths[: level + 1], *[wide] * (3 - level), encoder_widths[4])
            self.incoming.append(nn.ModuleList(convs(width, [narrow]) for width in channels))
            self.fuse.append(convs(wide, [wide]))
        self.logits = nn.Conv2d(wide, classes, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.encoder(images)
        for level in (3, 2, 1, 0):  # coarser maps are those of the decoder already
            scaled = [rescaled(x, source - level) for source, x in enumerate(maps)]
            joined = torch.cat([conv(x) for conv, x in zip(self.incoming[level], scaled, strict=True)], 1)
            maps = [*maps[:level], self.fuse[level](joined), *maps[level + 1 :]]
        return self.logits(maps[0])


def rescaled(x: torch.Tensor, levels: int) -> torch.Tensor:
    """A map upsampled by that many levels, or pooled if it is negative."""
    if levels > 0:
        return functional.interpolate(x, scale_factor=2**levels, mode="bilinear", align_corners=False)
    return functional.max_pool2d(x, 2**-levels) if levels else x
