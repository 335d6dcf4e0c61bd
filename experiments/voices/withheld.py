"""Does the diagnosis find what a voice was never taught? Here the truth is known: pairs withheld from the training.

    python -m experiments.voices.withheld

The reference Tacotron 2, 300 sentences that hold withheld pairs. Positive are the two sounds of such a pair, negative
all other sounds of the same sentences; the regions are of the voice's own training transcripts (k = 5). AUROC of each
layer's score, resampled by sentence; beside it negative NPMI of the pairs a sound stands in, which knows that the pair
was never seen without looking at the voice. Writes results/withheld/: tables.txt,
results.json, and the page; three minutes.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from experiments.intervals import bootstrap
from experiments.pages import write_page
from experiments.voices.training_speech import WITHHELD, unseen_sentences, withheld_pairs
from genmend.tts import Tokens, VoiceReference, diagnose, fit_reference, load_voice
from genmend.tts.mending.pair_statistics import PairStatistics
from genmend.tts.text.corpus import read_sentences, tokenize_corpus

RESULTS = Path(__file__).with_name("results") / "withheld"
N_SENTENCES, K, N_RESAMPLES = 300, 5, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    voice = load_voice("tacotron")
    transcripts = tokenize_corpus(voice, read_sentences(voice.transcripts))
    reference = fit_reference(voice, transcripts, k=K, seed=options.seed, progress=tqdm)
    asked = [pair for pair in unseen_sentences() if withheld_pairs(pair[1])][:N_SENTENCES]
    tokens = [voice.tokenize(text, phonemes=ipa) for text, ipa in asked]
    truth = [in_withheld_pair(sentence) for sentence in tokens]
    found = diagnose(voice, reference, tokens, n_nearest=0)
    n_in_pairs, n_sounds = int(sum(map(sum, truth))), sum(map(len, truth))
    lines = [
        f"{len(tokens)} sentences with withheld pairs ({' '.join(WITHHELD)}), {n_in_pairs} of "
        f"{n_sounds} sounds stand in one; AUROC of 'this sound does' [95 % interval]"
    ]
    scores = {
        layer: [np.nan_to_num(d.scores[layer][d.tokens.sounds], nan=9.0) for d in found] for layer in reference.layers
    }
    scores["negative NPMI"] = [-lowest_npmi(sentence, reference) for sentence in tokens]
    rows: dict[str, dict[str, Any]] = {}
    for name, values in scores.items():
        value, low, high = auroc(truth, values, options.seed)
        rows[name] = {"auroc": [round(end, 3) for end in (value, low, high)]}
        row = f"  {name:16s} {value:.3f} [{low:.3f}, {high:.3f}]"
        if name in reference.layers:
            outside = [v > 1 for v in values]
            inside_pairs, others = (
                float(np.mean(np.concatenate([o[t == side] for o, t in zip(outside, truth, strict=True)])))
                for side in (1, 0)
            )
            row += f"; outside: {inside_pairs:.3f} of them, {others:.3f} of the others, "
            row += f"{reference.base_rates[name]:.3f} of held-out training text"
            shares = inside_pairs, others, float(reference.base_rates[name])
            names = ("withheld pairs", "others", "held-out training text")
            rows[name]["outside"] = {of: round(share, 3) for of, share in zip(names, shares, strict=True)}
        lines.append(row)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    results = {"seed": options.seed, "k": K, "n_sentences": len(tokens), "withheld": list(WITHHELD)}
    results |= {"n_in_pairs": n_in_pairs, "n_sounds": n_sounds, "scores": rows}
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (options.out / "results.json").write_text(text, encoding="utf-8")
    write_page("voices/withheld")
    print("\n".join(lines))


def in_withheld_pair(tokens: Tokens) -> np.ndarray:
    """(sounds,) 1 for both sounds of a withheld pair."""
    places = tokens.sounds
    hit = np.zeros(len(places), dtype=int)
    for (i, one), (j, other) in pairwise(enumerate(places)):
        same_word = tokens.word_of[one] == tokens.word_of[other]
        if same_word and tokens.symbols[one] + tokens.symbols[other] in WITHHELD:
            hit[[i, j]] = 1
    return hit


def lowest_npmi(tokens: Tokens, reference: VoiceReference) -> np.ndarray:
    """(sounds,) of the pairs with its neighbours, the lower NPMI."""
    statistics, places = PairStatistics(reference.following), tokens.sounds
    lowest = np.full(len(places), 1.0)
    for (i, one), (j, other) in pairwise(enumerate(places)):
        value = np.nan_to_num(statistics.npmi(tokens.symbols[one], tokens.symbols[other]), nan=-1.0)
        lowest[[i, j]] = np.minimum(lowest[[i, j]], value)
    return lowest


def auroc(truth: list[np.ndarray], values: list[np.ndarray], seed: int) -> tuple[float, float, float]:
    def of(rows: np.ndarray) -> float:
        return float(roc_auc_score(np.concatenate([truth[i] for i in rows]), np.concatenate([values[i] for i in rows])))

    return bootstrap(of, len(truth), seed, N_RESAMPLES)


if __name__ == "__main__":
    main()
