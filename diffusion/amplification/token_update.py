"""Amplification for diffusion transformers: the low frequencies of what a block adds to its image tokens. Experimental.

Ours: nothing is published for transformers. They have no bottleneck and no skips; what a block writes into the residual
stream accumulates, so the block's update is filtered, not the stream, or gains would compound over all blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genmend.activations.contract import Edit, edit_type, working_dtype
from genmend.diffusion.amplification.frequency_bands import CutoffUnit, check_band
from genmend.diffusion.amplification.low_frequencies import added, check_gain
from genmend.diffusion.amplification.low_pass import Band, low_change

__all__ = ["AmplifyTokenUpdate", "FittedTokenUpdate"]


@edit_type("diffusion.amplify_token_update")
@dataclass(frozen=True, eq=False)
class AmplifyTokenUpdate(Edit):
    """Amplify the low band of a block's update of image tokens: ``y + strength * (gain - 1) * P (y - x)``.

    Text tokens and those of reference images are never touched; of several frames each is a map of its own.

    Attributes
    ----------
    layer : str
        Dotted name of a block that takes and returns tokens ``(n, height * width, channels)``.
    gain : float
        1 changes no bit; begin with 1.02 to 1.2.
    cutoff : float
        In FFT bins of the token grid, or as a share of Nyquist.
    height, width : int
        The grid of tokens (latent size / patch size); 0, 0 for a square one.
    stream : int
        Which tensor of the block's output the image tokens are: 1 in SD3 and Flux, which return (text, image); -1 where
        text and image tokens are in one tensor, as in the single blocks of Flux.2 and Chroma: the image's last, where
        the denoiser's class does not tell.
    cutoff_unit : "bins" or "nyquist"
    strength : float
        In [0, 1].
    """

    layer: str
    gain: float
    cutoff: float
    height: int = 0
    width: int = 0
    stream: int = 0
    cutoff_unit: CutoffUnit = "nyquist"
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_band(self.cutoff, self.cutoff_unit, 0.0)
        check_gain("gain", self.gain)
        if self.height < 0 or self.width < 0 or (self.height == 0) != (self.width == 0):
            raise ValueError(
                f"The grid is {self.height} x {self.width}, but two sizes above 0 are needed, or 0 x 0 for a square."
            )

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Treat the output as the whole update, as if the input had been 0."""
        return self._amplified(output, torch.zeros_like(output), self.strength if strength is None else strength)

    @property
    def _layout(self) -> tuple[int, int, tuple[int, ...]]:
        """Maps that follow each other, length of the image stream (0: that of the maps), first drawn token by row."""
        return 1, 0, ()

    def edit_output(self, output: Any, inputs: tuple[Any, ...], named_inputs: dict[str, Any], strength: Tensor) -> Any:
        """Replace the image tokens of the block's output."""
        before = named_inputs.get("hidden_states", inputs[0] if inputs else None)
        after = output if isinstance(output, Tensor) else output[self.stream]
        if not isinstance(before, Tensor) or before.shape != after.shape:
            shape = tuple(before.shape) if isinstance(before, Tensor) else type(before).__name__
            raise ValueError(
                f"Layer {self.layer!r} took {shape} and returned {tuple(after.shape)}, but a block whose image tokens "
                "keep their shape is needed; choose another layer or stream."
            )
        made = self._amplified(after, before, strength.to(after.device))
        if isinstance(output, Tensor):
            return made
        return type(output)([*output[: self.stream], made, *output[self.stream + 1 :]])

    def _amplified(self, after: Tensor, before: Tensor, strength: Tensor | float) -> Tensor:
        dtype = working_dtype(after, self.layer)
        frames, height, width, first = self._places(after)
        if self.gain == 1:
            return after
        drawn = frames * height * width
        maps, update = (
            _from(values, first, drawn).transpose(1, 2).reshape(len(after), -1, frames, height, width).flatten(1, 2)
            for values in (after, after.to(dtype) - before)
        )
        amount = torch.as_tensor(strength, dtype=dtype, device=after.device)
        change = low_change(update, Band(self.cutoff, self.cutoff_unit), self.gain - 1)
        made = added(maps, change, amount).reshape(len(after), -1, drawn).transpose(1, 2)
        return _with(after, first, made)

    def _places(self, tokens: Tensor) -> tuple[int, int, int, tuple[int, ...]]:
        """Frames, height and width of the grid, and the first token on it: one for all rows, or of each."""
        n, (frames, count, starts) = tokens.shape[1] if tokens.dim() == 3 else 0, self._layout
        height, width = (self.height, self.width) if self.height else (round(n**0.5),) * 2
        drawn = frames * height * width
        count = count or drawn
        first = tuple(start % n if n else 0 for start in starts or (0 if self.stream >= 0 else -drawn,))
        fits = count == n if self.stream >= 0 else count <= n and self.height > 0
        if n == 0 or not fits or max(first) + drawn > n or len(first) not in (1, len(tokens)):
            raise ValueError(
                f"Layer {self.layer!r} returned {tuple(tokens.shape)}, but (n, {count}, channels) is needed, "
                f"{frames} * {height} * {width} of them drawn; give the grid of image tokens as height and width."
            )
        return frames, height, width, first if len(set(first)) > 1 else first[:1]


def _from(tokens: Tensor, first: tuple[int, ...], n: int) -> Tensor:
    """The `n` tokens from the first on, whose place is one for all rows or of each."""
    if len(first) == 1:
        return tokens[:, first[0] : first[0] + n]
    return torch.stack([row[start : start + n] for row, start in zip(tokens, first, strict=True)])


def _with(tokens: Tensor, first: tuple[int, ...], made: Tensor) -> Tensor:
    """The tokens with those from the first on replaced."""
    if made.shape == tokens.shape:
        return made
    starts = first * len(tokens) if len(first) == 1 else first
    rows = [
        torch.cat((row[:start], new, row[start + len(new) :]))
        for row, new, start in zip(tokens, made, starts, strict=True)
    ]
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class FittedTokenUpdate(AmplifyTokenUpdate):
    """The same for one call, of which more is known than the size of the grid; no file holds it.

    Attributes
    ----------
    frames : int
        Of a video; the tokens of the first come first.
    count : int
        Length of the image stream, where tokens of reference images stand in it too.
    starts : tuple of int
        First drawn token, of each row or one for all; negative: counted from the end.
    """

    frames: int = 1
    count: int = 0
    starts: tuple[int, ...] = ()

    @property
    def _layout(self) -> tuple[int, int, tuple[int, ...]]:
        return self.frames, self.count, self.starts
