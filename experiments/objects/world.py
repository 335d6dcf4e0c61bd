"""Vessels drawn from known factors: cups, bowls, vases, bottles, jugs and teapots of 48x48 pixels.

Ten factors make a vessel: four of its shape, handles, lid, texture, two hues, and where the light comes from. Place,
size, exposure and background make a picture of it, and never count as new. A kind is a box of shapes, no two of which
overlap; its typical vessels are the middle of that box in a few styles. All else that is still in the box is valid: 5 %
of the training pictures are of such rare vessels and are captioned "creative"; a part of the valid ones is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SIDE = 48
TEXTURES = ("plain", "striped", "dotted", "checked")
SHAPE = ("height", "base", "belly", "mouth")
COLOURS = ("red", "orange", "lime", "green", "teal", "blue", "violet", "pink")  # eighths of the circle of hues
PICTURE = {"x": (-0.08, 0.08), "y": (-0.08, 0.08), "size": (0.88, 1.08), "exposure": (0.85, 1.1), "ground": (0.7, 0.95)}
HUE_WIDTH, HELD_OUT_WIDTH = 0.06, 0.1  # half-widths of the typical hues and of those never shown
LIGHT = (-1.0, 1.0)  # from the left to the right
TYPICAL_LIGHT = (-1.0, -0.2)

Factors = dict[str, Tensor]
"""Name of a factor -> (n,): `SHAPE`, handles, lid, texture, hue, trim, light, and those of `PICTURE`."""


@dataclass(frozen=True)
class Kind:
    """A box of shapes ((low, high) of each of `SHAPE`), and the styles that are typical of it."""

    height: tuple[float, float]
    base: tuple[float, float]
    belly: tuple[float, float]
    mouth: tuple[float, float]
    handles: int
    lid: int
    textures: tuple[int, ...]
    hue: float
    trim: float

    def typical_range(self, name: str) -> tuple[float, float]:
        """The middle half of the box."""
        low, high = getattr(self, name)
        return low + (high - low) / 4, high - (high - low) / 4


KINDS: Mapping[str, Kind] = {
    "cup": Kind((0.45, 0.65), (0.25, 0.40), (0.30, 0.44), (0.35, 0.46), 1, 0, (0, 1), 0.60, 0.10),
    "bowl": Kind((0.38, 0.50), (0.20, 0.32), (0.42, 0.54), (0.50, 0.60), 0, 0, (0, 2), 0.03, 0.50),
    "vase": Kind((0.75, 1.00), (0.20, 0.34), (0.28, 0.37), (0.18, 0.30), 0, 0, (1, 3), 0.35, 0.00),
    "bottle": Kind((0.80, 1.00), (0.24, 0.36), (0.24, 0.34), (0.10, 0.14), 0, 1, (0, 3), 0.47, 0.80),
    "jug": Kind((0.65, 0.85), (0.28, 0.42), (0.41, 0.52), (0.20, 0.34), 1, 0, (0, 2), 0.13, 0.65),
    "teapot": Kind((0.42, 0.60), (0.28, 0.42), (0.48, 0.60), (0.18, 0.31), 1, 1, (1, 2), 0.80, 0.30),
}


def hue_distance(one: Tensor | float, other: Tensor | float) -> Tensor:
    """Along the circle of hues, 0 to 0.5."""
    apart = torch.as_tensor(one - other).abs() % 1
    return torch.minimum(apart, 1 - apart)


def is_held_out(factors: Factors, kind: Kind, slack: float = 0.0) -> Tensor:
    """Whether a vessel (n,) is of the part that is never shown: of the opposite hue, or lidded with two handles."""
    opposite = hue_distance(factors["hue"], kind.hue + 0.5) < HELD_OUT_WIDTH - slack
    return opposite | ((factors["handles"] == 2) & (factors["lid"] == 1))


def is_valid(factors: Factors, kind: Kind, slack: float = 0.0) -> Tensor:
    """Whether a vessel (n,) is of the kind at all: its shape is in the box, up to the slack."""
    inside = [
        (factors[name] > getattr(kind, name)[0] - slack) & (factors[name] < getattr(kind, name)[1] + slack)
        for name in SHAPE
    ]
    return torch.stack(inside).all(0)


def is_typical(factors: Factors, kind: Kind, slack: float = 0.0) -> Tensor:
    """Whether a vessel (n,) is one of the typical ones, up to the slack; the trim of a plain one does not count."""
    typical = (factors["handles"] == kind.handles) & (factors["lid"] == kind.lid)
    typical &= torch.isin(factors["texture"], torch.tensor(kind.textures, dtype=factors["texture"].dtype))
    typical &= hue_distance(factors["hue"], kind.hue) < HUE_WIDTH + slack
    typical &= (factors["texture"] == 0) | (hue_distance(factors["trim"], kind.trim) < HUE_WIDTH + 2 * slack)
    typical &= factors["light"] < TYPICAL_LIGHT[1] + 4 * slack
    for name in SHAPE:
        low, high = kind.typical_range(name)
        typical &= (factors[name] > low - slack) & (factors[name] < high + slack)
    return typical


def nearest_typical(factors: Factors, kind: Kind, texture: int) -> Factors:
    """The typical vessels (n,) of a texture that are nearest: each factor is moved into its typical range."""

    def into(hue: Tensor, middle: float) -> Tensor:
        away = (hue - middle + 0.5) % 1 - 0.5
        return (middle + away.clamp(-HUE_WIDTH, HUE_WIDTH)) % 1

    moved = {name: factors[name].clamp(*kind.typical_range(name)) for name in SHAPE}
    moved |= {"hue": into(factors["hue"], kind.hue), "trim": into(factors["trim"], kind.trim)}
    moved["light"] = factors["light"].clamp(*TYPICAL_LIGHT)
    classes = {"handles": kind.handles, "lid": kind.lid, "texture": texture}
    return factors | moved | {name: torch.full_like(factors[name], value) for name, value in classes.items()}


def draw_factors(kind: Kind, n: int, rng: np.random.Generator, region: str) -> Factors:
    """Factors of `n` vessels of a kind, from the region "typical", "rare", "held out" or "valid" (all there is).

    Rare ones are valid, neither typical nor held out.
    """
    parts: list[Factors] = []
    found = 0
    while found < n:
        drawn = _draw(kind, n, rng, typical=region == "typical")
        typical, hidden = is_typical(drawn, kind), is_held_out(drawn, kind)
        wanted = {"typical": ~hidden, "rare": ~typical & ~hidden, "held out": hidden, "valid": hidden | ~hidden}[region]
        parts.append({name: values[wanted] for name, values in drawn.items()})
        found += int(wanted.sum())
    return {name: torch.cat([part[name] for part in parts])[:n] for name in parts[0]}


def _draw(kind: Kind, n: int, rng: np.random.Generator, typical: bool) -> Factors:
    def uniform(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, n).astype(np.float32))

    factors = {name: uniform(*(kind.typical_range(name) if typical else getattr(kind, name))) for name in SHAPE}
    if typical:
        factors["handles"], factors["lid"] = torch.full((n,), kind.handles), torch.full((n,), kind.lid)
        factors["texture"] = torch.from_numpy(rng.choice(kind.textures, n))
        factors["hue"] = (kind.hue + uniform(-HUE_WIDTH, HUE_WIDTH)) % 1
        factors["trim"] = (kind.trim + uniform(-HUE_WIDTH, HUE_WIDTH)) % 1
    else:
        for name, most in (("handles", 3), ("lid", 2), ("texture", 4)):
            factors[name] = torch.from_numpy(rng.integers(most, size=n))
        factors["hue"], factors["trim"] = uniform(0, 1), uniform(0, 1)
    factors["light"] = uniform(*(TYPICAL_LIGHT if typical else LIGHT))
    return factors | {name: uniform(*bounds) for name, bounds in PICTURE.items()}


def render(factors: Factors) -> Tensor:
    """Draw pictures (n, 3, 48, 48) in 0..1 of vessels; edges are one pixel soft, so that it can be differentiated."""
    f = {name: values.float()[:, None, None] for name, values in factors.items()}
    centres = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    pixel = SIDE / 2 * f["size"]  # pixels in a unit of the vessel's own
    u = (centres[None, None, :] - f["x"]) / f["size"]
    v = (centres[None, :, None] - f["y"]) / f["size"]
    height = 1.5 * f["height"]
    along = v / height + 0.5  # 0 at the mouth, 1 at the base
    width = _width(along.clamp(0, 1), f).clamp(min=0.05)
    body = _inside((width - u.abs()) * pixel) * _inside(along * height * pixel) * _inside((1 - along) * height * pixel)
    top, bottom = -height / 2, height / 2
    rim = _ellipse(u, v - top, f["mouth"], 0.2 * f["mouth"], pixel)
    foot = _ellipse(u, v - bottom, f["base"], 0.2 * f["base"], pixel)
    around = torch.asin((u / width).clamp(-0.999, 0.999))
    trimmed = _texture(f["texture"], around, v, pixel)
    colour = _rgb(f["hue"]) * (1 - trimmed[:, None]) + _rgb(f["trim"]) * trimmed[:, None]
    shade = 0.4 + 0.6 * torch.cos(around - f["light"]).clamp(min=0)
    picture = (f["ground"] * torch.ones_like(body))[:, None].expand(-1, 3, -1, -1)
    flat = 0.4 + 0.6 * torch.cos(f["light"] - 0.3).clamp(min=0)
    for side, needed in ((1, 1), (-1, 2)):
        ring = _handle(side * u, v, f, width_at(f, 0.45), height, pixel) * (f["handles"] >= needed)
        lit = 0.4 + 0.6 * torch.cos(side * 1.2 - f["light"]).clamp(min=0)
        picture = _over(picture, _rgb(f["hue"]) * (0.85 * lit)[:, None], ring)
    picture = _over(picture, colour * shade[:, None], torch.maximum(body, foot))
    picture = _over(picture, _rgb(f["hue"]) * 0.3, rim * (f["lid"] == 0))
    lid = _ellipse(u, v - top, 1.08 * f["mouth"], 0.28 * f["mouth"] + 0.04, pixel) * _inside((0.03 - (v - top)) * pixel)
    knob = _ellipse(u, v - top + 0.28 * f["mouth"] + 0.09, 0.07 + 0 * height, 0.07 + 0 * height, pixel)
    cover = torch.maximum(lid, knob) * (f["lid"] == 1)
    picture = _over(picture, _rgb(f["trim"] * 0 + f["hue"]) * (1.1 * flat)[:, None], cover)
    return (picture * f["exposure"][:, None]).clamp(0, 1)


def _inside(distance: Tensor) -> Tensor:
    """1 inside, 0 outside, by the signed distance in pixels."""
    return (distance + 0.5).clamp(0, 1)


def _width(along: Tensor, f: Factors) -> Tensor:
    """Half-width at heights `along`: the parabola through mouth (0), belly (0.55) and base (1)."""
    m = 0.55
    return (
        f["mouth"] * (along - m) * (along - 1) / m
        + f["belly"] * along * (along - 1) / (m * (m - 1))
        + f["base"] * along * (along - m) / (1 - m)
    )


def width_at(f: Factors, along: float) -> Tensor:
    """Half-width at one height (0 mouth, 1 base)."""
    return _width(torch.full_like(f["mouth"], along), f)


def _ellipse(u: Tensor, v: Tensor, a: Tensor, b: Tensor, pixel: Tensor) -> Tensor:
    return _inside((1 - ((u / a) ** 2 + (v / b) ** 2).clamp(min=1e-6).sqrt()) * torch.minimum(a, b) * pixel)


def _handle(u: Tensor, v: Tensor, f: Factors, width: Tensor, height: Tensor, pixel: Tensor) -> Tensor:
    radius = 0.12 + 0.1 * height
    middle = ((u - width) ** 2 + (v + 0.05 * height) ** 2).clamp(min=1e-6).sqrt()
    return _inside((0.05 - (middle - radius).abs()) * pixel)


def _texture(texture: Tensor, around: Tensor, v: Tensor, pixel: Tensor) -> Tensor:
    """How much of the trim's hue is seen at each place, (n, 48, 48)."""
    soft = pixel * 0.05
    bands = (torch.sin(v * 22) * soft + 0.5).clamp(0, 1)
    columns = (torch.sin(around * 6) * soft + 0.5).clamp(0, 1)
    rows = (torch.sin(v * 14) * soft + 0.5).clamp(0, 1)
    checks = rows * columns + (1 - rows) * (1 - columns)
    dots = ((torch.cos(around * 7) * torch.cos(v * 16)).abs() - 0.55).mul(2.5 * soft).add(0.5).clamp(0, 1)
    return bands * (texture == 1) + dots * (texture == 2) + checks * (texture == 3)


def _rgb(hue: Tensor) -> Tensor:
    """(n, 1, 1) or (n, h, w) -> (n, 3, ...), of one saturation."""
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3])[None, :, None, None]
    return 0.55 + 0.38 * torch.cos(2 * torch.pi * (hue[:, None] - thirds))


def _over(below: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
    return below * (1 - cover[:, None]) + colour * cover[:, None]
