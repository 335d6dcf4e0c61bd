"""The two public layouts of StyleGAN2 checkpoints, read into the one module.

NVIDIA: NVlabs/stylegan2-ada-pytorch at 375a436003d1, training/networks.py (names, shapes), torch_utils/persistence.py
(what a .pkl holds). rosinality: rosinality/stylegan2-pytorch at 7e46e4754bf4, model.py (names, shapes), and
convert_weight.py at 1376b90bc35a (``g_ema`` and ``latent_avg``). Untested on real files: none can be had from a package
registry; the tests build tiny models of both layouts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.digests import model_layout
from genmend.gans.families.layout import Config, Layout, LayoutError, Shapes, State
from genmend.gans.families.resampling import fir_kernel
from genmend.gans.families.stylegan2 import StyleGAN2
from genmend.gans.families.stylegan2_adapter import OPTIONS, mean_style, stylegan2_generator
from genmend.gans.generator import Generator

__all__ = ["NVIDIA", "ROSINALITY", "Row", "array_size", "check_filters"]

_TAPS = (1, 3, 3, 1)  # of every public model; other filters are told apart by their values, see `check_filters`
_NVIDIA_CLAMP = 256.0  # what train.py of stylegan2-ada-pytorch trains with


def _build(config: Config) -> StyleGAN2:
    widths = {int(side): width for side, width in config["widths"].items()}
    sizes = {name: value for name, value in config.items() if name != "stored_noises"}
    return StyleGAN2(**(sizes | {"widths": widths, "taps": _TAPS})).eval()


def _adapt(module: nn.Module, config: Config, name: str, options: Mapping[str, Any]) -> Generator:
    assert isinstance(module, StyleGAN2)
    return stylegan2_generator(module, name, **options)


def array_size(shapes: Shapes, name: str, axis: int) -> int:
    """One length of one array; LayoutError where it isn't there."""
    if len(shapes.get(name, ())) <= axis:
        raise LayoutError(
            f"The file has no {name} of at least {axis + 1} dimensions, so the model's sizes can't be told."
        )
    return int(shapes[name][axis])


def check_filters(state: State, names: list[str], gain: float = 1.0) -> None:
    """Raise LayoutError unless the filters of these names are [1, 3, 3, 1] in both directions, times the gain."""
    wrong = [name for name in names if not torch.allclose(state[name].float(), fir_kernel(_TAPS) * gain, atol=1e-4)]
    if wrong:
        raise LayoutError(
            f"Filters other than [1, 3, 3, 1] are not supported, and the file has some: {', '.join(wrong)}."
        )


def _nvidia_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    sides = sorted(
        int(found[1]) for name in shapes if (found := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name))
    )
    n_mapping = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in shapes)
    if not sides or not n_mapping:
        raise LayoutError(
            "The file has no synthesis.bN.conv1.weight, or no mapping.fcN.weight: no StyleGAN2 of NVIDIA's."
        )
    conditional = "mapping.embed.weight" in shapes
    embedded = array_size(shapes, "mapping.embed.weight", 0) if conditional else 0
    synthesis, mapping = stored.get("synthesis_kwargs", {}), stored.get("mapping_kwargs", {})
    return {
        "z_width": array_size(shapes, "mapping.fc0.weight", 1) - embedded,
        "w_width": array_size(shapes, f"mapping.fc{n_mapping - 1}.weight", 0),
        "widths": {str(side): array_size(shapes, f"synthesis.b{side}.conv1.weight", 0) for side in sides},
        "n_mapping": n_mapping,
        "n_classes": array_size(shapes, "mapping.embed.weight", 1) if conditional else 0,
        "embedded": embedded,
        "channels": array_size(shapes, f"synthesis.b{sides[-1]}.torgb.weight", 0),
        # A state dict alone does not tell it; a .pkl does, also where there is none.
        "clamp": synthesis.get("conv_clamp") if "synthesis_kwargs" in stored else _NVIDIA_CLAMP,
        "mapping_rate": float(mapping.get("lr_multiplier", 0.01)),
    }


def _translate_nvidia(state: State, config: Config) -> State:
    check_filters(state, [name for name in state if name.endswith("resample_filter")])
    return dict(state)


NVIDIA = Layout(
    name="stylegan2-nvidia",
    source="NVlabs/stylegan2-ada-pytorch at 375a436003d1, training/networks.py",
    marks=("mapping.fc0.weight", "synthesis.b4.const"),
    config=_nvidia_config,
    expected=lambda config: model_layout(_build(config)),
    translate=_translate_nvidia,
    build=_build,
    adapt=_adapt,
    options=OPTIONS,
)


def _rosinality_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    n_mapping = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in shapes)
    n_convolutions = sum(bool(re.fullmatch(r"convs\.\d+\.conv\.weight", name)) for name in shapes)
    z_width, w_width = array_size(shapes, "style.1.weight", 1), array_size(shapes, f"style.{n_mapping}.weight", 0)
    if z_width != w_width:
        raise LayoutError(
            f"style.1.weight takes {z_width} numbers and w has {w_width}; in this layout z is as wide as w, so the "
            "file is of a conditional or another model, whose labels it does not tell: build it with its own code and "
            "give MODEL as module:callable."
        )
    widths = [array_size(shapes, "conv1.conv.weight", 1)]
    widths += [array_size(shapes, f"convs.{number}.conv.weight", 1) for number in range(0, n_convolutions, 2)]
    return {
        "z_width": z_width,
        "w_width": w_width,
        "widths": {str(4 * 2**number): width for number, width in enumerate(widths)},
        "n_mapping": n_mapping,
        "n_classes": 0,
        "embedded": 0,
        "channels": array_size(shapes, "to_rgb1.bias", 1),
        "clamp": None,
        "mapping_rate": 0.01,
        **({} if any(map(_is_noise, shapes)) else {"stored_noises": False}),
    }


Convert = Callable[[Tensor], Tensor]
Row = tuple[str, tuple[int, ...], Convert]  # our name, the shape there, how the array becomes ours


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _first(tensor: Tensor) -> Tensor:
    return tensor[0]


def _scaled(tensor: Tensor) -> Tensor:
    """Kernels as they are demodulated there: times 1 / sqrt(fan in) first, which matters beside the small constant."""
    return tensor[0] / math.sqrt(tensor[0, 0].numel())


def _rosinality_rows(config: Config) -> dict[str, Row]:
    """Every name of a rosinality checkpoint, with what becomes of it."""
    ours = model_layout(_build(config))
    rows: dict[str, Row] = {}

    def row(
        theirs: str, name: str, lead: tuple[int, ...] = (), tail: tuple[int, ...] = (), how: Convert = _same
    ) -> None:
        rows[theirs] = (name, (*lead, *ours[name], *tail), how)

    for layer in range(config["n_mapping"]):
        row(f"style.{layer + 1}.weight", f"mapping.fc{layer}.weight")
        row(f"style.{layer + 1}.bias", f"mapping.fc{layer}.bias")
    row("input.input", "synthesis.b4.const", (1,), how=_first)
    sides = [int(side) for side in config["widths"]]
    convolutions = [f"synthesis.b{side}.conv{number}" for side in sides for number in (0, 1)][1:]
    for number, name in enumerate(convolutions):
        theirs = "conv1" if number == 0 else f"convs.{number - 1}"
        row(f"{theirs}.conv.weight", f"{name}.weight", (1,), how=_scaled)
        row(f"{theirs}.conv.modulation.weight", f"{name}.affine.weight")
        row(f"{theirs}.conv.modulation.bias", f"{name}.affine.bias")
        row(f"{theirs}.noise.weight", f"{name}.noise_strength", (1,), how=_first)
        row(f"{theirs}.activate.bias", f"{name}.bias")
        row(f"noises.noise_{number}", f"{name}.noise_const", (1, 1), how=lambda tensor: tensor[0, 0])
        if name.endswith("conv0"):
            row(f"{theirs}.conv.blur.kernel", f"{name}.resample_filter", how=lambda tensor: tensor / 4)
    for number, side in enumerate(sides):
        theirs, name = "to_rgb1" if number == 0 else f"to_rgbs.{number - 1}", f"synthesis.b{side}.torgb"
        row(f"{theirs}.conv.weight", f"{name}.weight", (1,), how=_first)
        row(f"{theirs}.conv.modulation.weight", f"{name}.affine.weight")
        row(f"{theirs}.conv.modulation.bias", f"{name}.affine.bias")
        row(f"{theirs}.bias", f"{name}.bias", (1,), (1, 1), how=torch.Tensor.flatten)
        if number:
            row(f"{theirs}.upsample.kernel", f"synthesis.b{side}.resample_filter", how=lambda tensor: tensor / 4)
    return rows


def _translate_rosinality(state: State, config: Config) -> State:
    module = _build(config)
    rows = _rosinality_rows(config)
    check_filters(state, [name for name in rows if name.endswith("kernel")], gain=4.0)
    # Filters that are there in NVIDIA's layout alone stay as the module was built.
    ours = module.state_dict() | _fixed_noises(config)
    ours |= {name: how(state[theirs]) for theirs, (name, _, how) in rows.items() if theirs in state}
    average = state.get("latent_avg")
    if average is None:
        module.load_state_dict(ours)
        average = mean_style(module)
    return ours | {"mapping.w_avg": average.flatten()}


def _fixed_noises(config: Config) -> State:
    """Noise for files that keep none, as it was drawn anew in every run there: fixed, of seed 0."""
    draw = torch.Generator().manual_seed(0)
    shapes = {ours: shape for theirs, (ours, shape, _) in _rosinality_rows(config).items() if _is_noise(theirs)}
    return {name: torch.randn(shape[2:], generator=draw) for name, shape in shapes.items()}


def _is_noise(name: str) -> bool:
    return name.startswith("noises.")


def _rosinality_expected(config: Config) -> Shapes:
    return {
        theirs: shape
        for theirs, (_, shape, _) in _rosinality_rows(config).items()
        if config.get("stored_noises", True) or not _is_noise(theirs)
    }


ROSINALITY = Layout(
    name="stylegan2-rosinality",
    source="rosinality/stylegan2-pytorch at 7e46e4754bf4, model.py",
    marks=("style.1.weight", "input.input", "conv1.conv.modulation.weight"),
    config=_rosinality_config,
    expected=_rosinality_expected,
    translate=_translate_rosinality,
    build=_build,
    adapt=_adapt,
    options=OPTIONS,
    extras=("latent_avg",),
)
