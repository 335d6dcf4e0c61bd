"""Make the reference corpus of tts/: sentences with their phonemes, so that detection needs no espeak-ng.

    python -m experiments.voices.make_corpus

Writes tts/corpus/english.tsv (sentence, tab, IPA as `PiperVoice.tokenize(phonemes=...)` takes it) and prints what it
covers. Most sentences are drawn at random, so that ordinary sounds are ordinary; the rest is chosen so that phoneme
pairs which the candidates have at least `COMMON` times are in the corpus at least `ENOUGH` times. Needs espeak-ng.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from experiments.voices.training_sentences import examples, shuffle, templates
from genmend.tts.text.phonemes import espeak_phonemes
from genmend.tts.voices.piper import ipa_of_clauses

TARGET = Path(__file__).parents[2] / "tts" / "corpus" / "english.tsv"
N_CANDIDATES, N_RANDOM, N_TEMPLATES, N_MOST = 12_000, 2_300, 120, 2_700
COMMON, ENOUGH = 20, 4


def main() -> None:
    ordinary, ours = shuffle(examples(4, 14), 0)[:N_CANDIDATES], shuffle(templates(), 0)[:N_TEMPLATES]
    ipa = dict(zip(texts := [*ours, *ordinary], map(ipa_of_clauses, espeak_phonemes(texts)), strict=True))
    kept = [*ours, *ordinary[:N_RANDOM]]
    available = Counter(pair for text in ordinary for pair in pairs(ipa[text]))
    common = {pair for pair, n in available.items() if n >= COMMON}
    count = Counter(pair for text in kept for pair in pairs(ipa[text]))
    for text in ordinary[N_RANDOM:]:
        if len(kept) == N_MOST:
            break
        if any(count[pair] < ENOUGH for pair in pairs(ipa[text]) if pair in common):
            kept.append(text)
            count.update(pairs(ipa[text]))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text("".join(f"{text}\t{ipa[text]}\n" for text in sorted(kept)), encoding="utf-8")
    missing = sorted(pair for pair in common if count[pair] < ENOUGH)
    print(
        f"{len(kept)} sentences, {sum(map(len, map(ipa.get, kept))):,} symbols, {TARGET.stat().st_size:,} bytes; "
        f"{len(common)} common pairs, {len(missing)} of them fewer than {ENOUGH} times: {missing}"
    )


def pairs(ipa: str) -> list[tuple[str, str]]:
    """Neighbouring symbols of one sentence, stress marks left out, word boundaries kept."""
    return list(pairwise(symbol for symbol in ipa if symbol not in "ˈˌ"))


if __name__ == "__main__":
    main()
