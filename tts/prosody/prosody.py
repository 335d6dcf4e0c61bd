"""Say a word longer, higher, louder or darker: the edit, calibrated on the voice's output, and what else it moved.

Lee et al., Interspeech 2025 (arXiv 2506.00832). Our reading: durations by gradient through the model's own predictor,
the rest along the covariance of the last layer's vectors (`genmend.tts.prosody.probe_moves`), its strength by what is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from genmend.storage.tables import without_nan
from genmend.tts.mending.figures import can_draw
from genmend.tts.prosody.calibration import Calibration, calibrate
from genmend.tts.prosody.edit_requests import UNITS, EditRequest, select_tokens
from genmend.tts.prosody.predictor_edits import edit_through
from genmend.tts.prosody.probe_moves import ProbeMoves
from genmend.tts.prosody.token_labels import frame_measures, median_pitch
from genmend.tts.text.tokens import Tokens
from genmend.tts.voices.onnx.onnx_voice import OnnxVoice
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_torch import log_durations
from genmend.tts.voices.voice import Speech, Voice

if TYPE_CHECKING:
    from genmend.tts.voices.vits import VitsVoice

__all__ = ["ProsodyEdit", "attribute_change", "attribute_levels", "edit_prosody", "moved_attributes", "stretch"]

SEMITONE = math.log(2) / 12
# How near to what was asked for a measured change must come: semitones and dB.
TOLERANCE = {"pitch": 0.2, "energy": 0.5, "tilt": 0.5}


# A tenth of the duration, a semitone, 3 dB.
NOTICED = {"duration": math.log(1.1), "pitch": 1.0, "energy": 3.0, "tilt": 3.0}


@dataclass(frozen=True)
class ProsodyEdit:
    """A sentence of which a word is said in another way.

    Attributes
    ----------
    text : str
    request : EditRequest
    achieved : dict
        attribute -> measured change over the chosen tokens, in the request's units; those not asked for included.
    elsewhere : dict
        The same over all other tokens.
    calibrations : dict
        attribute -> how its strength was found.
    vectors : dict
        layer -> (n, d) float32, for `Voice.speak`.
    before, after : Speech
    """

    text: str
    request: EditRequest
    achieved: dict[str, float]
    elsewhere: dict[str, float]
    calibrations: dict[str, Calibration]
    vectors: dict[str, NDArray[np.float32]]
    before: Speech
    after: Speech

    def to_dict(self) -> dict[str, Any]:
        """Requested against achieved, and what else moved; without audio and vectors."""
        return {
            "text": self.text,
            "word": self.request.word,
            "requested": dict(self.request.changes),
            "achieved": self.achieved,
            "elsewhere": self.elsewhere,
            "units": dict(UNITS),
            "gains": {name: found.gain for name, found in self.calibrations.items()},
            "reached": {name: found.reached for name, found in self.calibrations.items()},
        }

    @property
    def unmeasured(self) -> list[str]:
        """What was asked for and could not be measured on the word, before or after."""
        return [name for name in self.request.changes if math.isnan(self.achieved[name])]

    @property
    def missed(self) -> list[str]:
        """What was asked for and not reached; the nearest that was found is kept."""
        unmeasured = self.unmeasured
        return [name for name, found in self.calibrations.items() if not found.reached and name not in unmeasured]

    @property
    def largest_unasked(self) -> tuple[str, str, float] | None:
        """What moved most without being asked for: where ("word" or "elsewhere"), the attribute, by how much.

        Changes are compared in steps that a listener about notices (our choice: `NOTICED`); None where none was
        measured.
        """
        moved = [
            (abs(math.log(value) if name == "duration" else value) / NOTICED[name], (where, name, value))
            for where, values in (("word", self.achieved), ("elsewhere", self.elsewhere))
            for name, value in values.items()
            if not math.isnan(value) and (where == "elsewhere" or name not in self.request.changes)
        ]
        return max(moved)[1] if moved else None

    @property
    def rows(self) -> list[list[Any]]:
        """Of each attribute: its name, its unit, what was asked for, achieved, and moved elsewhere; None if unknown."""
        values = without_nan(self.to_dict())
        return [
            [name, unit or "factor", values["requested"].get(name), values["achieved"][name], values["elsewhere"][name]]
            for name, unit in UNITS.items()
        ]

    def plot(self) -> Any:
        """Draw the pitch before and after."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        for speech, label in ((self.before, "before"), (self.after, "after")):
            track = np.exp(frame_measures(speech)["pitch"])
            axes.plot(np.arange(len(track)) * speech.hop / speech.sample_rate, track, ".", markersize=4, label=label)
        title = f"{self.text}  ({self.request.word}: {self.request.description})"
        title = title if can_draw(title) else self.request.description
        axes.set(title=title, xlabel="seconds", ylabel="pitch in Hz")
        axes.legend()
        return figure


def edit_prosody(
    voice: PiperVoice | VitsVoice | OnnxVoice,
    tokens: Tokens,
    request: EditRequest,
    *,
    model: Any = None,
    moves: ProbeMoves | None = None,
    seed: int = 0,
    n_trials: int = 6,
    lowest: float = 60.0,
    highest: float = 400.0,
) -> ProsodyEdit:
    """Change the last encoder layer's vectors of a word until it sounds as asked for.

    The duration comes first, for it moves the rest most, then pitch, energy and tilt one after the other, then what
    these did to the duration is undone. Each is measured against the sentence as it was. An ONNX voice is told its
    durations themselves, and its pitch where it has one of its own; the other tokens keep theirs.

    Parameters
    ----------
    model
        A Piper voice as `to_torch` gives it, the `model` of a `VitsVoice`; needed for durations, but of an ONNX voice.
    moves
        From `fit_moves`; needed for all of `moved_attributes`.
    n_trials
        Times that the voice speaks to find each strength, at most.
    lowest, highest
        Of the voice's pitch, in Hz.

    Raises
    ------
    LookupError
        If the sentence has no such word.
    ValueError
        If `model` or `moves` is needed and not given, the moves are of another layer than the last, or an ONNX voice
        does not tell its durations.
    """
    layer = voice.layers[-1]
    where = select_tokens(tokens, request)
    others = {name: value for name, value in request.changes.items() if name != "duration"}
    moved = moved_attributes(voice, request)
    if moved and (moves is None or moves.layer != layer):
        raise ValueError(
            f"{', '.join(moved)} needs moves of the layer {layer!r}; fit them with load_or_fit_moves of "
            "genmend.tts.prosody.cached_moves."
        )
    is_onnx = isinstance(voice, OnnxVoice)
    if "duration" in request.changes and model is None and not is_onnx:
        raise ValueError(
            "duration needs the voice as a torch model; give model=to_torch(voice), or voice.model of VITS."
        )
    vectors = voice.encode([tokens], [layer])[0][layer]
    before = voice.speak(tokens, seed=seed)
    levels = partial(attribute_levels, where=where, lowest=lowest, highest=highest)
    old = levels(before)
    found: dict[str, Calibration] = {}
    held: dict[str, NDArray[np.float32]] = {}
    if is_onnx:
        frames, found_duration = lengthen(before.frames, where, request.changes.get("duration", 1.0))
        held = {"frames": frames[:, None].astype(np.float32)}
        found |= {"duration": found_duration} if "duration" in request.changes else {}

    def spoken(given: np.ndarray) -> Speech:
        return voice.speak(tokens, {layer: given, **held}, seed=seed)

    def with_duration(given: NDArray[np.float32]) -> NDArray[np.float32]:
        if "duration" not in request.changes or is_onnx:
            return given
        assert not isinstance(voice, OnnxVoice)
        speaker = voice.speaker if model.config.num_speakers > 1 else None
        length = voice.length / model.speaking_rate
        given, found["duration"] = stretch(
            model, given, where, request.changes["duration"], before.frames, length=length, speaker=speaker
        )
        return given

    vectors = with_duration(vectors)
    if "pitch" in others and "pitch" not in moved:

        def change_of_set(given: np.ndarray) -> float:
            speech = voice.speak(tokens, {layer: vectors, **held, "pitch": given}, seed=seed)
            return attribute_change(old[0], levels(speech)[0])["pitch"]

        step = partial(_semitones, where)
        as_it_is = np.zeros((len(tokens), 1), np.float32)
        held["pitch"], found["pitch"] = _calibrate_move(
            change_of_set, step, as_it_is, others["pitch"], "pitch", n_trials
        )
    for name in moved:
        assert moves is not None
        step = partial(moves.move, tokens, vectors, where, name)

        def change(given: np.ndarray, name: str = name) -> float:
            return attribute_change(old[0], levels(spoken(given))[0])[name]

        vectors, found[name] = _calibrate_move(change, step, vectors, others[name], name, n_trials)
    if others:
        vectors = with_duration(vectors)
    after = spoken(vectors)
    achieved, elsewhere = (attribute_change(*pair) for pair in zip(old, levels(after), strict=True))
    return ProsodyEdit(tokens.text, request, achieved, elsewhere, found, {layer: vectors, **held}, before, after)


def moved_attributes(voice: Voice, request: EditRequest) -> list[str]:
    """What of a request is reached by moving vectors, which are learnt: not durations, nor a pitch that is set."""
    is_set = {"duration"} | ({"pitch"} if isinstance(voice, OnnxVoice) and voice.sets_pitch else set())
    return [name for name in request.changes if name not in is_set]


def _semitones(where: np.ndarray, amount: float) -> NDArray[np.float32]:
    """A change of log pitch of the chosen tokens as semitones of each, (n, 1)."""
    return np.asarray(where[:, None] * (amount / SEMITONE), dtype=np.float32)


def _calibrate_move(
    change: Callable[[np.ndarray], float],
    step: Callable[[float], NDArray[np.float32]],
    vectors: NDArray[np.float32],
    target: float,
    name: str,
    n_trials: int,
) -> tuple[NDArray[np.float32], Calibration]:
    """Move the vectors by as much as brings the measured change nearest to the target."""
    unit = SEMITONE if name == "pitch" else 1.0
    already = change(vectors)
    left = target - already if math.isfinite(already) else target
    move = step(left * unit) - vectors

    def further(gain: float) -> float:
        return change(vectors + np.float32(gain) * move) - (target - left)

    if abs(left) <= TOLERANCE[name]:
        found = Calibration(left, TOLERANCE[name], 0.0, 0.0, ())
    else:
        found = calibrate(further, left, tolerance=TOLERANCE[name], n_trials=n_trials)
    if not abs(found.achieved - left) < abs(left):
        # The answer went the other way (a pitch track that is an octave off does that): rather nothing than harm.
        found = replace(found, gain=0.0, achieved=0.0)
    return vectors + np.float32(found.gain) * move, found


def stretch(
    model: Any,
    vectors: np.ndarray,
    where: np.ndarray,
    factor: float,
    frames: np.ndarray | None,
    *,
    length: float = 1.0,
    speaker: int | None = None,
) -> tuple[NDArray[np.float32], Calibration]:
    """Make the chosen tokens last `factor` times their `frames`, by gradient through the model's duration predictor.

    The predictor's numbers are rounded up for each token; the strength is calibrated on whole frames.

    Parameters
    ----------
    vectors
        (n, d) of the last layer.
    frames
        (n,) how long each token lasted.
    length
        The voice's slowness.

    Returns
    -------
    vectors : ndarray
        (n, d) float32.
    calibration : Calibration
        Its target and what it achieved are the factor minus 1.
    """
    if frames is None:
        raise ValueError("The speech has no frames of its tokens; only a voice with durations can be stretched.")
    rows = torch.from_numpy(np.asarray(where, dtype=bool))
    whole = float(frames[where].sum())
    # Rounding up adds half a frame to each token on average.
    smooth = max(whole * factor - 0.5 * float(where.sum()), 1.0)
    edit = edit_through(
        lambda given: log_durations(model, given, speaker) + np.log(length),
        vectors,
        where,
        float(np.log(smooth)),
        summary=lambda values: values.exp().sum().log(),
        keep=10.0,
    )

    def at(gain: float) -> NDArray[np.float32]:
        return np.asarray(vectors + np.float32(gain) * (edit.vectors - vectors), dtype=np.float32)

    def change(gain: float) -> float:
        with torch.no_grad():
            logs = log_durations(model, torch.from_numpy(at(gain)), speaker)
        return float((logs.exp() * length).ceil()[rows].sum()) / whole - 1

    found = calibrate(change, factor - 1, tolerance=0.5 / whole, n_trials=12, largest=3.0)
    return at(found.gain), found


def lengthen(
    frames: NDArray[np.int64] | None, where: np.ndarray, factor: float
) -> tuple[NDArray[np.int64], Calibration]:
    """Give the chosen tokens `factor` times their frames, whole ones, and at least 1 to those that have any.

    Returns
    -------
    frames : ndarray
        (n,) of all tokens.
    calibration : Calibration
        Its target and what it achieved are the factor minus 1.
    """
    if frames is None:
        raise ValueError("The speech has no frames of its tokens; only a voice with durations can be edited.")
    own = frames[where]
    new = frames.copy()
    new[where] = np.maximum(np.diff(np.round(np.cumsum(own * factor)), prepend=0), np.minimum(own, 1))
    achieved = float(new[where].sum() / own.sum()) - 1
    return new, Calibration(factor - 1, 0.5 / float(own.sum()), 1.0, achieved, ((1.0, achieved),))


def attribute_levels(
    speech: Speech, where: np.ndarray, *, lowest: float = 60.0, highest: float = 400.0
) -> list[dict[str, float]]:
    """Measure how long, high, loud and dark the chosen tokens (n,) are, and the others; NaN where it cannot be told.

    Returns
    -------
    list of dict
        Of the chosen ones and of the others: duration in frames, pitch as median log Hz, energy and tilt as mean dB.
    """
    if speech.frames is None:
        raise ValueError("The speech has no frames of its tokens; give that of a voice with durations.")
    measures = frame_measures(speech, lowest=lowest, highest=highest)
    levels = []
    for tokens in (where, ~where):
        inside = np.repeat(tokens, speech.frames)[: len(measures["pitch"])]
        kept = {name: values[: len(inside)][inside] for name, values in measures.items()}
        means = {name: float(kept[name].mean()) if inside.any() else float("nan") for name in ("energy", "tilt")}
        levels.append({"duration": float(speech.frames[tokens].sum()), "pitch": median_pitch(kept["pitch"]), **means})
    return levels


def attribute_change(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Compare two of `attribute_levels`: duration as a factor, pitch in semitones, energy and tilt in dB."""
    return {
        "duration": after["duration"] / before["duration"] if before["duration"] else float("nan"),
        "pitch": (after["pitch"] - before["pitch"]) / SEMITONE,
        "energy": after["energy"] - before["energy"],
        "tilt": after["tilt"] - before["tilt"],
    }
