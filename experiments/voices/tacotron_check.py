"""Which rung the reference Tacotron 2 reached: its attention, and what is heard of sentences that it never learnt.

    python -m experiments.voices.tacotron_check

60 ordinary sentences of 3 to 6 words. Rungs: attention diagonal (no skip, repeat or stall, ended by itself); Whisper
tiny's word error rate at most 30 %; at most 15 %. Beside it the voice that it learnt from, whose errors are mostly the
recogniser's. Writes results/tacotron_check/: tables.txt, results.json, and the
page; five minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from experiments.pages import write_page
from experiments.voices.train_tacotron import TARGET
from experiments.voices.training_speech import unseen_sentences, withheld_pairs
from genmend.tts import Speech, load_voice
from genmend.tts.measures.alignment import alignment_of
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors

RESULTS = Path(__file__).with_name("results") / "tacotron_check"
N = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whisper, hama = WhisperJudge(), PhonemeJudge()
    asked = [pair for pair in unseen_sentences() if not withheld_pairs(pair[1])][:N]
    training = json.loads((TARGET / "tacotron.json").read_text(encoding="utf-8"))["training"]
    lines = [f"reference Tacotron 2 after {training}, {N} ordinary sentences that it never learnt"]
    voices: dict[str, dict[str, float]] = {}
    for name in ("tacotron", "joe"):
        voice, words, sounds, diagonal = load_voice(name), [], [], []
        for text, ipa in tqdm(asked, desc=name):
            tokens = voice.tokenize(text, phonemes=ipa)
            speech: Speech = voice.speak(tokens)
            words.append(word_errors(text, whisper(speech.audio, speech.sample_rate)))
            sounds.append(phoneme_errors(ipa, hama(speech.audio, speech.sample_rate)))
            found = alignment_of(tokens, speech)
            diagonal.append(found.error_rate == 0 and speech.finished)
        rates = [sum(counts, EditCounts()).rate for counts in (words, sounds)]
        voices[name] = {"word_error_rate": round(rates[0], 3), "phoneme_error_rate": round(rates[1], 3)}
        lines.append(
            f"{name:9s} word error rate (Whisper tiny) {rates[0]:.3f}, phoneme error rate (hama) {rates[1]:.3f}"
        )
        if name == "tacotron":
            voices[name]["attended"] = sum(diagonal)
            lines.append(f"{name:9s} attention without skip, repeat or stall, ended by itself: {sum(diagonal)} of {N}")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    results = {"training": training, "n": N, "voices": voices}
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page("voices/tacotron_check")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
