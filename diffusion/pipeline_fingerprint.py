"""What the images of a pipeline depend on beside its arguments, for the names under which they are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from genmend.activations.digests import weights_digest
from genmend.diffusion.pipeline_parts import denoiser_of, plain_module
from genmend.storage.digests import sha256_of

__all__ = ["pipeline_fingerprint"]

_SEEN = 256  # numbers of each tensor of the parts that are not the denoiser


def pipeline_fingerprint(pipe: Any) -> dict[str, str]:
    """Class, scheduler's settings, and digests: of the denoiser whole, of adapters (LoRA) and other parts in part.

    The digest of a denoiser leaves adapters out, and a text encoder of many gigabytes is not read whole: of each of its
    tensors name, shape, dtype and the first numbers count.
    """
    if isinstance(pipe, nn.Module):
        return {"denoiser": weights_digest(plain_module(pipe)), "parts": _glimpse({"denoiser": pipe})}
    denoiser = denoiser_of(pipe)
    parts = {name: part for name, part in getattr(pipe, "components", {}).items() if isinstance(part, nn.Module)}
    config = getattr(getattr(pipe, "scheduler", None), "config", None)
    return {
        "class": type(pipe).__name__,
        "scheduler": f"{type(getattr(pipe, 'scheduler', None)).__name__} {json.dumps(dict(config or {}), default=str)}",
        "denoiser": weights_digest(plain_module(denoiser)),
        "parts": _glimpse(parts),
    }


def _glimpse(parts: dict[str, nn.Module]) -> str:
    def seen() -> Iterator[str | Tensor]:
        for name, part in sorted(parts.items()):
            for key, tensor in part.state_dict().items():
                if isinstance(tensor, Tensor):
                    yield f"{name}.{key}|{tensor.dtype}|{tuple(tensor.shape)}|"
                    if not tensor.is_meta:
                        yield tensor.detach().flatten()[:_SEEN].cpu()

    with torch.no_grad():
        return sha256_of(seen())
