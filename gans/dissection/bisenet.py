"""BiSeNet with a ResNet-18 context path: the network of the face parser, written anew.

Source: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", ECCV 2018, arXiv
1808.00897. Module names and the layout without a spatial path of its own are those of the public checkpoint
`79999_iter.pth` of face-parsing.PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["BiSeNet"]


class _ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, before: int, after: int, side: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


class _Residual(nn.Module):
    """A basic block of ResNet-18."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            if stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (inner + self.downsample(x)).relu()


def _stage(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Residual(before, after, stride), _Residual(after, after, 1))


class _ResNet18(nn.Module):
    """Feature maps at 1/8, 1/16 and 1/32 of the image's side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _stage(64, 64, 1)
        self.layer2 = _stage(64, 128, 2)
        self.layer3 = _stage(128, 256, 2)
        self.layer4 = _stage(256, 512, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class _Attention(nn.Module):
    """Attention refinement: channels weighted by what the whole picture holds of them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(before, after)
        self.conv_atten = nn.Conv2d(after, after, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))).sigmoid()


class _ContextPath(nn.Module):
    """ResNet-18 with attention: its 1/8 maps, and 128 context channels at 1/8 and 1/16."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet18()
        self.arm16 = _Attention(256, 128)
        self.arm32 = _Attention(512, 128)
        self.conv_head32 = _ConvNorm(128, 128)
        self.conv_head16 = _ConvNorm(128, 128)
        self.conv_avg = _ConvNorm(512, 128, side=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth, sixteenth, last = self.resnet(x)
        context = self.arm32(last) + self.conv_avg(last.mean((2, 3), keepdim=True))
        context16 = self.conv_head32(functional.interpolate(context, sixteenth.shape[2:]))
        context8 = self.arm16(sixteenth) + context16
        return eighth, self.conv_head16(functional.interpolate(context8, eighth.shape[2:])), context16


class _Fusion(nn.Module):
    """Feature fusion of the 1/8 maps and their context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convblk = _ConvNorm(width, width, side=1)
        self.conv1 = nn.Conv2d(width, width // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        fused = self.convblk(torch.cat([detail, context], 1))
        attention = self.conv2(self.conv1(fused.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return fused * (1 + attention)


class _Output(nn.Module):
    """Class scores at the resolution of the maps."""

    def __init__(self, before: int, inner: int, n_classes: int) -> None:
        super().__init__()
        self.conv = _ConvNorm(before, inner)
        self.conv_out = nn.Conv2d(inner, n_classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv(x))


class BiSeNet(nn.Module):
    """Images ``[n, 3, h, w]``, normalised as ImageNet's, to class logits ``[n, n_classes, h, w]``.

    `conv_out16` and `conv_out32` are the heads that only training needs: they stand here for the checkpoint's sake.
    """

    def __init__(self, n_classes: int = 19) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _Fusion(256)
        self.conv_out = _Output(256, 256, n_classes)
        self.conv_out16 = _Output(128, 64, n_classes)
        self.conv_out32 = _Output(128, 64, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the size of the images."""
        detail, context, _ = self.cp(images)
        logits = self.conv_out(self.ffm(detail, context))
        # Corners aligned: so it was trained.
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=True)
