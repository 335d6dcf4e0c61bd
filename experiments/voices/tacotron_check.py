"""How well the two Tacotron 2 voices of this project speak, and how often their attention fails.

    python -m experiments.voices.tacotron_check [--failing FILE.safetensors]

60 ordinary sentences of 3 to 6 words that no voice learnt. Rungs: attention diagonal (no skip, repeat or stall, ended
by itself); Whisper tiny's word error rate at most 30 %; at most 15 %. Beside them 150 sentences with pairs of sounds
that were withheld from training, and the voice that both learnt from, whose errors are mostly the recogniser's. Writes
results/tacotron_check/: tables.txt, results.json, and the page; ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from experiments.pages import write_page
from experiments.voices.train_failing_tacotron import FAILING
from experiments.voices.train_tacotron import TARGET
from experiments.voices.training_speech import unseen_sentences, withheld_pairs
from genmend.tts import Voice, load_voice
from genmend.tts.measures.alignment import alignment_of
from genmend.tts.measures.edit_counts import EditCounts
from genmend.tts.measures.judges import PhonemeJudge, WhisperJudge
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.measures.word_errors import word_errors
from genmend.tts.voices.tacotron import TacotronVoice

RESULTS = Path(__file__).with_name("results") / "tacotron_check"
N, N_WITHHELD = 60, 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--failing", type=Path, default=FAILING)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whisper, hama = WhisperJudge(), PhonemeJudge()
    unseen = unseen_sentences()
    asked = [pair for pair in unseen if not withheld_pairs(pair[1])][:N]
    withheld = [pair for pair in unseen if withheld_pairs(pair[1])][:N_WITHHELD]
    files = {"tacotron": TARGET / "tacotron.safetensors", "failing": options.failing}
    training = {
        name: json.loads(file.with_suffix(".json").read_text("utf-8"))["training"] for name, file in files.items()
    }
    lines = [f"{N} ordinary sentences and {N_WITHHELD} with withheld pairs that no voice learnt; trained: {training}"]
    voices: dict[str, dict[str, float]] = {}
    for name in ("tacotron", "failing", "joe"):
        voice = TacotronVoice.from_files(files[name]) if name in files else load_voice(name)
        words, sounds = [], []
        for text, ipa in tqdm(asked, desc=name):
            speech = voice.speak(voice.tokenize(text, phonemes=ipa))
            words.append(word_errors(text, whisper(speech.audio, speech.sample_rate)))
            sounds.append(phoneme_errors(ipa, hama(speech.audio, speech.sample_rate)))
        rates = [sum(counts, EditCounts()).rate for counts in (words, sounds)]
        voices[name] = {"word_error_rate": round(rates[0], 3), "phoneme_error_rate": round(rates[1], 3)}
        lines.append(
            f"{name:9s} word error rate (Whisper tiny) {rates[0]:.3f}, phoneme error rate (hama) {rates[1]:.3f}"
        )
        if name in files:
            failed = {"ordinary": count_failed(voice, asked), "withheld": count_failed(voice, withheld)}
            voices[name] |= {f"failed_{kind}": n for kind, n in failed.items()}
            lines.append(
                f"{name:9s} attention with a skip, repeat or stall, or no end: {failed['ordinary']} of {N} ordinary, "
                f"{failed['withheld']} of {N_WITHHELD} with withheld pairs"
            )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tables.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    results = {"training": training, "n": N, "n_withheld": N_WITHHELD, "voices": voices}
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page("voices/tacotron_check")
    print("\n".join(lines))


def count_failed(voice: Voice, asked: list[tuple[str, str]], seed: int = 0) -> int:
    """How many sentences (text, IPA) are read with a skip, repeat or stall, or without an end."""
    failed = 0
    for text, ipa in tqdm(asked, desc="attention"):
        tokens = voice.tokenize(text, phonemes=ipa)
        speech = voice.speak(tokens, seed=seed)
        failed += alignment_of(tokens, speech).error_rate > 0 or not speech.finished
    return failed


if __name__ == "__main__":
    main()
