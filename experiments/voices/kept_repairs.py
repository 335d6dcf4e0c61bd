"""Does a repair of a combination of sounds hold in other sentences? On the real Piper voice, by its normal regions.

    python -m experiments.voices.kept_repairs

For the combination round the worst symbol of each nonce and name sentence of experiments.voices.detection: the share
of 24 other ordinary sentences in which the symbol is outside, as it is, with the vector of its own sentence, with one
learnt from 12 further sentences, and with as long a one in a random direction. A combination counts if it is outside in
at least a quarter of the sentences. Nothing is heard here: regions say where vectors lie, not how they sound.

Writes results/kept_repairs/: tables.txt, results.json. Needs the weights `joe`, no espeak-ng.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.intervals import mean_with_interval
from experiments.pages import write_page
from experiments.voices.sentences import sentences
from genmend.tts import Voice, VoiceReference, diagnose, load_voice, repair
from genmend.tts.mending.cached_reference import reference_for
from genmend.tts.mending.combination import CombinationRepair, combination_repairs
from genmend.tts.mending.generalisation import average_repair, measure_generalisation
from genmend.tts.text.corpus import ENGLISH, read_sentences, tokenize_corpus

RESULTS = Path(__file__).with_name("results") / "kept_repairs"
WAYS = ("own sentence", "several sentences", "random direction")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--n", type=int, default=40, help="combinations")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    voice = load_voice("joe")
    reference = reference_for(voice, None, 5, options.seed)
    ordinary = tokenize_corpus(voice, read_sentences(ENGLISH)[::6])
    learning, testing = ordinary[::2], ordinary[1::2]
    rng = np.random.default_rng(options.seed)
    rows = []
    for one in _combinations(voice, reference, options.seed):
        vector = rng.standard_normal(len(one.vector))
        aside = replace(one, vector=(vector * np.linalg.norm(one.vector) / np.linalg.norm(vector)).astype(np.float32))
        general = average_repair(voice, reference, one, learning, seed=options.seed)
        candidates = dict(zip(WAYS, (one, general, aside), strict=True))
        found = {
            way: measure_generalisation(voice, reference, made, testing, seed=options.seed)
            for way, made in candidates.items()
            if made is not None
        }
        if found["own sentence"].outside_before < 0.25 or len(found) < len(WAYS):
            continue
        rows.append({way: holding.to_dict() for way, holding in found.items()})
        if len(rows) == options.n:
            break
    text = _table(rows, options.seed)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tables.txt").write_text(text + "\n", encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page("voices/kept_repairs")


def _combinations(voice: Voice, reference: VoiceReference, seed: int) -> Iterator[CombinationRepair]:
    """The symbol that is furthest outside of each sentence in turn, repaired all the way."""
    _, texts, ipa = zip(*(row for row in sentences() if row[0] != "ordinary"), strict=True)
    for found in diagnose(voice, reference, voice.tokenize_all(texts, ipa), n_nearest=0):
        if len(found.flagged):
            scores = found.scores[found.layer]
            worst = int(found.flagged[np.argmax(scores[found.flagged])])
            done = repair(voice, reference, found.tokens, layer=found.layer, psi=0.0, positions=[worst], seed=seed)
            yield from combination_repairs(voice, done)


def _table(rows: list[dict[str, dict[str, Any]]], seed: int) -> str:
    lines = [
        f"kept_repairs: {len(rows)} combinations, 24 other sentences each, layer encoder.3, psi 0, seed {seed}.",
        f"{'vector of':20s} outside before   outside after [95 %]     holds [95 %]",
    ]
    for way in WAYS:
        before = np.mean([row[way]["outside_before"] for row in rows])
        (after, a, b), (holds, c, d) = (_mean(rows, way, name, seed) for name in ("outside_after", "holds"))
        lines.append(
            f"{way:20s} {before:.3f}            {after:.3f} [{a:.3f}, {b:.3f}]     {holds:.2f} [{c:.2f}, {d:.2f}]"
        )
    return "\n".join(lines)


def _mean(rows: list[dict[str, dict[str, Any]]], way: str, name: str, seed: int) -> tuple[float, float, float]:
    values = np.array([float(row[way][name]) for row in rows])
    return mean_with_interval(values, seed)


if __name__ == "__main__":
    main()
