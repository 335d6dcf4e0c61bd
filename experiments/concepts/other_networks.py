"""Do relaxed decision regions hold in the networks of other generators: a U-Net's blocks, a voice's encoder?

    python -m experiments.concepts.other_networks

U-Net: the reference pipeline's, on real garments under noise and without a prompt; what a region's members should share
is the garment. Voice: the feed-forward neurons of the text encoder of `joe`, a sample a sound; what members should
share is the sound and the one after it. Rules are made of one half and asked about the other, beside as many nearest
neighbours. Writes results/other_networks/results.json. Needs the weights `joe` (genmend fetch) and the images of
experiments.images.data. A few minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.garments.captions import add_border, held_out_images
from experiments.garments.models import MEAN, STD
from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from genmend.activations import record
from genmend.concepts import Configurations, configurations, find_region
from genmend.concepts.regions.held_out import held_out_purity
from genmend.diffusion.reference import load_reference
from genmend.storage.tables import write_json
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_torch import to_torch

RESULTS = Path(__file__).with_name("results") / "other_networks"
BLOCKS = ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.1")
NOISE_STEP = 250  # of 1000
N_QUERIES = 60
GROUPS = ("region", "hamming", "euclidean", "cosine", "base")


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"seed": options.seed, "noise_step": NOISE_STEP, "n_queries": N_QUERIES}
    results["unet"] = unet_rows(options.n_images, options.seed)
    results["voice"] = voice_rows(options.n_sentences, options.seed)
    write_json(options.out / "results.json", results)
    write_page("concepts/other_networks")


class NoisyUnet(nn.Module):
    """The pipeline's U-Net on pictures (n, 1, 32, 32) at one step of the noise, under the empty prompt."""

    def __init__(self, pipeline: Any, step: int) -> None:
        super().__init__()
        self.unet, self.step = pipeline.unet.eval(), step
        ids = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            self.register_buffer("prompt", pipeline.text_encoder(ids)[0])

    def forward(self, noisy: Tensor) -> Tensor:
        """What the U-Net says of the noise."""
        return self.unet(noisy, self.step, self.prompt.expand(len(noisy), -1, -1)).sample


def unet_rows(n_images: int, seed: int) -> list[dict]:
    """A row a block: share of the query's garment among members of its region, and among as many neighbours."""
    images, labels = held_out_images()
    rows = np.random.default_rng(seed).permutation(len(images))[:n_images]
    pipeline = load_reference()
    clean = torch.from_numpy((add_border(images[rows])[:, None] - MEAN) / STD).float()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    noisy = pipeline.scheduler.add_noise(clean, noise, torch.tensor([NOISE_STEP]))
    model = NoisyUnet(pipeline, NOISE_STEP).eval()
    labels, found = labels[rows], []
    for block in BLOCKS:
        with torch.no_grad():
            outputs = [_output(model, f"unet.{block}", batch) for batch in noisy.split(100)]
        values = torch.cat(outputs)
        row = region_row(values, labels, labels, seed)
        found.append({"layer": block, "neurons": int(values[0].numel()), **row})
        print(found[-1], flush=True)
    return found


def _output(model: nn.Module, layer: str, batch: Tensor) -> Tensor:
    with record(model, [layer], stop=True) as outputs:
        model(batch)
    return outputs[layer]


def voice_rows(n_sentences: int, seed: int) -> list[dict]:
    """A row a layer: share of the query's sound and next sound among members of its region, and among neighbours."""
    voice = PiperVoice.joe()
    sentences = read_sentences()
    chosen = np.random.default_rng(seed).permutation(len(sentences))[:n_sentences]
    tokens = tokenize_corpus(voice, [sentences[row] for row in chosen])
    model = to_torch(voice)
    layers = [f"text_encoder.encoder.layers.{n}.feed_forward.conv_1" for n in range(model.config.num_hidden_layers)]
    values: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    sounds, sentence_of = [], []
    for number, sentence in enumerate(tokens):
        spoken = [place for place, kind in enumerate(sentence.kinds) if kind == "phoneme"]
        ids = torch.tensor([sentence.ids])
        with torch.no_grad(), record(model, layers) as outputs:
            model.text_encoder(ids, torch.ones(1, ids.shape[1], 1))
        for layer in layers:
            values[layer].append(outputs[layer][0, :, spoken].T)
        symbols = [sentence.symbols[place] for place in spoken]
        sounds += [(sound, after) for sound, after in zip(symbols, [*symbols[1:], ""], strict=True)]
        sentence_of += [number] * len(spoken)
    pair = np.unique([f"{sound} {after}" for sound, after in sounds], return_inverse=True)[1]
    sound = np.unique([sound for sound, _ in sounds], return_inverse=True)[1]
    first = np.array(sentence_of) < len(tokens) // 2  # no sentence is in both halves
    found = []
    for number, layer in enumerate(layers):
        joined = torch.cat(values[layer])
        row = region_row(joined, pair, sound, seed, first=first)
        found.append({"layer": f"encoder {number + 1}", "neurons": joined.shape[1], "n_sounds": len(joined), **row})
        print(found[-1], flush=True)
    return found


def region_row(
    values: Tensor, labels: np.ndarray, kinds: np.ndarray, seed: int, *, first: np.ndarray | None = None
) -> dict:
    """Regions round queries of the first half, on the second: mean shares of the query's label, with intervals.

    `values` (n, ...) before the nonlinearity; `kinds`: coarser labels, by which queries are drawn evenly.
    """
    first = np.arange(len(values)) < len(values) // 2 if first is None else first
    gate = nn.Sequential(nn.ReLU()).eval()
    seen = configurations(gate, "0", values[torch.from_numpy(first)], threshold="median")
    new = configurations(gate, "0", values[torch.from_numpy(~first)], thresholds=seen.thresholds)
    features = values.flatten(1).numpy()
    old, held_out = np.flatnonzero(first), np.flatnonzero(~first)
    measured = []
    for query in _queries(kinds[old], seed):
        path = find_region(seen, query, k=8)
        carries = labels[held_out] == labels[old[query]]
        one: Configurations = seen[query : query + 1]
        purity = held_out_purity(path.region, new, one, features[held_out], features[old[query]], carries)
        if purity.n and carries.any():
            measured.append([purity.n, *(getattr(purity, group) for group in GROUPS)])
    table = np.array(measured)
    shares = dict(zip(GROUPS, table[:, 1:].T, strict=True))
    row = {"n": len(table), "members": float(np.median(table[:, 0]))}
    row |= {group: _estimate(each, seed) for group, each in shares.items()}
    return row | {f"minus_{group}": _estimate(shares["region"] - shares[group], seed) for group in GROUPS[1:]}


def _queries(kinds: np.ndarray, seed: int) -> list[int]:
    """Samples of every kind in turn, in random order, until there are enough."""
    order = np.random.default_rng(seed).permutation(len(kinds))
    rank = np.zeros(len(kinds), dtype=int)
    seen: dict[int, int] = {}
    for row in order:
        rank[row] = seen[kinds[row]] = seen.get(kinds[row], -1) + 1
    return order[np.argsort(rank[order], kind="stable")][:N_QUERIES].tolist()


def _estimate(values: np.ndarray, seed: int) -> list[float]:
    return list(mean_with_interval(values, seed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--n-images", type=int, default=1_000)
    parser.add_argument("--n-sentences", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
