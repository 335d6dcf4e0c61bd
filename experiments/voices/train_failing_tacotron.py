"""Train a Tacotron 2 whose attention fails now and then, as that of published voices does.

    python -m experiments.voices.training_speech --sentences long
    python -m experiments.voices.train_failing_tacotron [--steps 3500]

The reference voice (train_tacotron.py) hardly ever skips a word, so that no cure can be told from another on it. This
one starts from its acoustic half, which is frozen at first, and learns a new encoder and a new attention without any
guide. What lets its attention fail is that it hardly sees where it was: few and short location filters. Trained on one
core in less than an hour; interrupted, the same command goes on from the last checkpoint. A copy is kept every 250
steps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from experiments.voices.train_tacotron import TARGET, WIDTHS, batches, collate, follow, losses, new_model, write
from experiments.voices.training_speech import LONG, folder, shards, symbol_table, utterances
from genmend.storage.atomic import whole_file

FAILING = Path(__file__).parents[1] / "data" / "failing_tacotron.safetensors"
WIDTHS_OF_FAILING = {**WIDTHS, "attention_location_n_filter": 3, "attention_location_kernel_size": 7}
LEARNT_ANEW = ("embedding.", "encoder.", "decoder.attention_layer.")
N_FROZEN, FIRST_OF_MEAN = 400, 300  # steps with the acoustic half frozen; the step at which the running mean begins
LEARNING_RATES, EVERY = (1e-3, 5e-5), 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3_500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    symbols = symbol_table()
    model, mean = (new_model(len(symbols), WIDTHS_OF_FAILING) for _ in range(2))
    start_from_reference(model)
    mean.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATES[0], weight_decay=1e-6)
    state = {"step": 0, "minutes": 0.0}
    kept = folder(LONG) / "training.pt"
    if kept.is_file():
        saved = torch.load(kept, weights_only=True)
        for one, name in ((model, "model"), (mean, "mean"), (optimizer, "optimizer")):
            one.load_state_dict(saved[name])
        state = saved["state"]
    rng = np.random.default_rng([options.seed, state["step"]])
    started, before, heard = time.monotonic(), state["minutes"], []
    while state["step"] < options.steps:
        data = list(utterances(shards(LONG)))  # read anew each round: the voice may still be speaking
        for rows in batches(data, rng):
            heard.append(_step(model, optimizer, collate([data[i] for i in rows]), state["step"], options.steps))
            state["step"] += 1
            follow(mean, model, max(0, state["step"] - FIRST_OF_MEAN))
            state["minutes"] = before + (time.monotonic() - started) / 60
            if state["step"] % 25 == 0:
                words = " ".join(
                    f"{n} {v:.4f}" for n, v in zip(("mel", "gate", "focus"), np.mean(heard, 0), strict=True)
                )
                print(f"step {state['step']} minutes {state['minutes']:.1f} of {len(data)} {words}", flush=True)
                heard = []
            if state["step"] % EVERY == 0 or state["step"] == options.steps:
                parts = {"model": model, "mean": mean, "optimizer": optimizer}
                with whole_file(kept) as temporary:
                    torch.save({name: one.state_dict() for name, one in parts.items()} | {"state": state}, temporary)
                copy = folder(LONG) / f"failing-{state['step']:04d}.safetensors"
                write(mean, symbols, state, copy, WIDTHS_OF_FAILING, LONG)
            if state["step"] == options.steps:
                break


def start_from_reference(model: nn.Module) -> None:
    """Copy the acoustic half of the reference voice: all but what is learnt anew."""
    shipped = load_file(TARGET / "tacotron.safetensors")
    acoustic = {name: tensor.float() for name, tensor in shipped.items() if not name.startswith(LEARNT_ANEW)}
    fresh = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(LEARNT_ANEW)}
    model.load_state_dict(acoustic | fresh)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: object, step: int, steps: int
) -> tuple[float, ...]:
    frozen = step < N_FROZEN
    for name, weight in model.named_parameters():
        weight.requires_grad_(not frozen or name.startswith(LEARNT_ANEW))
    first, last = LEARNING_RATES
    for group in optimizer.param_groups:
        group["lr"] = min(1.0, (step + 1) / 50) * first * (last / first) ** (step / steps)
    model.train()
    mels, stop, attention, inside = losses(model, batch)
    # The frozen postnet was made for the reference's own mels.
    loss = mels[0] + (0 if frozen else mels[1]) + stop
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    focus = attention.max(2).values.mul(inside).sum() / inside.sum()
    return mels[0].item(), stop.item(), focus.item()


if __name__ == "__main__":
    main()
