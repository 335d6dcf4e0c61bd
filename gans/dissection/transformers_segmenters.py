"""Segmenters of transformers from a folder of yours: SegFormer, UPerNet, and CLIPSeg for any words.

The folder is what ``save_pretrained`` writes: config.json and model.safetensors, preprocessor_config.json where there
is one, and a tokenizer for CLIPSeg. Nothing is downloaded, and pickled weights are not read. Untested on real weights,
which no package carries: tests use small networks of the same classes, with random ones.

Source: Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203; Xiao et al., "Unified Perceptual Parsing", ECCV 2018,
arXiv 1807.10221; Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022, arXiv 2112.10003.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genmend.activations.digests import weights_digest
from genmend.storage.digests import sha256_of

__all__ = ["ClassSegmenter", "WordSegmenter", "load_segmenter"]

FAMILIES = ("segformer", "upernet", "clipseg")
BATCH = 4
SIDE = 512  # of the images that a network sees whose folder does not say
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ON = 0.5  # a word's probability from which a pixel has it


class _Segmenter:
    """A network with the images' size and normalisation that it was trained on."""

    def __init__(self, network: Any, given: dict[str, Any], side: int) -> None:
        self.network = network.eval().requires_grad_(False)
        self.size = _size(given, side)
        self.mean, self.std = given.get("image_mean", MEAN), given.get("image_std", STD)

    def _pixels(self, images: Tensor) -> Tensor:
        device = next(self.network.parameters()).device
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        enlarged = functional.interpolate(
            images.to(device), self.size, mode="bilinear", align_corners=False, antialias=True
        )
        return (enlarged - mean) / std

    def _logits(self, images: Tensor) -> Tensor:
        """(n, n_concepts, h, w) at the size of the images."""
        raw = self._raw_logits(self._pixels(images))
        return functional.interpolate(raw, images.shape[2:], mode="bilinear", align_corners=False, antialias=True)

    def _raw_logits(self, pixels: Tensor) -> Tensor:
        raise NotImplementedError


class ClassSegmenter(_Segmenter):
    """The classes that a semantic segmentation network was trained on: of each pixel the likeliest.

    Images of any size are scaled to the one that the network was trained on (bilinear, without keeping their
    proportions), the logits back to the size of the image. Classes have no part variants.
    """

    def __init__(self, network: Any, given: dict[str, Any]) -> None:
        super().__init__(network, given, SIDE)
        labels = network.config.id2label
        found = [str(labels[number]) for number in sorted(labels)]
        self.names = tuple(
            name if found.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(found)
        )

    @property
    def digest(self) -> str:
        """Of the weights: masks are kept under it."""
        return weights_digest(self.network)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Masks (n, n_classes, h, w), bool."""
        labels = torch.cat([self._logits(batch).argmax(1).cpu() for batch in images.split(BATCH)])
        return torch.stack([labels == number for number in range(len(self.names))], 1)

    def soft(self, images: Tensor) -> Tensor:
        """Probabilities (n, n_classes, h, w), differentiable."""
        return self._logits(images).softmax(1)

    def _raw_logits(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixels).logits
        return logits


class WordSegmenter(_Segmenter):
    """Words of yours by CLIPSeg: a pixel has each whose probability is above 0.5, which is our choice.

    Parameters
    ----------
    network : CLIPSegForImageSegmentation
    given : dict
        preprocessor_config.json.
    words : sequence of str
        One concept each, e.g. "glasses".
    embeddings : Tensor (n_words, width)
        What the network's text half makes of them.
    """

    def __init__(self, network: Any, given: dict[str, Any], words: Sequence[str], embeddings: Tensor) -> None:
        super().__init__(network, given, network.config.vision_config.image_size)
        self.names = tuple(words)
        self.embeddings = embeddings

    @property
    def digest(self) -> str:
        """Of weights and words: masks are kept under it."""
        return sha256_of([weights_digest(self.network), *self.names])

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Masks (n, n_words, h, w), bool."""
        return torch.cat([(self._logits(batch).sigmoid() > ON).cpu() for batch in images.split(BATCH)])

    def soft(self, images: Tensor) -> Tensor:
        """Probabilities (n, n_words, h, w), differentiable."""
        return self._logits(images).sigmoid()

    def _raw_logits(self, pixels: Tensor) -> Tensor:
        # The network's own forward cuts the gradient to the images, and would see them again for every word.
        seen = self.network.clip.vision_model(
            pixel_values=pixels, output_hidden_states=True, interpolate_pos_encoding=True
        )
        layers = tuple(seen.hidden_states[number + 1] for number in self.network.extract_layers)
        maps = [
            self.network.decoder(layers, word.expand(len(pixels), -1)).logits.view(len(pixels), *self._grid(pixels))
            for word in self.embeddings
        ]
        return torch.stack(maps, 1)

    def _grid(self, pixels: Tensor) -> tuple[int, int]:
        """Height and width of the decoder's maps."""
        patch = self.network.config.vision_config.patch_size
        side = pixels.shape[2] // patch * patch
        return side, side


def load_segmenter(name: str) -> ClassSegmenter | WordSegmenter:
    """A segmenter by ``segformer:FOLDER``, ``upernet:FOLDER`` or ``clipseg:FOLDER:WORD,WORD``.

    Raises
    ------
    ModuleNotFoundError
        If transformers is not installed.
    ValueError
        If the folder is missing, holds another model, lacks weights or is pickled, or no words are given.
    """
    family, _, rest = name.partition(":")
    path, _, listed = rest.rpartition(":") if family == "clipseg" else (rest, "", "")
    words = [word.strip() for word in listed.split(",") if word.strip()]
    if family == "clipseg" and not (path and words):
        raise ValueError(f"The segmenter {name!r} names no words; write it as clipseg:FOLDER:hair,glasses.")
    folder = Path(path)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"The segmenter {name!r} needs a folder with config.json and model.safetensors, as transformers' "
            f"save_pretrained writes it, and {path or 'an empty path'} is none."
        )
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The segmenter {family} needs transformers, which is not installed: run `pip install 'genmend[vision]'`.",
            name="transformers",
        ) from error
    try:
        kind = transformers.AutoConfig.from_pretrained(path, local_files_only=True).model_type
        if kind != family:
            raise ValueError(f"{path} holds a {kind}, and {family} was asked for; accepted are {', '.join(FAMILIES)}.")
        if family == "clipseg":
            return _words(transformers, path, words)
        network = _whole(transformers.AutoModelForSemanticSegmentation, path)
    except (OSError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"transformers could not load {path} ({reason}); give a folder that save_pretrained has written, with "
            "safetensors."
        ) from error
    return ClassSegmenter(network, _preprocessor(folder))


def _words(transformers: Any, path: str, words: Sequence[str]) -> WordSegmenter:
    network = _whole(transformers.CLIPSegForImageSegmentation, path)
    tokens = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)(
        list(words), padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        embeddings = network.get_conditional_embeddings(
            batch_size=len(words), input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
        )
    return WordSegmenter(network, _preprocessor(Path(path)), words, embeddings)


def _whole(model_class: Any, path: str) -> Any:
    """A model all of whose parameters came out of the file: transformers fills gaps with random numbers."""
    model, report = model_class.from_pretrained(
        path, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    gaps = sorted(report["missing_keys"]) or report["mismatched_keys"]
    if gaps:
        raise ValueError(f"{path} lacks weights or has other shapes: {gaps}.")
    return model


def _preprocessor(folder: Path) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    try:
        given = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}).") from error
    return given if isinstance(given, dict) else {}


def _size(given: dict[str, Any], side: int) -> tuple[int, int]:
    """Height and width of the images that the network sees, as preprocessor_config.json says in its several ways."""
    size: Any = given.get("size", side)
    if isinstance(size, dict):
        shorter: Any = size.get("shortest_edge", side)
        return int(size.get("height", shorter)), int(size.get("width", shorter))
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[-1])
    return int(size), int(size)
