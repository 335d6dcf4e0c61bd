"""The result of `attention_maps`: where in the image each token, and each word, was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PromptTokens", "TokenMaps", "prompt_tokens"]


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of one prompt.

    Attributes
    ----------
    tokens : tuple of str
        As the tokenizer writes them, padding too.
    words : tuple of (str, tuple of int)
        Each word in lower case, without spaces, and the positions of its tokens; no special tokens.
    sos, eos : int or None
        Position of the token that begins the text, and of the first that ends it.
    cut : bool
        Whether the prompt goes on behind the words that are listed. The text encoder reads a limited number of tokens
        at once; how a longer prompt is divided is not known, so its later words have no maps.
    """

    tokens: tuple[str, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]
    sos: int | None
    eos: int | None
    cut: bool = False

    def positions(self, phrase: str) -> tuple[int, ...]:
        """Positions of the tokens of all occurrences of a word, or of words that follow each other.

        Raises
        ------
        ValueError
            If the prompt has none.
        """
        wanted = phrase.lower().split()
        texts = [text for text, _ in self.words]
        starts = [i for i in range(len(texts)) if texts[i : i + len(wanted)] == wanted] if wanted else []
        if not starts and self.cut:
            raise ValueError(
                f"{phrase!r} is not among the first {len(texts)} words of the prompt, and behind them no words can be "
                f"told apart; choose among {texts}, or give a shorter prompt."
            )
        if not starts:
            raise ValueError(f"{phrase!r} is not in the prompt, whose words are {texts}; choose among them.")
        return tuple(p for start in starts for _, group in self.words[start : start + len(wanted)] for p in group)


@dataclass(frozen=True, eq=False)
class TokenMaps:
    """Mean cross-attention probabilities of each token.

    Attributes
    ----------
    maps : Tensor
        ``(images, tokens, height, width)`` float32 in 0..1, over the latent grid; at each place the tokens sum to
        about 1 (bicubic enlargement is not exact).
    prompts : tuple of PromptTokens
        One for each image; empty if no prompt was given.
    n_steps : int
        Calls of the denoiser the mean is over.
    layers : tuple of str
        Names of the attention layers the mean is over.
    """

    maps: Tensor
    prompts: tuple[PromptTokens, ...]
    n_steps: int
    layers: tuple[str, ...]

    def for_word(self, word: str, image: int = 0, *, scaled: bool = False) -> Tensor:
        """Map of a word or phrase, the mean over its tokens, ``(height, width)``.

        Parameters
        ----------
        word
            Of the image's prompt, in any case; of several occurrences the mean.
        image
            Number of the image.
        scaled
            Stretch the map to 0..1, so that it can be the `where` of `AmplifyLowFrequencies`; a constant map becomes 1.

        Raises
        ------
        ValueError
            If the prompt lacks the word, or no prompt was given.
        """
        if not self.prompts:
            raise ValueError("No prompt was given with these maps, so no words are known; call result(prompts).")
        return _stretched(self.maps[image, list(self.prompts[image].positions(word))].mean(0), scaled)

    def for_token(self, position: int, image: int = 0, *, scaled: bool = False) -> Tensor:
        """Map of one token, ``(height, width)``; those of start and end are at ``prompts[image].sos`` and ``.eos``."""
        return _stretched(self.maps[image, position], scaled)

    def to_dict(self) -> dict[str, Any]:
        """Sizes, and of each word the mean and the largest value and the centre of mass (row, column in 0..1)."""
        n_images, n_tokens, height, width = self.maps.shape
        found = [
            {"image": image, "word": word, "tokens": list(group), **_summary(self.for_word(word, image))}
            for image, prompt in enumerate(self.prompts)
            for word, group in prompt.words
        ]
        return {
            "n_images": n_images,
            "n_tokens": n_tokens,
            "height": height,
            "width": width,
            "n_steps": self.n_steps,
            "layers": list(self.layers),
            "words": found,
        }

    def plot(self, images: Sequence[Any] | None = None) -> Figure:
        """One row for each image, one column for each word; each map has its own scale.

        `images` are shown in front, and under the maps: PIL images or arrays as matplotlib takes them.
        """
        from matplotlib.figure import Figure

        if not self.prompts:
            raise ValueError("No prompt was given with these maps, so no words are known; call result(prompts).")
        n_columns = max(len(prompt.words) for prompt in self.prompts) + (images is not None)
        n_rows = len(self.prompts)
        height, width = self.maps.shape[-2:]
        size = (1.6 * max(n_columns, 1), n_rows * (1.6 * height / width + 0.3))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(n_rows, max(n_columns, 1), squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        extent = (0.0, float(width), float(height), 0.0)
        for image, (row, prompt) in enumerate(zip(axes, self.prompts, strict=True)):
            places = list(row)
            if images is not None:
                places.pop(0).imshow(images[image], extent=extent)
            for ax, (word, _) in zip(places, prompt.words, strict=False):
                if images is not None:
                    ax.imshow(images[image], extent=extent)
                values = self.for_word(word, image, scaled=True).cpu().numpy()
                ax.imshow(values, extent=extent, vmin=0, vmax=1, alpha=1.0 if images is None else 0.6)
                ax.set_title(word, fontsize="small")
        return figure


def prompt_tokens(tokenizer: Any, prompt: str, n_tokens: int) -> PromptTokens:
    """Read a prompt as the pipeline does, padded or cut to `n_tokens`; of several windows the first alone."""
    window = min(n_tokens, getattr(tokenizer, "model_max_length", n_tokens))
    ids, longer = (
        tokenizer(prompt, padding="max_length", max_length=length, truncation=True)["input_ids"]
        for length in (window, window + 8)
    )
    tokens = tokenizer.convert_ids_to_tokens(ids)
    special = set(tokenizer.all_special_ids)
    cut = sum(number not in special for number in longer) > sum(number not in special for number in ids)
    groups: list[list[int]] = []
    inside = open_end = False
    for position, (number, token) in enumerate(zip(ids, tokens, strict=True)):
        if number in special:
            open_end = open_end or inside
            inside = False
        elif inside and not token.startswith("▁"):  # SentencePiece marks where a word begins
            groups[-1].append(position)
        else:
            groups.append([position])
            inside = True
        if token.endswith("</w>"):  # CLIP's byte pairs mark where it ends
            inside = False
    if cut and (inside or open_end):  # the window may end within the last word
        groups.pop()
    texts = ("".join(tokenizer.decode([ids[p] for p in group]).split()).lower() for group in groups)
    eos = tokenizer.eos_token_id
    return PromptTokens(
        tuple(tokens),
        tuple((text, tuple(group)) for text, group in zip(texts, groups, strict=True)),
        0 if tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id else None,
        ids.index(eos) if eos in ids else None,
        cut,
    )


def _stretched(values: Tensor, scaled: bool) -> Tensor:
    if not scaled:
        return values
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.ones_like(values)


def _summary(values: Tensor) -> dict[str, Any]:
    height, width = values.shape
    share = values.double() / values.double().sum().clamp_min(1e-300)
    row = (share.sum(1) * (torch.arange(height, device=values.device) + 0.5)).sum() / height
    column = (share.sum(0) * (torch.arange(width, device=values.device) + 0.5)).sum() / width
    return {"mean": float(values.mean()), "max": float(values.max()), "centre": [float(row), float(column)]}
