"""The edit of text-to-speech encoders: other vectors for some tokens of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from genmend.activations import Edit, edit_type
from genmend.activations.contract import checked_floating, checked_units, working_dtype

__all__ = ["ROUNDING", "ReplaceVectors"]

# Encoded alone or in a batch, a vector differs by rounding, up to about this part of its length: that is no edit.
ROUNDING = 1e-5


@edit_type("tts.replace_vectors")
@dataclass(frozen=True, eq=False)
class ReplaceVectors(Edit):
    """Put given vectors in the place of a layer's own: ``(1 - strength) * r + strength * vectors`` at some positions.

    A row whose own vector is the given one up to rounding (`ROUNDING` of its length) keeps every bit, and with it all
    that follows: vectors that were encoded can be put back without changing a sample of the speech.

    Attributes
    ----------
    layer : str
        Dotted name; its output, or the first tensor of it, is ``(b, n, d)``: sentences, tokens, units.
    rows : sequence of int
        Positions of tokens, each once, from 0; kept as a tuple.
    vectors : Tensor
        ``(len(rows), d)`` floating, finite; the same for every sentence of a batch.
    strength : float
        In [0, 1].

    Examples
    --------
    >>> ReplaceVectors("encoder", [1], torch.tensor([[5.0, 6.0]])).apply(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[1., 2.],
             [5., 6.]]])
    """

    layer: str
    rows: Sequence[int]
    vectors: Tensor
    strength: float = 1.0
    _index: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = checked_units("rows", self.rows)
        vectors = checked_floating("vectors", self.vectors)
        if vectors.dim() != 2 or len(vectors) != len(rows):
            raise ValueError(
                f"vectors is {vectors.dtype} of shape {tuple(vectors.shape)} for {len(rows)} rows; "
                f"give floating values of shape ({len(rows)}, d)."
            )
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "_index", torch.tensor(rows, dtype=torch.int64))

    def apply(self, output: Tensor, strength: Tensor | float | None = None) -> Tensor:
        """Return ``(b, n, d)`` with the listed rows replaced; the others keep every bit."""
        dtype = working_dtype(output, self.layer)
        if not self.rows:
            return output
        if output.dim() != 3 or output.shape[1] <= max(self.rows) or output.shape[2] != self.vectors.shape[1]:
            raise ValueError(
                f"ReplaceVectors cannot act on layer {self.layer!r}: it has {self.vectors.shape[1]} units in rows up "
                f"to {max(self.rows)}, and the layer's output has shape {tuple(output.shape)}, (sentences, tokens, "
                "units); check the layer and the sentence."
            )
        amount = torch.as_tensor(self.strength if strength is None else strength, dtype=dtype, device=output.device)
        index, wanted = self._index.to(output.device), self.vectors.to(output.device, dtype)
        own = output.index_select(1, index)
        distance = torch.linalg.vector_norm(own.to(dtype) - wanted, dim=-1, keepdim=True)
        length = torch.linalg.vector_norm(own.to(dtype), dim=-1, keepdim=True)
        same = (distance <= ROUNDING * length) | (amount == 0)
        moved = ((1 - amount) * own.to(dtype) + amount * wanted).to(output.dtype)
        return output.index_copy(1, index, torch.where(same, own, moved))
