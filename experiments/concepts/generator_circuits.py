"""Circuits of a diffusion U-Net and of a voice's encoder, whose target is the change of what they put out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.concepts.circuit_falls import fall, parts_of
from experiments.concepts.circuits import kept_json
from experiments.concepts.other_networks import NOISE_STEP, NoisyUnet
from experiments.garments.captions import add_border, held_out_images
from experiments.garments.models import MEAN, STD
from genmend.concepts.circuits.ablation import units_in_common
from genmend.concepts.circuits.circuit import CircuitGraph
from genmend.concepts.circuits.find_circuits import find_circuits
from genmend.concepts.circuits.unit_index import UnitIndex, build_index
from genmend.diffusion.reference import load_reference
from genmend.diffusion.reference.networks import load_network
from genmend.storage.pieces import Work
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_torch import to_torch

# Hidden channels of the residual blocks and hidden units of the transformers' MLPs, in order of execution.
UNET_BLOCKS = (
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.1.resnets.0.conv1",
    "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0",
    "mid_block.resnets.0.conv1",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0",
    "mid_block.resnets.1.conv1",
    "up_blocks.0.resnets.0.conv1",
    "up_blocks.0.resnets.1.conv1",
)
N_SUBSAMPLES = 1

Samples = Callable[[int, int], Tensor]


class Unmoved(nn.Module):
    """The score that falls when a network's output changes: minus its distance from what it was, by that one's length.

    Parameters
    ----------
    network
        From ``(n, ...)`` to features ``(n, ...)``.
    intact
        Its features of the one sample that is asked about; None: the features themselves are given.
    """

    def __init__(self, network: nn.Module, intact: Tensor | None = None) -> None:
        super().__init__()
        self.network, self.intact = network, intact

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores ``(n, 1)``, at most 0."""
        made: Tensor = self.network(inputs).flatten(1)
        if self.intact is None:
            return made
        return -((made - self.intact).norm(dim=1, keepdim=True) / self.intact.norm())


class Drawn(nn.Module):
    """What the U-Net takes a noisy picture for, as the code of an autoencoder that never saw a label, ``(n, 64)``."""

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.noisy = NoisyUnet(pipeline, NOISE_STEP)
        self.code = load_network("autoencoder")[0]  # type: ignore[index]
        self.kept = float(pipeline.scheduler.alphas_cumprod[NOISE_STEP])

    def forward(self, noisy: Tensor) -> Tensor:
        """Codes of noisy pictures (n, 1, 32, 32)."""
        clean = (noisy - (1 - self.kept) ** 0.5 * self.noisy(noisy)) / self.kept**0.5
        codes: Tensor = self.code((clean * STD + MEAN) * 2 - 1)
        return codes


class Spoken(nn.Module):
    """What the encoder of a voice hands on of a sentence: a mean for each sound, ``(n, sounds, 192)``."""

    def __init__(self, voice: nn.Module) -> None:
        super().__init__()
        self.encoder = voice.text_encoder

    def forward(self, ids: Tensor) -> Tensor:
        """Of numbers of sounds (n, sounds), as floating-point ones."""
        means: Tensor = self.encoder(ids.long(), torch.ones(*ids.shape, 1)).prior_means
        return means


def unet_rows(
    work: Work, n_reference: int, n_queries: int, n_draws: int, n_stability: int, seed: int
) -> dict[str, Any]:
    """The reference pipeline's U-Net on real garments that it was not trained on, under noise, without a prompt."""
    images, _ = held_out_images()
    rows = np.random.default_rng(seed).permutation(len(images))[: n_reference + n_queries]
    pipeline = load_reference()
    clean = torch.from_numpy((add_border(images[rows])[:, None] - MEAN) / STD).float()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    noisy = pipeline.scheduler.add_noise(clean, noise, torch.tensor([NOISE_STEP]))
    network = Drawn(pipeline).eval().requires_grad_(False)
    blocks = [f"network.noisy.unet.{block}" for block in UNET_BLOCKS]
    reference, queries = noisy[:n_reference], noisy[n_reference:].split(1)
    return network_rows(
        "unet", network, blocks, list(reference.split(1)), list(queries), work, n_draws, n_stability, seed
    )


def voice_rows(
    work: Work, n_reference: int, n_queries: int, n_draws: int, n_stability: int, seed: int
) -> dict[str, Any]:
    """The encoder of the voice `joe`, sentence by sentence: hidden units of its feed-forward layers."""
    voice = PiperVoice.joe()
    sentences = read_sentences()
    rows = np.random.default_rng(seed).permutation(len(sentences))[: n_reference + n_queries]
    ids = [torch.tensor([each.ids]).float() for each in tokenize_corpus(voice, [sentences[row] for row in rows])]
    model = to_torch(voice).eval().requires_grad_(False)
    network = Spoken(model)
    layers = range(model.config.num_hidden_layers)
    blocks = [f"network.encoder.encoder.layers.{n}.feed_forward.act_fn" for n in layers]
    return network_rows(
        "voice", network.eval(), blocks, ids[:n_reference], ids[n_reference:], work, n_draws, n_stability, seed
    )


def network_rows(
    name: str,
    network: nn.Module,
    blocks: list[str],
    reference: list[Tensor],
    queries: list[Tensor],
    work: Work,
    n_draws: int,
    n_stability: int,
    seed: int,
) -> dict[str, Any]:
    """Change of the output without each part of the queries' circuits, and without its controls; stability; cost."""
    model = Unmoved(network).eval()
    began = time.process_time()
    index = index_of_some(model, blocks, reference)
    index_seconds = time.process_time() - began
    facts = {"network": name, "n_reference": len(reference), "n_draws": n_draws, "seed": seed}
    rows = []
    for number, sample in enumerate(queries):
        row = kept_json(work, f"{name}-{number}", facts, partial(query_row, network, index, sample, n_draws))
        rows.append(row)
        print(name, number, row, flush=True)
    return {
        "n_blocks": len(blocks),
        "n_units": sum(len(index.means[block]) for block in blocks),
        "n_reference": len(reference),
        "queries": rows,
        "index_seconds": index_seconds,
        "stability": kept_json(
            work,
            f"{name}-stability",
            {**facts, "n": n_stability},
            partial(stability, network, blocks, index, reference, queries[:n_stability], seed),
        ),
    }


def index_of_some(model: nn.Module, blocks: list[str], samples: list[Tensor]) -> UnitIndex:
    """Of samples one by one, as sentences differ in length."""
    return build_index(model, blocks, lambda start, stop: samples[start], len(samples), batch_size=1)


def graph_of(network: nn.Module, index: UnitIndex, sample: Tensor, seed: int = 0) -> tuple[Unmoved, CircuitGraph]:
    """The score of one sample, and its circuits."""
    with torch.no_grad():
        model = Unmoved(network, network(sample).flatten(1)).eval()
    return model, find_circuits(model, index, sample, 0, seed=seed)


def query_row(network: nn.Module, index: UnitIndex, sample: Tensor, n_draws: int) -> dict[str, Any]:
    """How far the output moves without each part of the query's circuits."""
    began = time.process_time()
    model, graph = graph_of(network, index, sample)
    row: dict[str, Any] = {
        "seconds": time.process_time() - began,
        "n_roots": len(graph.roots),
        "n_edges": len(graph.edges),
    }
    return row | {name: fall(model, index, part, sample, 0, n_draws) for name, part in parts_of(graph).items()}


def stability(
    network: nn.Module, blocks: list[str], whole: UnitIndex, reference: list[Tensor], queries: list[Tensor], seed: int
) -> list[dict[str, float]]:
    """Units in common (Jaccard) with the circuits by another seed, by 80 % of the reference, and of another query."""
    rng = np.random.default_rng(seed)
    n = len(reference)
    chosen = [np.sort(rng.choice(n, round(0.8 * n), replace=False)) for _ in range(N_SUBSAMPLES)]
    parts = [index_of_some(Unmoved(network).eval(), blocks, [reference[row] for row in some]) for some in chosen]
    rows = []
    before: CircuitGraph | None = None
    for sample in queries:
        graph = graph_of(network, whole, sample)[1]
        others = {"seed": [graph_of(network, whole, sample, 1)[1]]}
        others["subsample"] = [graph_of(network, part, sample)[1] for part in parts]
        others |= {} if before is None else {"other query": [before]}
        before = graph
        row = {}
        for name, graphs in others.items():
            row[name] = float(np.mean([units_in_common(graph, other) for other in graphs]))
            row[f"{name}, class"] = float(
                np.mean([units_in_common(graph.towards_target(), other.towards_target()) for other in graphs])
            )
        rows.append(row)
    return rows
