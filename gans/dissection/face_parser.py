"""Face parts by a pretrained BiSeNet, as concepts.

The weights were trained on CelebAMask-HQ, which is for non-commercial research: they are fetched only by name,
``genmend fetch face-parser``. The network has a ResNet-18 context path and is written anew.

Source: Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", ECCV 2018, arXiv
1808.00897. Module names and the layout without a spatial path of its own are those of the public checkpoint
`79999_iter.pth` of face-parsing.PyTorch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.activations.digests import weights_digest
from genmend.manifold.features.extractors.local_weights import read_weights
from genmend.storage.weights import find_weights

__all__ = ["BiSeNet", "FaceParser", "load_face_parser"]

CLASSES = (
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses", "left ear", "right ear",
    "earring", "nose", "mouth inside", "upper lip", "lower lip", "neck", "necklace", "clothes", "hair", "hat",
)  # fmt: skip

UNIONS = {
    "brows": ("left brow", "right brow"),
    "eyes": ("left eye", "right eye"),
    "ears": ("left ear", "right ear"),
    "lips": ("upper lip", "lower lip"),
}

SIDE, BATCH = 512, 4  # of the images that the network sees
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
    """Images (n, 3, h, w), normalised as ImageNet's, to class logits (n, n_classes, h, w).

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


class FaceParser:
    """19 classes of CelebAMask-HQ and the pairs among them: of each pixel the class with the highest logit.

    Images of any size are scaled to 512 x 512 (bicubic, without padding, which the network was trained for), the logits
    back to the size of the image (antialiased). Left and right are the picture's for faces that look ahead.

    Parameters
    ----------
    network : BiSeNet
        On any device.
    """

    names = (*CLASSES, *UNIONS)
    objects = names[1:]

    def __init__(self, network: BiSeNet) -> None:
        self.network = network.eval().requires_grad_(False)

    @property
    def digest(self) -> str:
        """Of the weights: masks are kept under it."""
        return weights_digest(self.network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Masks (n, 23, h, w), bool."""
        labels = torch.cat([self._logits(batch).argmax(1).cpu() for batch in images.split(BATCH)])
        masks = [labels == number for number in range(len(CLASSES))]
        masks += [torch.stack([masks[CLASSES.index(part)] for part in parts]).any(0) for parts in UNIONS.values()]
        return torch.stack(masks, 1)

    def soft(self, images: Tensor) -> Tensor:
        """Probabilities (n, 23, h, w), differentiable."""
        classes = self._logits(images).softmax(1)
        unions = [classes[:, [CLASSES.index(part) for part in parts]].sum(1) for parts in UNIONS.values()]
        return torch.cat([classes, torch.stack(unions, 1)], 1)

    def _logits(self, images: Tensor) -> Tensor:
        device = self.network.conv_out.conv_out.weight.device
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        enlarged = functional.interpolate(
            images.to(device), (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True
        )
        normalised = ((enlarged.clamp(0, 1) - mean) / std).to(memory_format=torch.channels_last)
        logits = self.network(normalised)
        return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False, antialias=True)


def load_face_parser() -> FaceParser:
    """The face parser with its fetched weights, every name and shape checked.

    Raises
    ------
    genmend.storage.weights.MissingWeightsError
        Before ``genmend fetch face-parser``.
    """
    network = BiSeNet(len(CLASSES))
    read_weights(find_weights("face-parser"), network)
    return FaceParser(network)
