"""Decode one sentence with a Tacotron 2, frame by frame, its attention held in a window where that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Decoded", "check_window", "decode"]


@dataclass(frozen=True)
class Decoded:
    """Mel before the postnet (1, bins, frames), attention (frames, n), whether the model itself came to an end."""

    mel: Tensor
    attention: Tensor
    finished: bool


def decode(decoder: Any, memory: Tensor, window: tuple[int, int] | None = None) -> Decoded:
    """Run torchaudio's decoder on one sentence.

    Without a window this is its own ``decoder.infer``, bit for bit from the same state of torch's generator (its prenet
    drops units at random also when it speaks).

    Parameters
    ----------
    decoder
        ``Tacotron2.decoder``.
    memory
        (1, n, d) output of the encoder.
    window
        How many tokens the attention may go back and ahead of the token it was on, which is the one with the greatest
        weight in the frame before, at first token 0. Source: Deep Voice 3 (Ping et al., 2018), section 3.7, as ESPnet
        does it for Tacotron 2.
    """
    n = memory.shape[1]
    positions = torch.arange(n, device=memory.device)
    widths = [decoder.attention_rnn_dim] * 2 + [decoder.decoder_rnn_dim] * 2 + [n] * 2 + [memory.shape[2]]
    # Hidden and cell state of two LSTMs, attention, attention so far (added to in place by `decode`), context.
    state = [memory.new_zeros(1, width) for width in widths]
    frame = memory.new_zeros(1, decoder.n_mels * decoder.n_frames_per_step)
    processed = decoder.attention_layer.memory_layer(memory)
    outside = torch.zeros(1, n, dtype=torch.bool, device=memory.device)
    frames: list[Tensor] = []
    attention: list[Tensor] = []
    finished, on = False, 0
    while not finished and len(frames) < decoder.decoder_max_step:
        if window is not None:
            outside = ((positions < on - window[0]) | (positions > on + window[1]))[None]
        frame, gate, *state = decoder.decode(decoder.prenet(frame), *state, memory, processed, outside)
        frames.append(frame)
        attention.append(state[4])
        on = int(state[4].argmax())
        finished = bool(torch.sigmoid(gate) > decoder.gate_threshold)
    return Decoded(torch.stack(frames, dim=2), torch.cat(attention), finished)


def check_window(window: tuple[int, int] | None) -> tuple[int, int] | None:
    """Check a window: two whole numbers, back at least 0, ahead at least 1, or the sentence would never go on."""
    if window is None:
        return None
    back, ahead = window
    if int(back) != back or int(ahead) != ahead or back < 0 or ahead < 1:
        raise ValueError(
            f"attention_window is {window}; give how many tokens back (at least 0) and ahead (at least 1), e.g. (1, 3)."
        )
    return int(back), int(ahead)
