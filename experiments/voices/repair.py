"""Does moving off-manifold encoder vectors back help a voice that attends, and does it leave ordinary sentences alone?

    python -m experiments.voices.repair [--parts withheld long ordinary piper]

withheld: the reference Tacotron 2 and sentences with pairs of sounds that its training never had. Kept are those whose
version without the pair (its second sound replaced by the one that follows the first most often) is attended to
without a skip, repeat or stall, which is the rung that the model reached. Layer and psi are chosen by phoneme errors on
one part, the table is of the other. Compared: local repair (Algorithm 2), global, two readings of
random, the best of five seeds by attention, and a window on the attention.

long: 60 sentences of 10 to 14 words, where it learnt from 3 to 6: does the attention fail there?

ordinary: 200 sentences without such pairs, repair accepted by Whisper alone; the change is reported by judges that the
gate never asked (hama, pocketsphinx, DNSMOS). piper: the same gate on the names and nonce words of the detection set,
spoken by the Piper voice joe.

Writes results/repair/. Half an hour on one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from experiments.pages import write_page
from experiments.voices.sentences import sentences as detection_sentences
from experiments.voices.training_sentences import examples, shuffle
from experiments.voices.training_speech import WITHHELD, unseen_sentences, withheld_pairs
from genmend.tts import Speech, Tokens, Voice, VoiceReference, best_of, fit_reference, load_voice, repair
from genmend.tts.measures.judges import PhonemeJudge, PocketsphinxJudge, WhisperJudge
from genmend.tts.measures.naturalness import dnsmos
from genmend.tts.measures.paired_bootstrap import PairedDifference, paired_bootstrap
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.mending.acceptance import is_better, judge_by_whisper
from genmend.tts.mending.best_of import attention_errors
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.text.ipa import ipa_of_clauses
from genmend.tts.text.phonemes import espeak_phonemes
from genmend.tts.voices.tacotron import TacotronVoice

RESULTS = Path(__file__).with_name("results") / "repair"
PARTS = ("withheld", "long", "ordinary", "piper")
N_REFERENCE, N_CHOICE, N_TEST, N_ORDINARY, N_SEEDS = 3_000, 30, 80, 200, 5
N_LONG = 60
LAYERS, KS, PSIS = ("convolutions.2", "lstm"), (5, 10), (0.0, 0.3)
_MARKS = "ˈˌː"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    run = {"withheld": withheld_part, "long": long_part, "ordinary": ordinary_part, "piper": piper_part}
    for part in options.parts:
        found = run[part](results, options.seed)
        # Another run may have written another part meanwhile.
        results = (json.loads(kept.read_text()) if kept.is_file() else {}) | {part: found}
        kept.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        lines = [line for name in PARTS if name in results for line in [name, *results[name]["lines"], ""]]
        (options.out / "tables.txt").write_text("\n".join(lines), encoding="utf-8")
        print("\n".join(results[part]["lines"]), flush=True)
    write_page("voices/repair")


def withheld_part(results: Mapping[str, Any], seed: int) -> dict[str, Any]:
    voice, judge = load_voice("tacotron"), PhonemeJudge()
    references = {k: tacotron_reference(voice, k, seed) for k in KS}
    hard = [pair for pair in unseen_sentences() if withheld_pairs(pair[1])]
    kept, asked = [], 0
    for text, ipa in tqdm(hard, desc="sentences attended to without the pair"):
        if len(kept) == N_CHOICE + N_TEST:
            break
        asked += 1
        if _reads_right(voice, without_pairs(text, ipa, references[KS[0]]), text, seed):
            kept.append(voice.tokenize(text, phonemes=ipa))
    choice, test = kept[:N_CHOICE], kept[N_CHOICE:]
    chosen, table = choose(voice, judge, references, choice, seed)
    layer, k, psi = chosen
    ways = ways_to_speak(references[k], layer, psi)
    lines = [
        f"{len(kept)} of {asked} sentences with a withheld pair ({' '.join(WITHHELD)}) are attended to without error "
        f"when it is replaced: {len(choice)} choose, {len(test)} are reported.",
        f"Chosen by phoneme errors on the first: {layer}, k = {k}, psi = {psi:g}. All tried: {table}",
    ]
    measured = {name: _measure_all(voice, judge, way, test, name, seed) for name, way in ways.items()}
    lines += _rows(measured)
    plain = {name: {m: v.tolist() for m, v in values.items()} for name, values in measured.items()}
    return {"lines": lines, "layer": layer, "k": k, "psi": psi, "measured": plain}


def long_part(results: Mapping[str, Any], seed: int) -> dict[str, Any]:
    chosen = _chosen(results, "long")
    voice, judge = load_voice("tacotron"), PhonemeJudge()
    reference = tacotron_reference(voice, chosen["k"], seed)
    texts = shuffle(examples(10, 14), 3)[:N_LONG]
    ipa = map(ipa_of_clauses, espeak_phonemes(texts))
    asked = [voice.tokenize(text, phonemes=sounds) for text, sounds in zip(texts, ipa, strict=True)]
    ways = ways_to_speak(reference, chosen["layer"], chosen["psi"])
    measured = {name: _measure_all(voice, judge, way, asked, name, seed) for name, way in ways.items()}
    lines = [f"{len(asked)} sentences of 10 to 14 words; {chosen['layer']}, psi = {chosen['psi']:g}", *_rows(measured)]
    plain = {name: {m: v.tolist() for m, v in values.items()} for name, values in measured.items()}
    return {"lines": lines, "measured": plain}


def _chosen(results: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    if "withheld" not in results:
        raise ValueError(f"{part} needs the layer, k and psi that the part withheld chooses: run that first.")
    found: Mapping[str, Any] = results["withheld"]
    return found


def ordinary_part(results: Mapping[str, Any], seed: int) -> dict[str, Any]:
    chosen = _chosen(results, "ordinary")
    voice = load_voice("tacotron")
    reference = tacotron_reference(voice, chosen["k"], seed)
    plain = [pair for pair in unseen_sentences() if not withheld_pairs(pair[1])][:N_ORDINARY]
    asked = [voice.tokenize(text, phonemes=ipa) for text, ipa in plain]
    return measure_gated(voice, reference, asked, chosen["layer"], chosen["psi"], seed)


def piper_part(results: Mapping[str, Any], seed: int) -> dict[str, Any]:
    voice = load_voice("joe")
    reference = fit_reference(voice, tokenize_corpus(voice, read_sentences()), layers=["encoder.3"], seed=seed)
    asked = [voice.tokenize(t, phonemes=i) for kind, t, i in detection_sentences() if kind != "ordinary"]
    return measure_gated(voice, reference, asked, "encoder.3", 0.3, seed)


def tacotron_reference(voice: Voice, k: int, seed: int) -> VoiceReference:
    """From its own training transcripts."""
    return fit_reference(
        voice, tokenize_corpus(voice, read_sentences(voice.transcripts)[:N_REFERENCE]), layers=LAYERS, k=k, seed=seed
    )


def without_pairs(text: str, ipa: str, reference: VoiceReference) -> str:
    """The phonemes with the second sound of each withheld pair replaced by the usual one after the first."""
    sounds = list(ipa)
    bare = [i for i, symbol in enumerate(sounds) if symbol not in _MARKS]
    for one, other in itertools.pairwise(bare):
        if sounds[one] + sounds[other] in WITHHELD:
            usual = sorted(reference.following[sounds[one]].items(), key=lambda item: -item[1])
            sounds[other] = next(s for s, _ in usual if sounds[one] + s not in WITHHELD and s != sounds[other])
    return "".join(sounds)


def _reads_right(voice: Voice, ipa: str, text: str, seed: int) -> bool:
    if withheld_pairs(ipa):
        return False  # the replacement made another one
    tokens = voice.tokenize(text, phonemes=ipa)
    return attention_errors(tokens, voice.speak(tokens, seed=seed))[0] == 0


Way = Callable[[Voice, Tokens, int], Speech]


def ways_to_speak(reference: VoiceReference, layer: str, psi: float) -> dict[str, Way]:
    """Name -> how a sentence is said."""

    def original(voice: Voice, tokens: Tokens, seed: int) -> Speech:
        return voice.speak(tokens, seed=seed)

    def repaired(center: str) -> Way:
        def way(voice: Voice, tokens: Tokens, seed: int) -> Speech:
            done = repair(voice, reference, tokens, layer=layer, psi=psi, center=center, seed=seed)
            return voice.speak(tokens, {layer: done.vectors}, seed=seed)

        return way

    def best_by_attention(voice: Voice, tokens: Tokens, seed: int) -> Speech:
        return best_of(voice, tokens, attention_errors, range(seed, seed + N_SEEDS))

    def constrained(voice: Voice, tokens: Tokens, seed: int) -> Speech:
        assert isinstance(voice, TacotronVoice)
        return voice.with_attention_window(back=1, ahead=3).speak(tokens, seed=seed)

    centers = ("local", "global", "random direction", "random vector")
    return {
        "original": original,
        **{center: repaired(center) for center in centers},
        f"best of {N_SEEDS} seeds": best_by_attention,
        "attention window": constrained,
    }


def choose(
    voice: Voice, judge: PhonemeJudge, references: Mapping[int, VoiceReference], asked: list[Tokens], seed: int
) -> tuple[tuple[str, int, float], str]:
    """Layer, k and psi with the fewest phoneme errors of the local repair."""
    tried = {}
    for layer, k, psi in tqdm(list(itertools.product(LAYERS, KS, PSIS)), desc="layer, k, psi"):
        way = ways_to_speak(references[k], layer, psi)["local"]
        tried[layer, k, psi] = float(_measure_all(voice, judge, way, asked, "", seed)["phoneme errors"].mean())
    best = min(tried, key=lambda setting: tried[setting])
    return best, ", ".join(f"{layer} {k} {psi:g}: {rate:.3f}" for (layer, k, psi), rate in tried.items())


def _measure_all(
    voice: Voice, judge: PhonemeJudge, way: Way, asked: list[Tokens], name: str, seed: int
) -> dict[str, np.ndarray]:
    rows = []
    for tokens in tqdm(asked, desc=name, disable=not name):
        speech = way(voice, tokens, seed)
        heard = judge(speech.audio, speech.sample_rate)
        rows.append((*attention_errors(tokens, speech), phoneme_errors(tokens.phonemes, heard).rate))
    names = ("skips, repeats, stalls", "1 - largest attention", "phoneme errors")
    return dict(zip(names, np.array(rows).T, strict=True))


def _rows(measured: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    lines = []
    for measure, before in measured["original"].items():
        lines.append(f"{measure}: original {before.mean():.4f}; difference to it [95 % interval], better/worse")
        for name, values in measured.items():
            if name != "original":
                lines.append(f"  {name:18s} {_said(paired_bootstrap(before, values[measure]))}")
    return lines


def _said(found: PairedDifference) -> str:
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}] {found.better}/{found.worse}"


def measure_gated(
    voice: Voice, reference: VoiceReference, asked: list[Tokens], layer: str, psi: float, seed: int
) -> dict[str, Any]:
    """Repairs that Whisper accepted, and what judges hear of them that it never asked."""
    whisper, hama, sphinx = WhisperJudge(), PhonemeJudge(), PocketsphinxJudge()
    rates: list[tuple[float, float, float]] = []  # hama: original, repaired wherever anything was flagged, gated
    weights, others, n_flagged = [], [], 0
    for tokens in tqdm(asked, desc=f"{voice.name}, gated"):
        done = repair(voice, reference, tokens, layer=layer, psi=psi, seed=seed)
        said = [voice.speak(tokens, seed=seed)]
        take = False
        if done.changed:
            n_flagged += 1
            said.append(voice.speak(tokens, {layer: done.vectors}, seed=seed))
            take = is_better(*(judge_by_whisper(whisper, speech, tokens.text) for speech in said))
        heard = [phoneme_errors(tokens.phonemes, hama(s.audio, s.sample_rate)) for s in said]
        rates.append((heard[0].rate, heard[-1].rate, heard[-1 if take else 0].rate))
        weights.append(heard[0].length)
        if take:
            words = [word_errors(tokens.text, sphinx(s.audio, s.sample_rate)).rate for s in said]
            others.append((*words, *(dnsmos(s.audio, s.sample_rate).overall for s in said)))
    original, always, kept = np.array(rates).T
    lines = [
        f"{voice.name}, {layer}, psi = {psi:g}: {n_flagged} of {len(asked)} sentences have something to repair; "
        f"Whisper accepts {len(others)}.",
        f"  phoneme errors over all phonemes (hama): original {np.average(original, weights=weights):.4f}; change",
        f"    repaired wherever flagged, not gated: {_said(paired_bootstrap(original, always, weights=weights))}",
        f"    repaired where Whisper accepts:       {_said(paired_bootstrap(original, kept, weights=weights))}",
    ]
    if len(others) > 1:
        words_before, words_after, quality_before, quality_after = np.array(others).T
        quality = paired_bootstrap(quality_before, quality_after, lower_is_better=False)
        lines += [
            f"  of the accepted, word errors (pocketsphinx): original {words_before.mean():.4f}, change "
            f"{_said(paired_bootstrap(words_before, words_after))}",
            f"  of the accepted, DNSMOS overall: original {quality_before.mean():.4f}, change {_said(quality)}",
        ]
    return {"lines": lines, "rates": rates, "accepted": len(others), "n": len(asked)}


if __name__ == "__main__":
    main()
