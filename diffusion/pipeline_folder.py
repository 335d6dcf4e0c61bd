"""A diffusers folder before diffusers reads it: whether its JSON is what it has to be, its sizes those of its weights.

diffusers and transformers build what a configuration asks for before they look at the weights; a size that is absurd,
or of another type, ends there in an error of theirs, or in all the memory there is.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["REFERENCE", "check_model", "check_pipeline_folder", "safetensors_header", "slots_of_folder"]

REFERENCE = Path(__file__).parent / "reference" / "pipeline"  # the folder of the pipeline that comes with genmend

_CONFIGURATIONS = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
_WIDTHS = (
    "attention_head_dim", "block_out_channels", "caption_channels", "cross_attention_dim", "d_ff", "d_kv", "d_model",
    "hidden_size", "in_channels", "intermediate_size", "joint_attention_dim", "latent_channels", "norm_num_groups",
    "num_attention_heads", "num_heads", "out_channels", "pooled_projection_dim", "projection_dim", "vocab_size",
    "max_position_embeddings", "time_embedding_dim", "addition_time_embed_dim",
    "projection_class_embeddings_input_dim", "num_class_embeds", "pos_embed_max_size",
)  # fmt: skip
_DEPTHS = (
    "layers_per_block", "num_hidden_layers", "num_layers", "num_single_layers", "transformer_layers_per_block",
    "num_mmdit_layers", "num_single_dit_layers", "num_decoder_layers",
)  # fmt: skip
_LARGEST_STEPS = 100_000
_LARGEST_SIDE = 65_536
# What no configuration needs to be told from: a width that is not used may be larger than all that are.
_SLACK, _SMALL_WIDTH, _SMALL_DEPTH = 8, 16_384, 512


def check_model(model: str) -> None:
    """Refuse what is neither "reference" nor a folder of diffusers nor a hub name, whether or not there is such a one.

    Raises
    ------
    ValueError
        With what is accepted.
    """
    folder = Path(model).expanduser()
    if model == "reference":
        return
    if folder.exists() and not (folder / "model_index.json").is_file():
        raise ValueError(f"{model} has no model_index.json; give a folder that save_pretrained of diffusers wrote.")
    looks_like_a_path = model.startswith((".", "/", "~")) or model.count("/") != 1
    if not folder.exists() and looks_like_a_path:
        raise ValueError(f"MODEL is {model!r}, but there is no such folder; give reference, a folder, or owner/name.")


def check_pipeline_folder(folder: Path) -> None:
    """Refuse a folder that is no pipeline, naming the file and the field.

    Raises
    ------
    ValueError
        If a JSON file is damaged or holds something else, or a number cannot be one of this pipeline.
    """
    index = _object(folder / "model_index.json")
    for field, value in index.items():
        if field == "_class_name" and not _is_name(value):
            raise _bad(folder / "model_index.json", field, value, "the name of a pipeline of diffusers")
        if field.startswith("_") or not isinstance(value, list | dict):
            continue
        if not (isinstance(value, list) and len(value) == 2 and all(part is None or _is_name(part) for part in value)):
            raise _bad(folder / "model_index.json", field, value, "a library and a class")
        _check_component(folder / field)
    if "_class_name" not in index:
        raise ValueError(f"{folder / 'model_index.json'} has no _class_name; give a folder that save_pretrained wrote.")


def slots_of_folder(folder: Path) -> tuple[str, ...]:
    """Slots that can be amplified, of a pipeline that has not been loaded: its down blocks and the middle one.

    They are those of `genmend.diffusion.pipeline_parts.block_layers` without the up blocks; none of a transformer.

    Raises
    ------
    ValueError
        As `check_pipeline_folder`.
    """
    check_pipeline_folder(folder)
    path = folder / "unet" / "config.json"
    found = _object(path) if path.is_file() else {}
    blocks = found.get("down_block_types") or ()
    # Models from before it could be left out do not name the middle one.
    has_middle = bool(blocks) and found.get("mid_block_type", "") is not None
    return (*(f"down{i}" for i in range(len(blocks))), *["mid"] * has_middle)


def _check_component(folder: Path) -> None:
    for path in (folder / name for name in _CONFIGURATIONS):
        if not path.is_file():
            continue
        found = _object(path)
        for field in ("_class_name", "model_type", "tokenizer_class"):
            if found.get(field) is not None and not _is_name(found[field]):
                raise _bad(path, field, found[field], "a name")
        if path.name == "scheduler_config.json":
            _check_numbers(path, found, ("num_train_timesteps",), _LARGEST_STEPS)
        if path.name == "tokenizer_config.json" and str(found.get("tokenizer_class", "")).startswith("CLIP"):
            _check_numbers(path, found, ("model_max_length",), _LARGEST_SIDE)  # prompts are padded to it
        if path.name == "config.json":
            largest, count = _weights(folder)
            _check_numbers(path, found, _WIDTHS, max(_SMALL_WIDTH, _SLACK * largest))
            _check_numbers(path, found, _DEPTHS, max(_SMALL_DEPTH, count))
            _check_numbers(path, found, ("sample_size", "patch_size", "image_size"), _LARGEST_SIDE)


def _check_numbers(path: Path, found: Mapping[str, Any], fields: tuple[str, ...], largest: int) -> None:
    for field in fields:
        for number in _numbers(found.get(field)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= largest:
                raise _bad(path, field, found[field], f"numbers from 0 to {largest}, as its weights have them,")


def _numbers(value: Any, depth: int = 0) -> Iterator[Any]:
    if isinstance(value, list) and depth < 4 and len(value) <= 64:
        for part in value:
            yield from _numbers(part, depth + 1)
    elif value is not None:
        yield value


def _weights(folder: Path) -> tuple[int, int]:
    """Largest size of an axis, and number of tensors, of the weights beside a configuration."""
    largest = count = 0
    for path in folder.glob("*.safetensors"):
        for name, tensor in safetensors_header(path).items():
            if name != "__metadata__" and isinstance(tensor, dict) and isinstance(tensor.get("shape"), list):
                count += 1
                largest = max([largest, *(size for size in tensor["shape"] if isinstance(size, int))])
    return largest, count


def safetensors_header(path: Path) -> dict[str, Any]:
    """Tensor -> its type, shape and place, as the head of a safetensors file has them; ValueError if it is damaged."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 0 < length <= path.stat().st_size - 8:
            raise ValueError(f"{path} is damaged: its header does not fit into the file; download it again.")
        text = file.read(length)
    return _parsed(path, text)


def _object(path: Path) -> dict[str, Any]:
    return _parsed(path, path.read_bytes())


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no number")

    try:
        found = json.loads(text.decode("utf-8"), parse_constant=refused)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON that can be read ({error}); download it again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__} as JSON, but an object is needed; download it again.")
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and all(part.isidentifier() for part in value.split("."))


def _bad(path: Path, field: str, value: Any, wanted: str) -> ValueError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return ValueError(
        f"{path} gives {field} as {shown}, but {wanted} is needed; correct the file, or download it again."
    )
