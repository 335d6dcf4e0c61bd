"""A StyleGAN2 written out sample by sample in float64, and tiny checkpoints in both public layouts."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.signal import upfirdn
from torch.nn import functional

Z, W, N_MAPPING = 6, 6, 2
WIDTHS = {4: 5, 8: 4, 16: 3}
TAPS = np.array([1.0, 3, 3, 1]) / 8


def nvidia_state(seed: int = 0, n_classes: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names that stylegan2-ada-pytorch's state dict has."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape, scale=1.0, shift=0.0):
        return torch.randn(shape, generator=draw) * scale + shift

    kernel = torch.tensor(np.outer(TAPS, TAPS), dtype=torch.float32)
    state = {"mapping.w_avg": random(W, scale=0.3)}
    if n_classes:
        state |= {"mapping.embed.weight": random(W, n_classes), "mapping.embed.bias": random(W)}
    for layer in range(N_MAPPING):
        before = Z + W * bool(n_classes) if layer == 0 else W
        state |= {
            f"mapping.fc{layer}.weight": random(W, before, scale=100),
            f"mapping.fc{layer}.bias": random(W, scale=30),
        }
    state["synthesis.b4.const"] = random(WIDTHS[4], 4, 4)
    before = None
    for side, after in WIDTHS.items():
        block = f"synthesis.b{side}"
        state[f"{block}.resample_filter"] = kernel.clone()
        for conv, inputs in (("conv0", before), ("conv1", after)):
            if inputs is None:
                continue
            state |= {
                f"{block}.{conv}.affine.weight": random(inputs, W),
                f"{block}.{conv}.affine.bias": random(inputs, scale=0.3, shift=1),
                f"{block}.{conv}.weight": random(after, inputs, 3, 3),
                f"{block}.{conv}.noise_const": random(side, side),
                f"{block}.{conv}.noise_strength": random(scale=0.3),
                f"{block}.{conv}.bias": random(after, scale=0.3),
                f"{block}.{conv}.resample_filter": kernel.clone(),
            }
        state |= {
            f"{block}.torgb.affine.weight": random(after, W),
            f"{block}.torgb.affine.bias": random(after, scale=0.3, shift=1),
            f"{block}.torgb.weight": random(3, after, 1, 1),
            f"{block}.torgb.bias": random(3, scale=0.3),
        }
        before = after
    return state


def rosinality_checkpoint(state: dict[str, torch.Tensor]) -> dict:
    """The same network as ``{"g_ema": ..., "latent_avg": ...}`` of rosinality/stylegan2-pytorch."""
    g_ema = {}
    for layer in range(N_MAPPING):
        g_ema[f"style.{layer + 1}.weight"] = state[f"mapping.fc{layer}.weight"]
        g_ema[f"style.{layer + 1}.bias"] = state[f"mapping.fc{layer}.bias"]
    g_ema["input.input"] = state["synthesis.b4.const"][None]
    order = [(4, "conv1"), (8, "conv0"), (8, "conv1"), (16, "conv0"), (16, "conv1")]
    for number, (side, conv) in enumerate(order):
        ours, theirs = f"synthesis.b{side}.{conv}", "conv1" if number == 0 else f"convs.{number - 1}"
        g_ema[f"{theirs}.conv.weight"] = state[f"{ours}.weight"][None]
        if conv == "conv0":
            g_ema[f"{theirs}.conv.blur.kernel"] = state[f"{ours}.resample_filter"] * 4
        g_ema[f"{theirs}.conv.modulation.weight"] = state[f"{ours}.affine.weight"]
        g_ema[f"{theirs}.conv.modulation.bias"] = state[f"{ours}.affine.bias"]
        g_ema[f"{theirs}.noise.weight"] = state[f"{ours}.noise_strength"][None]
        g_ema[f"{theirs}.activate.bias"] = state[f"{ours}.bias"]
        g_ema[f"noises.noise_{number}"] = state[f"{ours}.noise_const"][None, None]
    for number, side in enumerate(WIDTHS):
        ours, theirs = f"synthesis.b{side}.torgb", "to_rgb1" if number == 0 else f"to_rgbs.{number - 1}"
        g_ema[f"{theirs}.bias"] = state[f"{ours}.bias"].view(1, 3, 1, 1)
        g_ema[f"{theirs}.conv.weight"] = state[f"{ours}.weight"][None]
        g_ema[f"{theirs}.conv.modulation.weight"] = state[f"{ours}.affine.weight"]
        g_ema[f"{theirs}.conv.modulation.bias"] = state[f"{ours}.affine.bias"]
        if number:
            g_ema[f"{theirs}.upsample.kernel"] = state[f"synthesis.b{side}.resample_filter"] * 4
    return {"g_ema": g_ema, "latent_avg": state["mapping.w_avg"]}


def fir(plane: np.ndarray, up: int, before: int, after: int, gain: float) -> np.ndarray:
    """Rows, then columns, through scipy's upfirdn, cut to what padding by (before, after) leaves."""
    for axis in (0, 1):
        full = upfirdn(TAPS, plane, up=up, axis=axis)  # zero-padded without end
        length = plane.shape[axis] * up + before + after - len(TAPS) + 1
        first = len(TAPS) - 1 - before
        plane = np.take(
            np.pad(full, [(0, up) if a == axis else (0, 0) for a in (0, 1)]), range(first, first + length), axis
        )
    return plane * gain


def modulated_loop(x, weight, styles, up=False, demodulate=True):
    """One sample at a time, with its own kernels, in float64."""
    outputs = []
    for sample, style in zip(x.double(), styles.double(), strict=True):
        kernels = weight.double() * style[None, :, None, None]
        if demodulate:
            kernels = kernels / (kernels.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            wide = functional.conv_transpose2d(sample[None], kernels.transpose(0, 1), stride=2)[0]
            wide = torch.from_numpy(np.stack([fir(plane, 1, 1, 1, 4) for plane in wide.numpy()]))
        else:
            wide = functional.conv2d(sample[None], kernels, padding=kernels.shape[-1] // 2)[0]
        outputs.append(wide)
    return torch.stack(outputs)


def leaky(x, clamp=None):
    x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def written_out_styles(state, z):
    """w of z in float64."""
    x = z.double()
    x = x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in range(N_MAPPING):
        weight, bias = (state[f"mapping.fc{layer}.{part}"].double() for part in ("weight", "bias"))
        x = leaky(x @ weight.T * 0.01 / math.sqrt(weight.shape[1]) + bias * 0.01)
    return x


def written_out_image(state, ws, noise=True, clamp=None):
    """Images of w+ ``[n, 6, W]`` in float64; also every convolution's activations by name."""
    layers = {}

    def affine(name, w):
        weight, bias = state[f"{name}.affine.weight"].double(), state[f"{name}.affine.bias"].double()
        return w.double() @ weight.T / math.sqrt(W) + bias

    def convolved(x, name, w, up):
        x = modulated_loop(x, state[f"{name}.weight"], affine(name, w), up=up)
        x = x + state[f"{name}.noise_const"].double() * state[f"{name}.noise_strength"].double() * noise
        layers[f"{name}.activation"] = leaky(x + state[f"{name}.bias"].double()[:, None, None], clamp)
        return layers[f"{name}.activation"]

    x, image, number = state["synthesis.b4.const"].double().expand(len(ws), -1, -1, -1), None, 0
    for side in WIDTHS:
        block = f"synthesis.b{side}"
        if side > 4:
            x, number = convolved(x, f"{block}.conv0", ws[:, number], True), number + 1
        x, number = convolved(x, f"{block}.conv1", ws[:, number], False), number + 1
        weight = state[f"{block}.torgb.weight"]
        styles = affine(f"{block}.torgb", ws[:, number]) / math.sqrt(weight.shape[1])
        painted = (
            modulated_loop(x, weight, styles, demodulate=False) + state[f"{block}.torgb.bias"].double()[:, None, None]
        )
        painted = painted if clamp is None else painted.clamp(-clamp, clamp)
        if image is not None:
            wide = [[fir(plane, 2, 2, 1, 4) for plane in sample] for sample in image.numpy()]
            painted = painted + torch.from_numpy(np.array(wide))
        image = painted
    return image, layers
