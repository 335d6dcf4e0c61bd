"""DINOv2's class token as FD-DINOv2 takes it: ``dinov2:vitl14@dinov2_vitl14_pretrain.pth``.

The network is ours, so that one name means one feature space whichever of the three published layouts the weights come
in: that of facebookresearch/dinov2, of timm or of transformers. The libraries resample the position embeddings from 518
to 224 pixels in three ways; here it is done as facebookresearch/dinov2 does, which dgm-eval and so the published tables
use: bicubic, by a factor of (16 + 0.1) / 37; of networks with registers by size, antialiased.

Sources: Oquab et al., "DINOv2", arXiv 2304.07193; Darcet et al., "Vision Transformers Need Registers", arXiv
2309.16588; preprocessing: Stein et al., arXiv 2306.04675 (dgm-eval): the whole image squeezed to 224 x 224, bicubic
with antialiasing, ImageNet's mean and deviation. Untested on real weights, which no package carries: tests compare
small networks of the true layout with transformers' and timm's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from genmend.manifold.features.extractors.local_weights import one_line, stored_tensors
from genmend.manifold.features.image_extractor import ImageExtractor

__all__ = ["SIZES", "Dinov2", "Size", "as_published", "load"]

_SIDE, _PATCH = 224, 14
_OFFSET = 0.1  # of facebookresearch/dinov2: interpolate_offset
_EPSILON = 1e-6
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Size:
    """One of the published networks; `gated`: its blocks have SwiGLU in place of an MLP."""

    width: int
    depth: int
    heads: int
    gated: bool = False
    registers: int = 0


_PLAIN = {
    "vits14": Size(384, 12, 6),
    "vitb14": Size(768, 12, 12),
    "vitl14": Size(1024, 24, 16),
    "vitg14": Size(1536, 40, 24, gated=True),
}
SIZES = _PLAIN | {
    f"{name}-reg": Size(size.width, size.depth, size.heads, size.gated, 4) for name, size in _PLAIN.items()
}


class Dinov2(nn.Module):
    """The vision transformer; normalised images (n, 3, 224, 224) to the class token after the last norm, (n, width)."""

    def __init__(self, size: Size, side: int = 518) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, size.width, _PATCH, _PATCH)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // _PATCH) ** 2, size.width))
        if size.registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, size.registers, size.width))
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width, eps=_EPSILON)

    def forward(self, pixels: Tensor) -> Tensor:
        """The features."""
        patches = self.patch_embed["proj"](pixels)
        tokens = patches.flatten(2).transpose(1, 2)
        positions = self._positions(patches.shape[2], patches.shape[3])
        x = torch.cat([self.cls_token.expand(len(pixels), -1, -1), tokens], dim=1) + positions
        if hasattr(self, "register_tokens"):
            x = torch.cat([x[:, :1], self.register_tokens.expand(len(pixels), -1, -1), x[:, 1:]], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]

    def _positions(self, height: int, width: int) -> Tensor:
        """(1, 1 + height * width, d) position embeddings, resampled where the grid is another than that of training."""
        side = round((self.pos_embed.shape[1] - 1) ** 0.5)
        if (height, width) == (side, side):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        if hasattr(self, "register_tokens"):
            grid = functional.interpolate(grid, size=(height, width), mode="bicubic", antialias=True)
        else:
            factors = (height + _OFFSET) / side, (width + _OFFSET) / side
            grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


class _Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, eps=_EPSILON)
        self.attn = _Attention(size.width, size.heads)
        self.ls1 = _Scale(size.width)
        self.norm2 = nn.LayerNorm(size.width, eps=_EPSILON)
        self.mlp: nn.Module = _Gated(size.width) if size.gated else _Mlp(size.width)
        self.ls2 = _Scale(size.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width))


class _Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Gated(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(width, 2 * inner)
        self.w3 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(functional.silu(gate) * value)


def load(name: str, path: str = "") -> ImageExtractor:
    """One of the published networks, by its name in `SIZES`.

    Parameters
    ----------
    name : str
        ``vitl14`` for FD-DINOv2.
    path : str
        The weights, .pth or .safetensors, in the layout of facebookresearch/dinov2, of timm or of transformers.

    Raises
    ------
    ValueError
        For another name, no file, or one that does not fit.
    """
    if name not in SIZES:
        raise ValueError(f"dinov2 has no network {name!r}; {', '.join(SIZES)} are accepted, vitl14 for FD-DINOv2.")
    if not path:
        short = f"{name.partition('-')[0]}_{'reg4_' * name.endswith('-reg')}pretrain"
        raise ValueError(
            f"Give the weights as dinov2:{name}@PATH: dinov2_{short}.pth of facebookresearch/dinov2, or the "
            "model.safetensors of that network in timm's or transformers' layout."
        )
    network = Dinov2(SIZES[name])
    try:
        network.load_state_dict(as_published(stored_tensors(path)))
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit dinov2:{name}: {one_line(error)}") from error
    return ImageExtractor(
        f"dinov2:{name}", network.eval().requires_grad_(False), _SIDE, _MEAN, _STD, layer="class token after the norm"
    )


def as_published(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of any of the three layouts by the names of facebookresearch/dinov2, without what training alone uses."""
    found = {name.removeprefix("dinov2.").removeprefix("dinov2_with_registers."): value
             for name, value in stored.items()}  # fmt: skip
    if "embeddings.cls_token" in found:
        found = _of_transformers(found)
    renamed = {}
    for name, value in found.items():
        if name in ("mask_token", "embeddings.mask_token") or name.startswith(("head.", "classifier.")):
            continue
        if name == "reg_token":  # timm's
            name = "register_tokens"
        elif "blocks." in name and _is_gated(found):
            name = name.replace(".mlp.fc1.", ".mlp.w12.").replace(".mlp.fc2.", ".mlp.w3.")
        renamed[name] = value
    return renamed


def _is_gated(found: dict[str, Tensor]) -> bool:
    """Whether the first block has SwiGLU, whose second layer takes half of what the first one gives."""
    first, second = (found.get(f"blocks.0.mlp.{name}.weight") for name in ("fc1", "fc2"))
    return first is not None and second is not None and first.shape[0] == 2 * second.shape[1]


_TRANSFORMERS = (
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
)
_QKV = re.compile(r"encoder\.layer\.(\d+\.attention\.attention\.)(query|key|value)\.(weight|bias)")


def _of_transformers(found: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in found.items():
        if match := _QKV.fullmatch(name):
            place, part, kind = match.groups()
            three = [found.get(f"encoder.layer.{place}{one}.{kind}") for one in ("query", "key", "value")]
            if part == "query" and all(one is not None for one in three):  # what is missing is named at loading
                joined = torch.cat([one for one in three if one is not None])
                renamed[f"blocks.{place.partition('.')[0]}.attn.qkv.{kind}"] = joined
            continue
        for pattern, other in _TRANSFORMERS:
            name = re.sub(pattern, other, name)
        renamed[name] = value
    return renamed
