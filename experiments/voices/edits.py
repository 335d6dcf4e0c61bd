"""Is a Piper voice's prosody said as asked for? Durations, pitch, and what can be read from which layer.

    python -m experiments.voices.edits

On en_US-joe-medium, noise 0, sentences of 18-32 characters of the reference corpus. 80 sentences are spoken and
labelled: probes of every layer learn from 60 and are tested on 20. Then, on other sentences, one word of each of 30
is stretched to 1.5 times its duration through the model's own predictor; 50 whole sentences are moved by -2, -1, 1
and 2 semitones along the last layer's covariance, calibrated on pyin's median, with the phoneme error rate (hama)
beside it; for 2 semitones also of a control, vectors moved as far in random directions. Last, on 10 sentences and
uncalibrated: what other layers, other moves and a VAE make of 2 semitones.

Writes results/edits/: tables.txt, results.json, pitch.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.pages import write_page
from genmend.storage.tables import without_nan
from genmend.tts.measures.judges import PhonemeJudge
from genmend.tts.measures.paired_bootstrap import paired_bootstrap
from genmend.tts.measures.phoneme_errors import phoneme_errors
from genmend.tts.prosody.calibration import calibrate
from genmend.tts.prosody.edit_requests import EditRequest, select_tokens
from genmend.tts.prosody.probe_moves import ProbeMoves, fit_moves, label_sentences, move_along_weights, random_direction
from genmend.tts.prosody.probes import LinearProbe, fit_bin_probe, fit_linear_probe, neuron_curve, token_table
from genmend.tts.prosody.prosody import SEMITONE, attribute_change, attribute_levels, edit_prosody
from genmend.tts.prosody.residual_vae import VectorVAE, edit_in_latents, fit_vae
from genmend.tts.prosody.token_labels import ATTRIBUTES, median_pitch, pitch_track
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_torch import to_torch
from genmend.tts.voices.voice import Speech

RESULTS = Path(__file__).with_name("results") / "edits"
CORPUS = Path(__file__).parents[2] / "tts" / "corpus" / "english.tsv"
LENGTHS = range(18, 33)
PITCH = {"lowest": 60.0, "highest": 250.0}  # Hz; the voice's median is about 87
SHIFTS = (-2.0, -1.0, 1.0, 2.0)
FACTOR = 1.5
TOLERANCE = 0.2  # semitones, of the calibration
WITHIN = 0.3  # semitones, of the target
SEED = 0


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    voice = PiperVoice.joe()
    sentences = _sentences(voice, options.labelled + options.pitch)
    learning, testing = sentences[: options.labelled], sentences[options.labelled :]
    labels = label_sentences(voice, learning, **PITCH)
    vectors = voice.encode(learning)
    table = token_table(learning, vectors, labels)
    last = voice.layers[-1]
    moves, _ = fit_moves(learning, vectors, labels, last)
    print("labelled", flush=True)
    model = to_torch(voice)
    rows = [_stretch(voice, model, tokens) for tokens in testing[: options.durations]]
    print("stretched", flush=True)
    result: dict[str, Any] = {
        "settings": {
            "voice": voice.name,
            "labelled": len(learning),
            "tokens": len(table.symbols),
            "factor": FACTOR,
            "shifts": SHIFTS,
            "calibration_tolerance": TOLERANCE,
            "seed": SEED,
        },
        "probes": [fit_linear_probe(table, layer, name).to_dict() for layer in voice.layers for name in ATTRIBUTES],
        "bins": {name: fit_bin_probe(table, last, name)[1] for name in ATTRIBUTES},
        "neurons": [neuron_curve(table, last, name).to_dict() for name in ("duration", "pitch")],
        "durations": rows,
    }
    judge = PhonemeJudge()
    result["pitch"] = [_pitch(voice, tokens, moves, judge) for tokens in testing]
    print("shifted", flush=True)
    result["moves"] = _compare(voice, learning, vectors, labels, moves, testing[: options.compared])
    result["summary"] = _summary(result)
    text = _tables(result)
    print(text)
    (options.out / "tables.txt").write_text(text + "\n")
    (options.out / "results.json").write_text(json.dumps(without_nan(result), indent=1) + "\n")
    _plot(result).savefig(options.out / "pitch.png", dpi=110)
    write_page("voices/edits")


def _sentences(voice: PiperVoice, n: int) -> list[Tokens]:
    rows = [line.split("\t") for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    order = np.random.default_rng(SEED).permutation(len(rows))
    chosen = [rows[i] for i in order if len(rows[i][0]) in LENGTHS][:n]
    return voice.tokenize_all([text for text, _ in chosen], [ipa for _, ipa in chosen])


def _stretch(voice: PiperVoice, model: Any, tokens: Tokens) -> dict[str, Any]:
    """One word, the one with the most tokens."""
    counts = np.bincount([word for word in tokens.word_of if word >= 0], minlength=len(tokens.words))
    word = tokens.words[int(counts.argmax())]
    edit = edit_prosody(voice, tokens, EditRequest(word, {"duration": FACTOR}, 1), model=model, **PITCH)
    found = {key: edit.to_dict()[key] for key in ("text", "word", "achieved", "elsewhere")}
    frames = int(edit.before.frames[select_tokens(tokens, edit.request)].sum())
    return found | {"frames": frames, "gain": edit.calibrations["duration"].gain}


def _pitch(voice: PiperVoice, tokens: Tokens, moves: ProbeMoves, judge: Callable[..., str]) -> dict[str, Any]:
    """A whole sentence, higher and lower, each with a control."""
    vectors = voice.encode([tokens], [moves.layer])[0][moves.layer]
    where = select_tokens(tokens, EditRequest("*", {}))
    before = voice.speak(tokens)
    start, whole = _median(before), before.frames.sum()
    errors = phoneme_errors(tokens.phonemes, judge(before.audio, before.sample_rate))
    row: dict[str, Any] = {"text": tokens.text, "hertz": float(np.exp(start)), "phonemes": errors.length}
    row["errors"] = errors.errors
    row["shifts"] = []
    kinds = np.array(tokens.kinds)
    for number, shift in enumerate(SHIFTS):
        step = moves.move(tokens, vectors, where, "pitch", shift * SEMITONE) - vectors
        said: dict[float, Speech] = {}

        def measured(gain: float, step: np.ndarray = step, said: dict[float, Speech] = said) -> float:
            said[gain] = voice.speak(tokens, {moves.layer: vectors + np.float32(gain) * step})
            return (_median(said[gain]) - start) / SEMITONE

        found = calibrate(measured, shift, tolerance=TOLERANCE)
        after = said[found.gain]
        row["shifts"].append(
            {
                "requested": shift,
                "uncalibrated": found.trials[0][1],
                "achieved": found.achieved,
                "gain": found.gain,
                "trials": len(found.trials),
                "duration": float(after.frames.sum() / whole),
                "errors": phoneme_errors(tokens.phonemes, judge(after.audio, after.sample_rate)).errors,
            }
        )
        if abs(shift) < max(SHIFTS):
            continue
        random = np.zeros_like(vectors)
        for side in (where & tokens.spoken, where & (kinds == "blank")):
            random[side] = random_direction(found.gain * step[side][0], SEED + number)
        control = voice.speak(tokens, {moves.layer: vectors + random})
        row["shifts"][-1] |= {
            "control": (_median(control) - start) / SEMITONE,
            "control_errors": phoneme_errors(tokens.phonemes, judge(control.audio, control.sample_rate)).errors,
        }
    return row


def _median(speech: Speech) -> float:
    """Over the whole sentence."""
    return median_pitch(pitch_track(speech, **PITCH))


def _compare(
    voice: PiperVoice,
    learning: Sequence[Tokens],
    vectors: Sequence[dict[str, np.ndarray]],
    labels: Sequence[dict[str, np.ndarray]],
    moves: ProbeMoves,
    testing: Sequence[Tokens],
) -> dict[str, dict[str, float]]:
    """Semitones that 2 requested ones give without calibration, by layer and kind of move; median over sentences."""
    last = moves.layer
    tables = [token_table(learning, vectors, labels, after=after) for after in (0, 1)]
    probes = [fit_linear_probe(table, last, "pitch") for table in tables]
    euclidean = [{"pitch": move_along_weights(probe)} for probe in probes]
    vaes = [fit_vae(table.vectors[last]) for table in tables]
    kinds: dict[str, ProbeMoves | tuple[list[LinearProbe], list[VectorVAE]]] = {
        f"{layer}, covariance": fit_moves(learning, vectors, labels, layer, ["pitch"])[0]
        for layer in voice.layers[2::2]
    }
    kinds[f"{last}, covariance, symbols only"] = ProbeMoves(last, moves.symbols, {})
    kinds[f"{last}, Euclidean"] = ProbeMoves(last, *euclidean)
    kinds[f"{last}, VAE residual"] = probes, vaes
    changes: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for tokens in testing:
        where = select_tokens(tokens, EditRequest("*", {}))
        old = attribute_levels(voice.speak(tokens), where, **PITCH)[0]
        for name, kind in kinds.items():
            layer = kind.layer if isinstance(kind, ProbeMoves) else last
            given = voice.encode([tokens], [layer])[0][layer]
            if isinstance(kind, ProbeMoves):
                edited = kind.move(tokens, given, where, "pitch", 2 * SEMITONE)
            else:
                edited = _through_vaes(kind, tokens, given, where)
            new = attribute_levels(voice.speak(tokens, {layer: edited}), where, **PITCH)[0]
            length = np.linalg.norm(edited - given, axis=1)[where] / np.linalg.norm(given, axis=1)[where]
            changes[name].append(attribute_change(old, new) | {"relative_length": float(length.mean())})
    return {
        name: {key: float(np.nanmedian([change[key] for change in rows])) for key in rows[0]}
        for name, rows in changes.items()
    }


def _through_vaes(
    kind: tuple[list[LinearProbe], list[VectorVAE]], tokens: Tokens, vectors: np.ndarray, where: np.ndarray
) -> np.ndarray:
    edited = vectors.copy()
    sides = (where & tokens.spoken, where & (np.array(tokens.kinds) == "blank"))
    for side, probe, vae in zip(sides, *kind, strict=True):
        wanted = torch.from_numpy(probe(vectors[side]).astype(np.float32)) + 2 * SEMITONE

        def loss(given: torch.Tensor, probe: LinearProbe = probe, wanted: torch.Tensor = wanted) -> torch.Tensor:
            return (probe(given) - wanted).square().sum() / SEMITONE**2

        edited[side] = edit_in_latents(vae, vectors[side], loss)
    return edited


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    stretched = np.array([row["achieved"]["duration"] for row in result["durations"]])
    elsewhere = np.array([row["elsewhere"]["duration"] for row in result["durations"]])
    summary: dict[str, Any] = {
        "durations": {
            "mean": float(stretched.mean()),
            "lowest": float(stretched.min()),
            "highest": float(stretched.max()),
            "within_3_percent": float((np.abs(stretched / FACTOR - 1) <= 0.03).mean()),
            "elsewhere_mean": float(elsewhere.mean()),
            "elsewhere_largest_change": float(np.abs(elsewhere - 1).max()),
            "pitch_median": float(np.nanmedian([row["achieved"]["pitch"] for row in result["durations"]])),
        }
    }
    summary["unpitched"] = sum(not np.isfinite(row["hertz"]) for row in result["pitch"])
    sizes = np.array([row["phonemes"] for row in result["pitch"]])
    before = np.array([row["errors"] for row in result["pitch"]]) / sizes
    for number, shift in enumerate(SHIFTS):
        cells = [row["shifts"][number] for row in result["pitch"]]
        achieved = np.array([cell["achieved"] for cell in cells])
        summary[f"{shift:+g} st"] = {
            "achieved_mean": float(np.nanmean(achieved)),
            "mean_error": float(np.nanmean(np.abs(achieved - shift))),
            "median_error": float(np.nanmedian(np.abs(achieved - shift))),
            "within": float((np.abs(achieved - shift) <= WITHIN).mean()),
            "uncalibrated_median": float(np.nanmedian([cell["uncalibrated"] for cell in cells])),
            "duration_mean": float(np.mean([cell["duration"] for cell in cells])),
            "trials_mean": float(np.mean([cell["trials"] for cell in cells])),
        }
        row = summary[f"{shift:+g} st"]
        row["per"] = _per(before, [cell["errors"] for cell in cells], sizes)
        if "control" in cells[0]:
            row["control_median"] = float(np.nanmedian([cell["control"] for cell in cells]))
            row["control_per"] = _per(before, [cell["control_errors"] for cell in cells], sizes)
    return summary


def _per(before: np.ndarray, errors: Sequence[int], sizes: np.ndarray) -> dict[str, Any]:
    return paired_bootstrap(before, np.array(errors) / sizes, weights=sizes, seed=SEED).to_dict()


def _tables(result: dict[str, Any]) -> str:
    durations, summary = result["summary"]["durations"], result["summary"]
    lines = [
        f"Voice {result['settings']['voice']}, noise 0.",
        "",
        f"Duration x {FACTOR:g} of one word through the model's own predictor, {len(result['durations'])} sentences:",
        f"  achieved mean {durations['mean']:.3f}, from {durations['lowest']:.3f} to {durations['highest']:.3f}; "
        f"within 3 %: {durations['within_3_percent']:.0%}",
        f"  all else: mean factor {durations['elsewhere_mean']:.3f}, largest change "
        f"{durations['elsewhere_largest_change']:.1%}; the word's pitch, median {durations['pitch_median']:+.2f} st",
        "",
        f"Pitch of {len(result['pitch'])} whole sentences in semitones (pyin's median; no pitch is found in "
        f"{summary['unpitched']} of them); phoneme error rates (hama) in points, change with 95 %:",
        "  requested  gain 1  calibrated  |error|  median  within 0.3  duration  PER before  change             trials",
    ]
    for shift in SHIFTS:
        row = summary[f"{shift:+g} st"]
        lines.append(
            f"  {shift:+9.0f}  {row['uncalibrated_median']:+6.2f}  {row['achieved_mean']:+10.2f}  "
            f"{row['mean_error']:7.2f}  {row['median_error']:6.2f}  {row['within']:10.0%}  "
            f"{row['duration_mean']:8.3f}  {100 * row['per']['before']:10.1f}  {_points(row['per'])}  "
            f"{row['trials_mean']:.1f}"
        )
        if "control_per" in row:
            lines.append(
                f"  random directions, as far: median {row['control_median']:+.2f} st, "
                f"PER {_points(row['control_per'])}"
            )
    lines += ["", "What +2 semitones give without calibration, medians (moved: share of the vectors' length):"]
    for name, row in result["moves"].items():
        lines.append(
            f"  {name:36} {row['pitch']:+.2f} st, duration x {row['duration']:.3f}, energy {row['energy']:+.2f} dB, "
            f"moved {row['relative_length']:.2f}"
        )
    lines += ["", "Held-out R2 of linear probes by layer, and of the symbols' means:"]
    lines.append("  " + " " * 12 + "".join(f"{name:>12}" for name in ATTRIBUTES))
    layers = list(dict.fromkeys(row["layer"] for row in result["probes"]))
    r2 = {(row["layer"], row["attribute"]): row for row in result["probes"]}
    for layer in layers:
        lines.append(f"  {layer:12}" + "".join(f"{r2[layer, name]['r2']:12.3f}" for name in ATTRIBUTES))
    means = "".join(f"{r2[layers[0], name]['baseline_r2']:12.3f}" for name in ATTRIBUTES)
    lines.append(f"  {'symbol mean':12}{means}")
    bins = "".join(f"{row['accuracy']:6.2f}/{row['baseline']:.2f} " for row in (result["bins"][n] for n in ATTRIBUTES))
    lines.append(f"  {'4 bins, last layer: accuracy/symbol':36}{bins}")
    for curve in result["neurons"]:
        pairs = zip(curve["counts"], curve["top_r2"], curve["bottom_r2"], strict=True)
        shown = "  ".join(f"{count}: {top:.2f}/{bottom:.2f}" for count, top, bottom in pairs)
        lines.append(f"  {curve['attribute']} from the top/bottom neurons of {curve['layer']}: {shown}")
    return "\n".join(lines)


def _points(row: dict[str, Any]) -> str:
    return f"{100 * row['difference']:+5.1f} [{100 * row['low']:+5.1f}, {100 * row['high']:+5.1f}]"


def _plot(result: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    series = (
        ("uncalibrated", "gain 1", "C1", -0.2),
        ("achieved", "calibrate", "C0", 0.0),
        ("control", "random directions", "C7", 0.2),
    )
    for key, label, colour, offset in series:
        cells = [
            (cell["requested"] + offset, cell[key]) for row in result["pitch"] for cell in row["shifts"] if key in cell
        ]
        axes.plot(*zip(*cells, strict=True), "o", color=colour, alpha=0.4, markersize=4, label=label)
    axes.plot(SHIFTS, SHIFTS, "_", color="black", markersize=60, label="requested")
    axes.set(xlabel="semitones requested", ylabel="semitones measured", xticks=SHIFTS)
    axes.set_title("Pitch of whole sentences, edited along the last layer's covariance")
    axes.legend(loc="center", markerscale=0.5)
    return figure


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    for name, number in (("labelled", 80), ("pitch", 50), ("durations", 30), ("compared", 10)):
        parser.add_argument(f"--{name}", type=int, default=number, help=f"sentences (default {number})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
