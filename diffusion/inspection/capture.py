"""Features of a denoiser's blocks, step by step: whole, or reduced on the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genmend.activations import record
from genmend.activations.contract import working_dtype
from genmend.diffusion.pipeline_parts import block_layers, denoiser_of, plain_module, timestep_of
from genmend.diffusion.running_pipeline import Group, row_groups, row_indices

__all__ = ["BlockFeatures", "capture"]


class BlockFeatures(dict[str, list[Any]]):
    """What `capture` yields: block -> one entry for each step that was kept, filled while the pipeline runs.

    Attributes
    ----------
    timesteps : list of float
        Of the kept steps, as the denoiser got them.
    """

    def __init__(self, blocks: Sequence[str]) -> None:
        super().__init__({block: [] for block in blocks})
        self.timesteps: list[float] = []

    def stacked(self, block: str) -> Tensor:
        """All steps of a block, ``(steps, n, channels, height, width)``, or of what the reduction returned.

        Raises
        ------
        KeyError, ValueError
            If the block was not captured, or has not run.
        """
        if block not in self:
            raise KeyError(f"block {block!r} was not captured; accepted are {', '.join(self)}")
        if not self[block]:
            raise ValueError(f"Block {block!r} has not run; run the pipeline inside the block first.")
        return torch.stack(self[block])


@contextmanager
def capture(
    pipe: Any,
    blocks: Sequence[str],
    *,
    reduce: Callable[[Tensor], Any] | None = None,
    steps: Collection[int] | None = None,
    rows: Literal["both", "conditional"] = "both",
    guided: bool | None = None,
    device: torch.device | str | None = None,
) -> Iterator[BlockFeatures]:
    """Keep what blocks return at each step of a run.

    Parameters
    ----------
    pipe
        A diffusers pipeline, or its denoiser.
    blocks
        Slots such as ``"down2"``, ``"mid"``, ``"up0"`` of a U-Net, or names of layers of any denoiser.
    reduce
        A function of the features whose result is kept in their place, such as ``lambda x: x.mean((-2, -1))``. It gets
        at least float32, since sums of squares leave the range of half precision.
    steps
        Numbers of the calls of the denoiser to keep, from 0; None: all.
    rows
        Under guidance the first half of the batch is unconditional; "conditional" leaves it out (of a call with
        unconditional rows alone nothing is left).
    guided
        Whether there is such a half; None: as the pipeline says, and of a bare denoiser there is none.
    device
        Where to keep them, such as ``"cpu"``; None: where they are.

    Yields
    ------
    BlockFeatures
        Entries are detached copies in the features' own dtype, or what `reduce` returned.

    Raises
    ------
    UnknownLayerError, TypeError, ValueError
        If a name is neither slot nor layer, or stands twice.

    Notes
    -----
    Inside `amplified` the amplified output is seen, outside it the output before. Diffusers' own FreeU changes the
    middle block's output in place afterwards; the copies stay as they were. A compiled denoiser runs uncompiled inside
    the block.
    """
    if rows not in ("both", "conditional"):
        raise ValueError(f"rows is {rows!r}; accepted are 'both' and 'conditional'; choose one.")
    denoiser = denoiser_of(pipe)
    plain = plain_module(denoiser)
    slots = block_layers(plain) if hasattr(plain, "down_blocks") else {}
    if isinstance(blocks, str):
        raise TypeError(f"blocks is the string {blocks!r}, but a list is needed; write [{blocks!r}].")
    layers = {block: slots.get(block, block) for block in blocks}
    if len(set(layers.values())) < len(blocks):
        raise ValueError(f"blocks {list(blocks)} names a block twice; give each name once.")
    features = BlockFeatures(blocks)
    step = -1
    groups: tuple[Group, ...] = ()

    def begin_step(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        nonlocal step, groups
        step += 1
        if rows == "conditional":
            groups = row_groups(pipe, denoiser, inputs, named_inputs, guided)
        if steps is None or step in steps:
            features.timesteps.append(timestep_of(denoiser, inputs, named_inputs))

    class Keep:
        def __init__(self, block: str) -> None:
            self.block = block

        def update(self, output: Tensor) -> None:
            if steps is not None and step not in steps:
                return
            kept = output[row_indices(groups, len(output))] if rows == "conditional" else output
            if reduce is None:
                features[self.block].append(kept.to(device, copy=True))
            else:
                found = reduce(kept.to(working_dtype(kept, self.block), copy=True))
                features[self.block].append(found.to(device) if isinstance(found, Tensor) else found)

    with ExitStack() as hooks:
        hooks.callback(denoiser.register_forward_pre_hook(begin_step, with_kwargs=True).remove)
        keep = {layer: Keep(block) for block, layer in layers.items()}
        hooks.enter_context(record(plain, list(keep), reduce=keep))
        yield features
