"""Train the reference Tacotron 2 (tts/reference): a small attention model that speaks, with known gaps in its learning.

    python -m experiments.voices.training_speech
    python -m experiments.voices.train_tacotron [--minutes 115]

torchaudio's class at reduced width, phonemes as input. The attention is guided: the voice that spoke the training
sentences says how long each phoneme lasts, and attention away from it is penalised, strongly at first. The weights that
are kept are a running mean. Interrupted, the same command goes on from the last checkpoint (one every five minutes).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from experiments.voices.training_speech import (
    SHORT,
    Sentences,
    Utterance,
    folder,
    shards,
    symbol_table,
    training_sentences,
    utterances,
)
from genmend.tts.voices.mel import LogMel

TARGET = Path(__file__).parents[2] / "tts" / "reference"
WIDTHS = {
    "n_mels": 80,
    "symbol_embedding_dim": 256,
    "encoder_embedding_dim": 256,
    "attention_rnn_dim": 256,
    "decoder_rnn_dim": 256,
    "prenet_dim": 128,
    "attention_hidden_dim": 96,
    "attention_location_n_filter": 16,
    "attention_location_kernel_size": 31,
    "postnet_embedding_dim": 192,
    "decoder_max_step": 500,
}
BATCH, LEARNING_RATE, SLACK = 16, 1e-3, 3.0  # slack of the guide, in frames
MEAN, DEVIATION = -5.0, 2.0  # the mels are learnt as (mel - MEAN) / DEVIATION


@dataclass
class Batch:
    ids: Tensor  # (b, n)
    lengths: Tensor  # (b,)
    mel: Tensor  # (b, bins, t)
    mel_lengths: Tensor  # (b,)
    guide: Tensor  # (b, t, n) 0 where the voice spoke the token, towards 1 away from it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=115, help="time of training, all runs together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    symbols = symbol_table()
    model = new_model(len(symbols))
    mean = new_model(len(symbols))
    mean.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-6)
    state = {"step": 0, "minutes": 0.0}
    kept = folder() / "training.pt"
    if kept.is_file():
        saved = torch.load(kept, weights_only=True)
        model.load_state_dict(saved["model"])
        mean.load_state_dict(saved["mean"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
        rng = np.random.default_rng([options.seed, state["step"]])
    data: list[Utterance] = []
    paths: list[Path] = []
    started, before, written, losses = time.monotonic(), state["minutes"], time.monotonic(), []
    while (spent := before + (time.monotonic() - started) / 60) < options.minutes:
        if len(shards()) > len(paths):  # the voice may still be speaking
            paths = shards()
            data = list(utterances(paths))
        for rows in batches(data, rng):
            spent = before + (time.monotonic() - started) / 60
            share = spent / options.minutes
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(state["step"], share)
            losses.append(_step(model, optimizer, collate([data[i] for i in rows]), share))
            state["step"] += 1
            follow(mean, model, state["step"])
            if state["step"] % 50 == 0:
                parts = np.mean(losses, axis=0)
                losses = []
                words = " ".join(f"{n} {v:.4f}" for n, v in zip(("mel", "gate", "guide", "focus"), parts, strict=True))
                print(f"step {state['step']} minutes {spent:.1f} utterances {len(data)} {words}", flush=True)
            if time.monotonic() - written > 300:
                written, state["minutes"] = time.monotonic(), spent
                _keep(kept, model, mean, optimizer, state)
                write(mean, symbols, state)
    state["minutes"] = spent
    _keep(kept, model, mean, optimizer, state)
    write(mean, symbols, state)


def new_model(n_symbols: int, widths: dict = WIDTHS) -> nn.Module:
    from torchaudio.models import Tacotron2

    return Tacotron2(n_symbol=n_symbols, **widths)


def collate(items: list[Utterance]) -> Batch:
    """Sorted from long to short, as the encoder's packed LSTM wants it."""
    items = sorted(items, key=lambda item: -len(item.ids))
    ids = pad_sequence([torch.from_numpy(item.ids.astype(np.int64)) for item in items], batch_first=True)
    mels = [torch.from_numpy((item.mel.T - MEAN) / DEVIATION) for item in items]
    mel = pad_sequence(mels, batch_first=True, padding_value=float(np.log(LogMel().floor) - MEAN) / DEVIATION)
    guide = torch.zeros(len(items), mel.shape[1], ids.shape[1])
    for row, item in zip(guide, items, strict=True):
        row[: item.mel.shape[1], : len(item.ids)] = _guide(item)
    lengths = torch.tensor([len(item.ids) for item in items])
    return Batch(ids, lengths, mel.transpose(1, 2), torch.tensor([len(m) for m in mels]), guide)


def _guide(item: Utterance) -> Tensor:
    ends = np.cumsum(item.frames)
    starts = ends - item.frames
    t = np.arange(item.mel.shape[1])[:, None]
    away = np.maximum(np.maximum(starts - t, t - np.maximum(ends - 1, starts)), 0)
    away[ends[-1] :, -1] = 0  # what is left of the audio belongs to the end
    return torch.from_numpy(1 - np.exp(-((away / SLACK) ** 2) / 2)).float()


def batches(data: list[Utterance], rng: np.random.Generator) -> list[np.ndarray]:
    """Utterances of like length together, in random order."""
    lengths = np.array([item.mel.shape[1] for item in data])
    order = np.argsort(lengths + rng.uniform(-8, 8, len(data)))
    groups = [order[i : i + BATCH] for i in range(0, len(order) - BATCH + 1, BATCH)]
    return [groups[i] for i in rng.permutation(len(groups))]


def _learning_rate(step: int, share: float) -> float:
    return LEARNING_RATE * min(1.0, (step + 1) / 100) * (1.0 if share < 0.7 else 0.03 ** ((share - 0.7) / 0.3))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, share: float) -> tuple[float, ...]:
    model.train()
    mels, stop, attention, inside = losses(model, batch)
    mel = mels[0] + mels[1]
    guide = (attention * batch.guide).sum(2).mul(inside).sum() / inside.sum()
    loss = mel + stop + (10.0 if share < 0.15 else 2.0) * guide
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    focus = attention.max(2).values.mul(inside).sum() / inside.sum()
    return mel.item(), stop.item(), guide.item(), focus.item()


def losses(model: nn.Module, batch: Batch) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    """Loss of the mel before and after the postnet, of the end; attention (b, t, n); which frames are spoken (b, t)."""
    before, after, gate, attention = model(batch.ids, batch.lengths, batch.mel, batch.mel_lengths)
    inside = torch.arange(batch.mel.shape[2]) < batch.mel_lengths[:, None]
    n = inside.sum() * batch.mel.shape[1]
    first, second = (
        ((made - batch.mel).abs() + (made - batch.mel) ** 2).mul(inside[:, None]).sum() / n for made in (before, after)
    )
    ends = (torch.arange(batch.mel.shape[2]) >= batch.mel_lengths[:, None] - 1).float()
    stop = nn.functional.binary_cross_entropy_with_logits(gate, ends, pos_weight=torch.tensor(5.0))
    return (first, second), stop, attention, inside


@torch.no_grad()
def follow(mean: nn.Module, model: nn.Module, step: int) -> None:
    """Running mean of the weights; the running statistics of the norms are copied."""
    share = max(0.01, 1 / (1 + step))
    for kept, new in zip(mean.state_dict().values(), model.state_dict().values(), strict=True):
        kept.lerp_(new, share) if kept.is_floating_point() else kept.copy_(new)


def _keep(path: Path, model: nn.Module, mean: nn.Module, optimizer: torch.optim.Optimizer, state: dict) -> None:
    partial = path.with_suffix(".partial")
    saved = {
        "model": model.state_dict(),
        "mean": mean.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": state,
    }
    torch.save(saved, partial)
    partial.replace(path)


def write(
    model: nn.Module,
    symbols: list[str],
    state: dict,
    target: Path = TARGET / "tacotron.safetensors",
    widths: dict = WIDTHS,
    of: Sentences = SHORT,
) -> None:
    """The weights in half precision, how to use them, and what they learnt from."""
    target.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
    described = {
        "symbols": symbols,
        "widths": {**widths, "n_symbol": len(symbols)},
        "mel": LogMel().to_dict(),
        "mel_mean": MEAN,
        "mel_deviation": DEVIATION,
        "training": {"steps": state["step"], "minutes_on_one_core": round(state["minutes"], 1)},
    }
    transcripts = "".join(f"{text}\t{ipa}\n" for text, ipa in training_sentences(of))
    target.with_suffix(".tsv").write_text(transcripts, encoding="utf-8")
    partial = target.with_suffix(".partial")
    save_file({name: t.contiguous() for name, t in weights.items()}, partial)
    partial.replace(target)
    target.with_suffix(".json").write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
