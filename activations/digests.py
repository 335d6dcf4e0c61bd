"""Fingerprints of a model: its layout (names and shapes) and its weights (contents, in each common dtype)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from genmend.activations.layers import plain_name
from genmend.storage.digests import sha256_of

__all__ = [
    "AS_STORED",
    "has_adapters",
    "has_fused_adapters",
    "layout_difference",
    "layout_digest",
    "model_layout",
    "same_but_for_dtype",
    "weights_digest",
    "weights_digests",
]

#: Key, in `weights_digests`, of the digest in the dtypes that the model was loaded in.
AS_STORED = "as_stored"
_CASTS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def model_layout(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of ``state_dict()``, sorted by name."""
    return {name: tuple(tensor.shape) for name, tensor in _state(model).items()}


def layout_digest(layout: Mapping[str, Sequence[int]]) -> str:
    """Return the SHA-256, in hexadecimal, of sorted names and shapes."""
    listed = [[name, list(layout[name])] for name in sorted(layout)]
    return sha256_of([json.dumps(listed, separators=(",", ":"))])


def layout_difference(wanted: Mapping[str, Sequence[int]], given: Mapping[str, Sequence[int]]) -> list[str]:
    """List every difference, one line each: ``missing``, ``unexpected``, ``wrong shape``; empty if there is none."""
    missing = [f"missing: {name} {tuple(wanted[name])}" for name in sorted(wanted.keys() - given.keys())]
    unexpected = [f"unexpected: {name} {tuple(given[name])}" for name in sorted(given.keys() - wanted.keys())]
    wrong = [
        f"wrong shape: {name} is {tuple(given[name])}, should be {tuple(wanted[name])}"
        for name in sorted(wanted.keys() & given.keys())
        if tuple(wanted[name]) != tuple(given[name])
    ]
    return missing + unexpected + wrong


def weights_digest(model: nn.Module, *dtypes: torch.dtype) -> str:
    """Return the SHA-256, in hexadecimal, of sorted names and contents.

    Parameters
    ----------
    model
        Any module; its ``state_dict()`` is read.
    *dtypes
        Cast floating tensors to these first, one after the other; none takes them as they are. Integer tensors are
        never cast.
    """

    def parts() -> Iterator[str | Tensor]:
        for name, tensor in _contents(model):
            if dtypes and tensor.is_floating_point():
                tensor = tensor.detach().cpu()
                for dtype in dtypes:
                    tensor = tensor.to(dtype)
            yield f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|"
            yield tensor

    return sha256_of(parts())


def weights_digests(model: nn.Module) -> dict[str, str]:
    """Return the digest as stored and one for each common dtype, so that a model in another one can be recognised."""
    casts = {str(dtype).removeprefix("torch."): weights_digest(model, dtype) for dtype in _CASTS}
    return {AS_STORED: weights_digest(model), **casts}


def same_but_for_dtype(model: nn.Module, digests: Mapping[str, str]) -> bool:
    """Whether the weights are those of `weights_digests`, one of the two cast to another dtype, or rounded to 16 bits.

    Half precision is what large models are shipped in and bfloat16 what they often run in, so a digest of weights that
    went through both is known too.
    """
    if weights_digest(model) in digests.values():
        return True
    roundings = ((torch.float16,), (torch.bfloat16,), (torch.float16, torch.bfloat16))
    return any(weights_digest(model, *dtypes) == digests.get(AS_STORED) for dtypes in roundings)


def has_adapters(model: nn.Module) -> bool:
    """Whether layers of the model have adapters of peft (LoRA and its like) beside their own weights."""
    return any(_is_adapted(module) for module in model.modules())


def has_fused_adapters(model: nn.Module) -> bool:
    """Whether such adapters have been added into the weights."""
    return any(_is_adapted(module) and module.merged_adapters for module in model.modules())


def _is_adapted(module: nn.Module) -> bool:
    return hasattr(module, "base_layer") and hasattr(module, "merged_adapters")


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The model's own tensors under their plain names: without those of adapters, and read where they are offloaded."""
    adapted = [name for name, module in model.named_modules() if _is_adapted(module)]
    state = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor) or not _OF_ADAPTERS.isdisjoint(name.split(".")):
            continue
        around = [prefix for prefix in adapted if name.startswith(f"{prefix}.")]
        if around and not name.startswith(f"{around[-1]}.base_layer."):
            continue
        plain = ".".join(part for part in plain_name(name).split(".") if not around or part != "base_layer")
        state[plain] = value
    return dict(sorted(state.items()))


# IP-Adapter's, which diffusers puts into the network itself.
_OF_ADAPTERS = frozenset({"to_k_ip", "to_v_ip", "image_projection_layers"})


def _contents(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    offloaded: dict[str, Tensor] | None = None
    if _keeps_weights_on_disk(model):
        raise ValueError(
            f"The weights of {type(model).__name__} are offloaded to files by diffusers and cannot be read; take their "
            "digest before offloading, or make a correction that fits any weights."
        )
    for name, tensor in _state(model).items():
        if tensor.is_meta:
            offloaded = _offloaded(model) if offloaded is None else offloaded
            if name not in offloaded:
                raise ValueError(
                    f"The weights of {type(model).__name__} are offloaded and {name} cannot be read; take their digest "
                    "before offloading, or make a correction that fits any weights."
                )
            tensor = offloaded[name]
        yield name, tensor


def _keeps_weights_on_disk(model: nn.Module) -> bool:
    """Whether diffusers' group offloading has put weights into files: then the tensors hold anything between calls."""
    registries = (getattr(module, "_diffusers_hook", None) for module in model.modules())
    hooks = (hook for registry in registries for hook in getattr(registry, "hooks", {}).values())
    return any(getattr(getattr(hook, "group", None), "offload_to_disk_path", None) for hook in hooks)


def _offloaded(model: nn.Module) -> dict[str, Tensor]:
    """Tensors that accelerate keeps in the hook of each module and loads for its call."""
    found = {}
    for place, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", (hook,)):
            weights = getattr(one, "weights_map", None)
            for name, _ in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                if weights is not None and name in weights:
                    parts = [part for part in (place, name) if part]
                    found[plain_name(".".join(parts)).replace(".base_layer", "")] = weights[name]
    return found
