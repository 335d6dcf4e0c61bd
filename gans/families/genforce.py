"""StyleGAN2 and Progressive GAN as GenForce stores them, the code on which the rare-neuron correction was published.

Names and shapes: genforce/genforce at bb244e22985645, models/stylegan2_generator.py, and at de3e0171cc55,
models/pggan_generator.py. Untested on real files: none can be had from a package registry; the tests build tiny models
of both layouts. Conditional models are refused: GenForce joins the label to z before both are normalised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from genmend.activations.digests import model_layout
from genmend.gans.families.layout import Config, LayoutError, Shapes, State
from genmend.gans.families.progan import DISSECTION
from genmend.gans.families.resampling import fir_kernel
from genmend.gans.families.stylegan2_layouts import ROSINALITY, Row, array_size, check_filters

__all__ = ["PGGAN", "STYLEGAN2"]


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _scaled(tensor: Tensor) -> Tensor:
    """Kernels as they are demodulated there: times 1 / sqrt(fan in) first, which matters beside the small constant."""
    return tensor / math.sqrt(tensor[0].numel())


def _turned(tensor: Tensor) -> Tensor:
    """The transposed convolutions turn their kernels round as they run."""
    return _scaled(tensor).flip(2, 3)


def _unconditional(shapes: Shapes) -> None:
    if "mapping.label_weight" in shapes:
        raise LayoutError(
            "The file is a conditional GenForce StyleGAN2, which convert does not read: build it with its own code and "
            "give MODEL as module:callable."
        )


def _stylegan2_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    _unconditional(shapes)
    n_mapping = sum(bool(re.fullmatch(r"mapping\.dense\d+\.weight", name)) for name in shapes)
    n_outputs = sum(bool(re.fullmatch(r"synthesis\.output\d+\.weight", name)) for name in shapes)
    n_layers = sum(bool(re.fullmatch(r"synthesis\.layer\d+\.weight", name)) for name in shapes)
    if n_layers != 2 * n_outputs - 1:
        raise LayoutError(
            f"The file has {n_layers} layers and {n_outputs} outputs; of GenForce's StyleGAN2 architectures "
            "'skip' alone is read, which has an output for every size."
        )
    widths = [array_size(shapes, f"synthesis.layer{2 * number}.weight", 0) for number in range(n_outputs)]
    return {
        "z_width": array_size(shapes, "mapping.dense0.weight", 1),
        "w_width": array_size(shapes, f"mapping.dense{n_mapping - 1}.weight", 0),
        "widths": {str(4 * 2**number): width for number, width in enumerate(widths)},
        "n_mapping": n_mapping,
        "n_classes": 0,
        "embedded": 0,
        "channels": array_size(shapes, "synthesis.output0.weight", 0),
        "clamp": None,
        "mapping_rate": 0.01,
    }


def _stylegan2_rows(config: Config) -> dict[str, Row]:
    """Every name of a checkpoint that becomes one of ours."""
    ours = model_layout(ROSINALITY.build(config))
    sides = [int(side) for side in config["widths"]]
    convolutions = [f"synthesis.b{side}.conv{number}" for side in sides for number in (0, 1)][1:]
    rows: dict[str, Row] = {
        "truncation.w_avg": ("mapping.w_avg", ours["mapping.w_avg"], _same),
        "synthesis.early_layer.const": ("synthesis.b4.const", (1, *ours["synthesis.b4.const"]), lambda t: t[0]),
    }
    for layer in range(config["n_mapping"]):
        for part in ("weight", "bias"):
            name = f"mapping.fc{layer}.{part}"
            rows[f"mapping.dense{layer}.{part}"] = (name, ours[name], _same)
    for theirs, name in [
        *((f"synthesis.layer{number}", name) for number, name in enumerate(convolutions)),
        *((f"synthesis.output{number}", f"synthesis.b{side}.torgb") for number, side in enumerate(sides)),
    ]:
        painted, up = name.endswith("torgb"), name.endswith("conv0")
        how = _same if painted else _turned if up else _scaled
        rows[f"{theirs}.weight"] = (f"{name}.weight", ours[f"{name}.weight"], how)
        rows[f"{theirs}.bias"] = (f"{name}.bias", ours[f"{name}.bias"], _same)
        rows[f"{theirs}.style.weight"] = (f"{name}.affine.weight", ours[f"{name}.affine.weight"], _same)
        # Their styles are around 0, and 1 is added as they run.
        rows[f"{theirs}.style.bias"] = (f"{name}.affine.bias", ours[f"{name}.affine.bias"], lambda tensor: tensor + 1)
        if not painted:
            rows[f"{theirs}.noise_strength"] = (f"{name}.noise_strength", (), _same)
            side = ours[f"{name}.noise_const"]
            rows[f"{theirs}.noise"] = (f"{name}.noise_const", (1, 1, *side), lambda tensor: tensor[0, 0])
    return rows


def _filters(config: Config) -> list[str]:
    """Names of the filters: one of each convolution that doubles the size, and one of the image."""
    n_blocks = len(config["widths"])
    return [
        *(f"synthesis.layer{2 * number - 1}.filter.kernel" for number in range(1, n_blocks)),
        "synthesis.upsample.kernel",
    ]


def _stylegan2_expected(config: Config) -> Shapes:
    shapes = {theirs: shape for theirs, (_, shape, _) in _stylegan2_rows(config).items()}
    return shapes | {name: (1, 1, *fir_kernel((1, 3, 3, 1)).shape) for name in _filters(config)}


def _translate_stylegan2(state: State, config: Config) -> State:
    names = _filters(config)
    check_filters({name: state[name][0, 0] for name in names}, names, gain=4.0)
    ours = ROSINALITY.build(config).state_dict()  # its filters stay as the module was built
    return ours | {name: how(state[theirs]) for theirs, (name, _, how) in _stylegan2_rows(config).items()}


STYLEGAN2 = replace(
    ROSINALITY,
    name="stylegan2-genforce",
    source="genforce/genforce at bb244e22985645, models/stylegan2_generator.py",
    marks=("mapping.dense0.weight", "synthesis.early_layer.const", "synthesis.layer0.style.weight"),
    config=_stylegan2_config,
    expected=_stylegan2_expected,
    translate=_translate_stylegan2,
    extras=(),
)


def _pggan_config(shapes: Shapes, stored: Mapping[str, Any]) -> Config:
    n_outputs = sum(bool(re.fullmatch(r"output\d+\.weight", name)) for name in shapes)
    widths = [array_size(shapes, f"layer{2 * number + 1}.weight", 0) for number in range(n_outputs)]
    z_width, channels = array_size(shapes, "layer0.weight", 1), array_size(shapes, "output0.weight", 0)
    return {"z_width": z_width, "widths": widths, "channels": channels, "pixel_bias": False}


def _pggan_names(config: Config) -> dict[str, str]:
    """Our prefix of each of their layers; their images of smaller sizes are not used."""
    n = len(config["widths"])
    side = 4 * 2 ** (n - 1)
    return {f"layer{number}": f"layer{number + 1}" for number in range(2 * n)} | {
        f"output{n - 1}": f"output_{side}x{side}"
    }


def _pggan_expected(config: Config) -> Shapes:
    ours = model_layout(DISSECTION.build(config))
    expected: dict[str, tuple[int, ...]] = {"lod": ()}
    for theirs, name in _pggan_names(config).items():
        expected |= {f"{theirs}.weight": ours[f"{name}.conv.weight"], f"{theirs}.bias": ours[f"{name}.wscale.b"]}
    for number, width in enumerate(config["widths"][:-1]):
        expected[f"output{number}.weight"] = (config["channels"], width, 1, 1)
        expected[f"output{number}.bias"] = (config["channels"],)
    return expected


def _translate_pggan(state: State, config: Config) -> State:
    if state["lod"].item():
        raise LayoutError(
            f"The file stopped growing at lod {state['lod'].item():g}: its largest size was not trained to the end, "
            "and convert reads finished models (lod 0)."
        )
    return {
        ours: state[theirs]
        for prefix, name in _pggan_names(config).items()
        for theirs, ours in ((f"{prefix}.weight", f"{name}.conv.weight"), (f"{prefix}.bias", f"{name}.wscale.b"))
    }


PGGAN = replace(
    DISSECTION,
    name="progan-genforce",
    source="genforce/genforce at de3e0171cc55, models/pggan_generator.py",
    marks=("layer0.weight", "layer1.weight", "output0.weight", "lod"),
    config=_pggan_config,
    expected=_pggan_expected,
    translate=_translate_pggan,
)
