"""Does a sentence's share of encoder vectors outside the normal region say how badly the voice will read it?

    python -m experiments.voices.detection

The Piper voice joe at noise 0, 200 frozen sentences (experiments/voices/sentences.py), phoneme errors heard by hama.
What was fixed beforehand: k = 5, layer encoder.3; Spearman's correlation over all sentences, the partial one given kind
and length, sentence length and mean NPMI as controls, AUROC for "this word is misread". The table of other layers and k
is for reading, nothing was chosen by it; the rows after the fact were added when the others were known. Writes
results/detection/: tables.txt, results.json, heard.json, scatter.png, and the page. Needs the weights joe (genmend
fetch joe) and the extra audio-eval; about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from experiments.intervals import bootstrap
from experiments.pages import write_page
from experiments.voices.sentences import SECOND, sentences
from genmend.tts.measures.edit_counts import align
from genmend.tts.measures.judges import PhonemeJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors, phonemes, sounds_of_words, word_phoneme_errors
from genmend.tts.mending.diagnosis import Diagnosis, diagnose
from genmend.tts.mending.reference import VoiceReference, fit_reference
from genmend.tts.text.corpus import read_sentences, tokenize_corpus
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.piper import PiperVoice

RESULTS = Path(__file__).with_name("results") / "detection"
LAYER, K, OTHER_K = "encoder.3", 5, (3, 10, 20)
KINDS = ("ordinary", "name", "nonce")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    voice = PiperVoice.joe()
    reference = fit_reference(voice, tokenize_corpus(voice, read_sentences()), k=K, seed=options.seed, progress=tqdm)
    kinds, texts, ipa = map(list, zip(*sentences(), strict=True))
    asked = [voice.tokenize(text, phonemes=sounds) for text, sounds in zip(texts, ipa, strict=True)]
    started = time.process_time()
    found = [diagnose(voice, reference, [tokens], layer=LAYER, layers=())[0] for tokens in asked]
    seconds = (time.process_time() - started) / len(asked)
    heard = transcribe_with_hama(voice, asked, options.out / "heard.json")
    errors = np.array([phoneme_errors(t.phonemes, h).rate for t, h in zip(asked, heard, strict=True)])
    word_errors = [word_phoneme_errors(sounds_of_words(t), h) for t, h in zip(asked, heard, strict=True)]
    lines, results = tables(reference, found, np.array(kinds), errors, word_errors, options.seed)
    more, results["excess"] = excess_tables(found, np.array(kinds), asked, heard, options.seed)
    lines += more
    more, results["second"] = second_set(voice, reference, options.out / "heard.json", options.seed)
    lines += more
    lines.append(f"Diagnosis (encoding and scores of {LAYER}): {seconds:.3f} s of one core a sentence.")
    lines += ["", "Other layers and k, Spearman over all sentences, share outside as the score:"]
    others = other_settings(voice, reference, asked, errors)
    lines += [
        f"  {layer:10s} " + "  ".join(f"k {k}: {value:+.2f}" for k, value in row.items())
        for layer, row in others.items()
    ]
    results |= {"n": {"sentences": len(asked), "second": len(sentences(SECOND))}}
    results |= {"seconds": round(seconds, 3), "other_settings": others}
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    scatter([d.outside for d in found], errors, kinds, options.out / "scatter.png")
    write_page("voices/detection")
    print("\n".join(lines))


def transcribe_with_hama(voice: PiperVoice, asked: list[Tokens], kept: Path) -> list[str]:
    """IPA that was heard of each sentence; kept in a file, so that the tables can be made again without the voice."""
    known: dict[str, str] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    judge = PhonemeJudge()
    for tokens in tqdm(asked, desc="spoken and heard"):
        if tokens.phonemes not in known:
            speech = voice.speak(tokens)
            known[tokens.phonemes] = judge(speech.audio, speech.sample_rate)
    kept.write_text(json.dumps(known, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    return [known[tokens.phonemes] for tokens in asked]


def excess_tables(
    found: list[Diagnosis], kinds: np.ndarray, asked: list[Tokens], heard: list[str], seed: int
) -> tuple[list[str], dict[str, Any]]:
    """After the fact: the same correlations with the errors beyond those hama makes of each sound in ordinary text."""
    rng = np.random.default_rng(seed)
    marks = [sound_errors(tokens, said) for tokens, said in zip(asked, heard, strict=True)]
    excess = np.array([mean_excess(i, marks, kinds) for i in range(len(asked))])
    outside = np.array([d.outside for d in found])
    length = np.array([d.tokens.spoken.sum() for d in found], dtype=float)
    given = np.column_stack([rankdata(length), *[(kinds == kind).astype(float) for kind in KINDS[1:]]])
    rows = {
        "share outside": spearman_row(outside, excess, rng),
        "share outside | kind, length": partial_row(outside, excess, given, rng),
    }
    lines = ["After the fact, with errors beyond those that hama makes of the same sounds in the ordinary sentences:"]
    lines += [f"  {name:40s} {r[0]:+.2f} [{r[1]:+.2f}, {r[2]:+.2f}]" for name, r in rows.items()]
    return lines, rows


def second_set(voice: PiperVoice, reference: VoiceReference, kept: Path, seed: int) -> tuple[list[str], dict[str, Any]]:
    """160 other nonce words: fixed beforehand, the partial correlation given carrier and length."""
    rng = np.random.default_rng(seed)
    carriers, texts, ipa = map(list, zip(*sentences(SECOND), strict=True))
    asked = [voice.tokenize(text, phonemes=sounds) for text, sounds in zip(texts, ipa, strict=True)]
    found = diagnose(voice, reference, asked, layer=LAYER, layers=())
    heard = transcribe_with_hama(voice, asked, kept)
    errors = np.array([phoneme_errors(t.phonemes, h).rate for t, h in zip(asked, heard, strict=True)])
    outside, npmi = np.array([d.outside for d in found]), np.array([d.npmi for d in found])
    length = rankdata([d.tokens.spoken.sum() for d in found])
    given = np.column_stack([length, *[np.array([c == one for c in carriers]) for one in sorted(set(carriers))[1:]]])
    rows = {
        "share outside | carrier, length": partial_row(outside, errors, given.astype(float), rng),
        "control: negative NPMI | carrier, length": partial_row(-npmi, errors, given.astype(float), rng),
    }
    lines = [f"Second set, {len(asked)} nonce words in the same carriers, fixed before it was heard:"]
    lines += [f"  {name:40s} {r[0]:+.2f} [{r[1]:+.2f}, {r[2]:+.2f}]" for name, r in rows.items()]
    return lines, rows


def sound_errors(tokens: Tokens, heard: str) -> list[tuple[str, float]]:
    """Each sound of a sentence, and how many errors fall on it; one that was added falls on the sound before."""
    reference, found = phonemes(tokens.phonemes), phonemes(heard)
    errors, current = np.zeros(len(reference)), 0
    for i, j in align(reference, found):
        current = current if i is None else i
        errors[current] += i is None or j is None or reference[i] != found[j]
    return list(zip(reference, errors.tolist(), strict=True))


def mean_excess(number: int, marks: list[list[tuple[str, float]]], kinds: np.ndarray) -> float:
    """Mean over a sentence's sounds of its errors less those of the same sound in the other ordinary sentences."""
    usual: dict[str, list[float]] = {}
    for i in np.flatnonzero(kinds == KINDS[0]):
        for sound, errors in marks[i] if i != number else []:
            usual.setdefault(sound, []).append(errors)
    overall = float(np.mean([errors for values in usual.values() for errors in values]))
    return float(np.mean([errors - np.mean(usual.get(sound, [overall])) for sound, errors in marks[number]]))


def tables(
    reference: VoiceReference,
    found: list[Diagnosis],
    kinds: np.ndarray,
    errors: np.ndarray,
    word_errors: list[np.ndarray],
    seed: int,
) -> tuple[list[str], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    outside = np.array([d.outside for d in found])
    mean_score = np.array([np.nanmean(d.scores[d.layer]) for d in found])
    length = np.array([d.tokens.spoken.sum() for d in found], dtype=float)
    npmi = np.array([d.npmi for d in found])
    given = np.column_stack([rankdata(length), *[(kinds == kind).astype(float) for kind in KINDS[1:]]])
    rows = {
        "share outside": spearman_row(outside, errors, rng),
        "mean score": spearman_row(mean_score, errors, rng),
        "control: number of symbols": spearman_row(length, errors, rng),
        "control: mean NPMI, negative": spearman_row(-npmi, errors, rng),
        "share outside | kind, length": partial_row(outside, errors, given, rng),
        "mean score | kind, length": partial_row(mean_score, errors, given, rng),
        "control: negative NPMI | kind, length": partial_row(-npmi, errors, given, rng),
    }
    rows |= {
        f"share outside, {kind}": spearman_row(outside[kinds == kind], errors[kinds == kind], rng) for kind in KINDS
    }
    lines = [f"Spearman's correlation with the phoneme error rate heard by hama, {LAYER}, k = {K}, [95 % interval]"]
    lines += [f"  {name:40s} {r[0]:+.2f} [{r[1]:+.2f}, {r[2]:+.2f}]" for name, r in rows.items()]
    of_kind = {
        kind: {
            "outside": round(float(outside[kinds == kind].mean()), 3),
            "phoneme_error_rate": round(float(errors[kinds == kind].mean()), 3),
        }
        for kind in KINDS
    }
    base_rate = round(float(reference.base_rates[LAYER]), 3)
    said = [
        f"{kind} {row['outside']:.3f} (phoneme error rate {row['phoneme_error_rate']:.3f})"
        for kind, row in of_kind.items()
    ]
    lines.append(f"Share outside: held-out ordinary text {base_rate:.3f}; " + "; ".join(said))
    words = {name: auroc_of_words(found, word_errors, name, rng) for name in ("score", "outside")}
    lines.append("AUROC for 'at least a third of this word's phonemes are misread', words drawn by sentence:")
    lines += [f"  word's {name}: {a:.2f} [{low:.2f}, {high:.2f}]" for name, (a, low, high) in words.items()]
    results = {"spearman": rows, "auroc_words": words, "outside": outside.tolist(), "errors": errors.tolist()}
    return lines, results | {"base_rate": base_rate, "kinds": of_kind}


def spearman_row(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    return bootstrap(lambda rows: float(spearmanr(x[rows], y[rows])[0]), len(x), rng)


def partial_row(
    x: np.ndarray, y: np.ndarray, given: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    return bootstrap(lambda rows: partial_spearman(x[rows], y[rows], given[rows]), len(x), rng)


def partial_spearman(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Correlation of the ranks after a linear fit to `given` (n, columns) is taken out of both."""
    design = np.column_stack([np.ones(len(x)), given])
    left = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in (rankdata(x), rankdata(y))]
    return float(np.corrcoef(*left)[0, 1])


def auroc_of_words(
    found: list[Diagnosis], word_errors: list[np.ndarray], name: str, rng: np.random.Generator
) -> tuple[float, float, float]:
    values = [np.array([getattr(w, name) for w in d.words]) for d in found]
    usable = [np.isfinite(v) & np.isfinite(e) for v, e in zip(values, word_errors, strict=True)]
    values = [v[u] for v, u in zip(values, usable, strict=True)]
    wrong = [e[u] >= 1 / 3 for e, u in zip(word_errors, usable, strict=True)]

    def auroc(rows: np.ndarray) -> float:
        return float(roc_auc_score(np.concatenate([wrong[i] for i in rows]), np.concatenate([values[i] for i in rows])))

    return bootstrap(auroc, len(found), rng)


def other_settings(
    voice: PiperVoice, reference: VoiceReference, asked: list[Tokens], errors: np.ndarray
) -> dict[str, dict[str, float]]:
    """By layer and k, Spearman's correlation of the share outside with the errors, two digits."""
    vectors = voice.encode(asked, reference.layers)
    found: dict[str, dict[str, float]] = {}
    for layer in reference.layers:
        fitted = reference.regions[layer]
        found[layer] = {}
        for k in sorted({K, *OTHER_K}):
            region = fitted if k == K else copy(fitted).set_params(k=k).refit()
            shares = [
                np.mean(region.contains(v[layer][t.spoken], groups=np.array(t.symbols)[t.spoken]) != 1)
                for t, v in zip(asked, vectors, strict=True)
            ]
            found[layer][str(k)] = round(float(spearmanr(shares, errors)[0]), 2)
    return found


def scatter(outside: list[float], errors: np.ndarray, kinds: list[str], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for kind, marker in zip(KINDS, "o^s", strict=True):
        chosen = np.array([k == kind for k in kinds])
        axes.scatter(100 * np.array(outside)[chosen], 100 * errors[chosen], s=18, marker=marker, label=kind, alpha=0.7)
    axes.set_xlabel(f"symbols outside the normal region of {LAYER}, %")
    axes.set_ylabel("phoneme error rate heard, %")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
