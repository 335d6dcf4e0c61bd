"""A LoRA for a pipeline, from a file or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["attach_lora"]


def attach_lora(pipe: Any, source: str) -> None:
    """Attach a LoRA with all of its strength; it may be amplified then like any other weights.

    Parameters
    ----------
    pipe
        Of diffusers.
    source
        A ``.safetensors`` file, a folder or a hub name; pickled weights are never read.

    Raises
    ------
    ModuleNotFoundError
        If peft is not installed.
    ValueError
        If there is no such file, the pipeline takes no LoRA, or this one is not for it.
    """
    path = Path(source).expanduser()
    if not path.exists() and (source.startswith((".", "/", "~")) or source.endswith(".safetensors")):
        raise ValueError(f"--lora is {source!r}, but there is no such file; give a .safetensors file or owner/name.")
    if path.is_file() and path.suffix != ".safetensors":
        raise ValueError(f"--lora is {source!r}; give a .safetensors file: others can run code and are never read.")
    if not hasattr(pipe, "load_lora_weights"):
        raise ValueError(f"{type(pipe).__name__} takes no LoRA; leave --lora out.")
    from diffusers.utils import is_peft_available

    if not is_peft_available():
        raise ModuleNotFoundError("A LoRA needs peft, which is not installed: run `pip install peft`.", name="peft")
    named = {"weight_name": path.name} if path.is_file() else {}
    place = str(path.parent if path.is_file() else path) if path.exists() else source
    try:
        pipe.load_lora_weights(place, use_safetensors=True, **named)
    except Exception as error:  # whatever diffusers and peft stumble over in a file that is not theirs
        told = str(error).strip().splitlines()
        raise ValueError(
            f"The LoRA {source} cannot be attached to {type(pipe).__name__} "
            f"({told[0] if told else type(error).__name__}); give one that was made for this family of models."
        ) from error
    if not any("lora" in name for part in pipe.components.values() for name in _parameters(part)):
        raise ValueError(f"{source} holds nothing for {type(pipe).__name__}; give a LoRA of this family of models.")


def _parameters(part: Any) -> list[str]:
    return [name for name, _ in part.named_parameters()] if hasattr(part, "named_parameters") else []
