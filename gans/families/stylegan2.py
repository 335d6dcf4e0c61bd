"""StyleGAN2 (Karras et al., arXiv 1912.04958) with the skip architecture, in plain torch: nothing is compiled.

Names are those of NVIDIA's stylegan2-ada-pytorch; `genmend.gans.families.stylegan2_layouts` reads the public layouts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.gans.families.resampling import fir_kernel, upfirdn2d, upsample2d

__all__ = ["NOISES", "ScaledLeakyReLU", "StyleGAN2", "demodulation", "modulated_convolution"]

NOISES = ("const", "none")


class ScaledLeakyReLU(nn.Module):
    """Leaky ReLU of slope 0.2, times sqrt(2) so that the variance is kept, clamped to +-`clamp` where that is given."""

    def __init__(self, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp

    def forward(self, x: Tensor) -> Tensor:
        """The activation of x, of any shape."""
        x = functional.leaky_relu(x, 0.2) * math.sqrt(2)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Dense(nn.Module):
    """A linear layer with an equalised learning rate: weights are scaled by `rate` / sqrt(inputs) as it runs."""

    def __init__(self, before: int, after: int, rate: float = 1.0, activated: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(after, before))
        self.bias = nn.Parameter(torch.zeros(after))
        self.rate = rate
        self.activation: nn.Module = ScaledLeakyReLU() if activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.rate / math.sqrt(self.weight.shape[1])
        return self.activation(functional.linear(x, self.weight * scale, self.bias * self.rate))


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Factors (n, out) that give the modulated kernels ``weight * style`` norm 1 (arXiv 1912.04958, equation 3)."""
    return (styles.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()


def modulated_convolution(
    x: Tensor, weight: Tensor, styles: Tensor, *, kernel: Tensor | None = None, demodulate: bool = True
) -> Tensor:
    """Convolve each sample with its own kernels: ``weight`` times its styles, then brought to norm 1.

    Parameters
    ----------
    x : Tensor (n, in, h, w)
    weight : Tensor (out, in, k, k)
    styles : Tensor (n, in)
    kernel : Tensor, optional
        A low-pass filter: where given, the output is twice as large.
    demodulate : bool
        Whether kernels are brought to norm 1.
    """
    # Scaling a kernel's inputs is scaling what they are multiplied with: one convolution serves the whole batch.
    x = x * styles[:, :, None, None]
    if kernel is None:
        x = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    else:
        x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        spare = len(kernel) - 1 - weight.shape[-1]
        x = upfirdn2d(x, kernel, padding=((spare + 1) // 2 + 1, spare // 2 + 1), gain=4.0)
    return x * demodulation(weight, styles)[:, :, None, None] if demodulate else x


class StyleMapping(nn.Module):
    """z (and one-hot labels) to w: normalised, then dense layers `fc0`, `fc1`, ...; `w_avg` is the mean w."""

    w_avg: Tensor

    def __init__(self, z_width: int, w_width: int, n_layers: int, n_classes: int, embedded: int, rate: float) -> None:
        super().__init__()
        self.z_width, self.n_layers = z_width, n_layers
        if n_classes:
            self.embed = Dense(n_classes, embedded)
        for layer in range(n_layers):
            before = z_width + (embedded if n_classes else 0) if layer == 0 else w_width
            self.add_module(f"fc{layer}", Dense(before, w_width, rate, activated=True))
        self.register_buffer("w_avg", torch.zeros(w_width))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """(n, z_width) to (n, w_width)."""
        x = _normalised(z)
        if labels is not None:
            x = torch.cat([x, _normalised(self.embed(labels))], dim=1)
        for layer in range(self.n_layers):
            x = self.get_submodule(f"fc{layer}")(x)
        return x


def _normalised(x: Tensor) -> Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class StyledConvolution(nn.Module):
    """Modulated 3x3 convolution, noise, bias, activation; twice as large where `up`."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, before: int, after: int, w_width: int, side: int, up: bool, taps: tuple[float, ...], clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        self.affine = Dense(w_width, before)
        self.weight = nn.Parameter(torch.zeros(after, before, 3, 3))
        self.bias = nn.Parameter(torch.zeros(after))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.zeros(side, side))
        self.register_buffer("resample_filter", fir_kernel(taps))
        self.activation = ScaledLeakyReLU(clamp)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        kernel = self.resample_filter if self.up else None
        x = modulated_convolution(x, self.weight, self.affine(w), kernel=kernel)
        if noise == "const":
            x = x + self.noise_const * self.noise_strength
        return self.activation(x + self.bias[:, None, None])


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the image's channels, without demodulation."""

    def __init__(self, before: int, channels: int, w_width: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = Dense(w_width, before)
        self.weight = nn.Parameter(torch.zeros(channels, before, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = modulated_convolution(x, self.weight, styles, demodulate=False) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Block(nn.Module):
    """What one resolution adds: the first starts from a constant, each other doubles the size."""

    resample_filter: Tensor

    def __init__(
        self,
        before: int | None,
        after: int,
        channels: int,
        w_width: int,
        side: int,
        taps: tuple[float, ...],
        clamp: float | None,
    ) -> None:
        super().__init__()
        if before is None:
            self.const = nn.Parameter(torch.zeros(after, side, side))
        else:
            self.conv0 = StyledConvolution(before, after, w_width, side, True, taps, clamp)
        self.conv1 = StyledConvolution(after, after, w_width, side, False, taps, clamp)
        self.torgb = ToRGB(after, channels, w_width, clamp)
        self.register_buffer("resample_filter", fir_kernel(taps))
        self.n_convolutions = 1 if before is None else 2

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Sequence[Tensor], noise: str
    ) -> tuple[Tensor, Tensor]:
        """Features and image so far to those of this size; `ws` has one w a convolution, and one for the image."""
        x = self.const.expand(len(ws[0]), -1, -1, -1) if x is None else self.conv0(x, ws[0], noise)
        x = self.conv1(x, ws[-2], noise)
        painted = self.torgb(x, ws[-1])
        return x, painted if image is None else upsample2d(image, self.resample_filter) + painted


class Synthesis(nn.Module):
    """w+ (n, n_ws, w_width) to images: blocks `b4`, `b8`, ... up to the image's size."""

    def __init__(
        self,
        widths: Mapping[int, int],
        w_width: int,
        channels: int = 3,
        taps: tuple[float, ...] = (1, 3, 3, 1),
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.sides = tuple(widths)
        before = None
        for side, after in widths.items():
            self.add_module(f"b{side}", Block(before, after, channels, w_width, side, taps, clamp))
            before = after
        self.n_ws = 2 * len(self.sides)

    def forward(self, ws: Tensor, noise: str = "const") -> Tensor:
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for side in self.sides:
            block = self.get_submodule(f"b{side}")
            assert isinstance(block, Block)
            # The w of a block's image is also that of the next block's first convolution.
            x, image = block(x, image, ws[:, first : first + block.n_convolutions + 1].unbind(1), noise)
            first += block.n_convolutions
        assert image is not None
        return image


class StyleGAN2(nn.Module):
    """The StyleGAN2 generator: `mapping` (z to w) and `synthesis` (w to image, about -1..1).

    Parameters
    ----------
    z_width, w_width : int
    widths : mapping of int to int
        Channels at each side length 4, 8, 16, ...
    n_mapping : int
        Dense layers of the mapping.
    n_classes, embedded : int
        Of a conditional model, and the width of its label embedding.
    channels : int
        Of the image.
    taps : tuple of float
        The FIR filter.
    clamp : float, optional
        Outputs of convolutions are kept within +-clamp, as NVIDIA's half-precision models were trained.
    mapping_rate : float
        Learning-rate multiplier of the mapping.
    """

    def __init__(
        self,
        z_width: int,
        w_width: int,
        widths: Mapping[int, int],
        n_mapping: int = 8,
        n_classes: int = 0,
        embedded: int = 0,
        channels: int = 3,
        taps: tuple[float, ...] = (1, 3, 3, 1),
        clamp: float | None = None,
        mapping_rate: float = 0.01,
    ) -> None:
        super().__init__()
        self.mapping = StyleMapping(z_width, w_width, n_mapping, n_classes, embedded, mapping_rate)
        self.synthesis = Synthesis(widths, w_width, channels, taps, clamp)

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: str = "const",
    ) -> Tensor:
        """Images; options as in `styles` and `genmend.gans.families.stylegan2_adapter`."""
        images: Tensor = self.synthesis(self.styles(z, labels, psi=psi, cutoff=cutoff), noise)
        return images

    def styles(self, z: Tensor, labels: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """w+ (n, n_ws, w_width) of z: the first `cutoff` (all where None) are moved to the mean by psi."""
        ws = self.mapping(z, labels)[:, None].repeat(1, self.synthesis.n_ws, 1)
        if psi != 1:
            ws[:, :cutoff] = torch.lerp(self.mapping.w_avg, ws[:, :cutoff], psi)
        return ws
