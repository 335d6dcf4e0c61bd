"""Voices that are ONNX graphs which read tokens: Kokoro, hibari, exports of Matcha, VITS and MMS, or described ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from genmend.tts.text.characters import CharacterReader
from genmend.tts.text.ipa import IpaReader
from genmend.tts.text.kana import KanaReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens, group_by_length, pad_ids
from genmend.tts.voices.onnx.beside import check_numbers
from genmend.tts.voices.onnx.description import Description, describe
from genmend.tts.voices.onnx.edited_layers import find_deltas, vectors_of
from genmend.tts.voices.onnx.encoders import Encoders
from genmend.tts.voices.onnx.graph import (
    VoiceFileError,
    expose_layers,
    graph_ends,
    lay_open,
    let_be_edited,
    n_embedded,
    open_graph,
    read_onnx,
    seed_randomness,
    upstream_part,
)
from genmend.tts.voices.onnx.speakers import choose_number, choose_style
from genmend.tts.voices.onnx.waveforms import audio_of_mel, audio_of_spectra
from genmend.tts.voices.options import OnnxOptions, check_options, check_scales
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["OnnxVoice"]

_LARGEST_STEP = 36.0  # semitones: three octaves
_MEL_HOP = 256  # where a voice of mel spectrograms does not say it


class OnnxVoice(Voice):
    """A voice that is an ONNX graph, with its description: where its tokens go in, its layers are, its audio comes out.

    Parameters
    ----------
    path
        The .onnx file. Its description is NAME.onnx.json or NAME.json beside it, sherpa-onnx' metadata with tokens.txt,
        or, for Kokoro and hibari, nothing.
    noise, duration_noise
        Standard deviations of its randomness, at least 0, where its graph takes them.
    length
        Slowness, above 0: 1 is the voice's own.
    speaker
        Name or number, of voices with several; of Kokoro a voice's name, or the file of one; the first if None.
    language
        That it reads, of voices that know several; "ja" reads kana.
    name
        What it is called; the file's name by default.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    VoiceFileError
        If it is damaged, too little is known of it, or its files do not go together.
    ValueError
        For a speaker or a language that it does not have.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        noise: float = 0.0,
        duration_noise: float = 0.0,
        length: float = 1.0,
        speaker: int | str | None = None,
        language: str | None = None,
        name: str = "",
    ) -> None:
        self.path = Path(path)
        self.model = read_onnx(self.path)
        self.description = known = describe(self.path, self.model)
        self.name = name or known.name
        self.sample_rate = known.sample_rate
        self.noise, self.duration_noise, self.length = _scales(known, noise, duration_noise, length)
        self._tensors = {layer: tensor for layer, (tensor, _) in (known.layers or {}).items()}
        self._axes = {layer: axes for layer, (_, axes) in (known.layers or {}).items()}
        self.layers = tuple(self._tensors)
        self._tokens = known.input_of("tokens") or ""
        symbols = {symbol: max(ids, default=0) for symbol, ids in known.symbols.items()}
        check_numbers(f"The table of symbols of {self.path}", symbols, n_embedded(self.model, self._tokens))
        style = known.input_of("style")
        self.speaker = 0 if style else choose_number(known, speaker)
        self.speaker_name = ""
        self._style: np.ndarray | None = None
        if style:
            self.speaker_name, self._style = choose_style(known, speaker, self._size_of(style))
        self.language = language or known.language
        self._read = _reader(known, self.name, self.language)
        self.variant = f"{self.speaker_name} {self.language}".strip() if self._style is not None else ""
        frames, pitch = ([tensor] if tensor else [] for tensor in (known.frames, known.pitch))
        self._exposed = expose_layers(self.model, self._tensors, [*known.output[1], *frames, *pitch])
        if known.frames and known.frames_unit == "frames":
            let_be_edited(self._exposed, known.frames, "frames")
        self._made = list(known.output[1])  # the tensors that the audio is made of
        if self.sets_pitch:
            edited = let_be_edited(self._exposed, str(known.pitch), "pitch")
            if known.pitch in self._made:
                self._made[self._made.index(str(known.pitch))] = edited
                lay_open(self._exposed, [edited])
        self._session = open_graph(self._exposed, self.path)
        self._vocoder = None if known.vocoder is None else open_graph(read_onnx(known.vocoder), known.vocoder)
        self._encoders = Encoders(self.model, self._tensors, self.path)
        self._alone = known.batch == 1 or not _encodes_batches(self.model, known)

    @classmethod
    def fetched(cls, voice: str, **options: Unpack[OnnxOptions]) -> OnnxVoice:
        """Load a voice that ``genmend fetch`` has got: hibari or kokoro.

        Raises
        ------
        MissingWeightsError
            If it is not on this machine.
        TypeError
            For another option.
        """
        check_options("OnnxVoice", options, OnnxOptions)
        from genmend.storage.weights import find_weights

        named: OnnxOptions = {"name": voice, **options}
        return cls(find_weights(voice), **named)

    def encode(self, batch: Sequence[Tokens], layers: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Encode as `Voice.encode` says; one by one where the graph takes no lengths, or computes in 8 bits."""
        asked = self.check_layers(layers)
        vectors: list[dict[str, np.ndarray]] = [{} for _ in batch]
        if not batch or not asked:
            return vectors
        encoder = self._encoders.up_to(asked)
        takes = {given.name for given in encoder.get_inputs()}
        for rows in [[i] for i in range(len(batch))] if self._alone else group_by_length(batch):
            feeds = self._feeds([batch[i] for i in rows])
            outputs = encoder.run([self._tensors[layer] for layer in asked], {k: feeds[k] for k in takes})
            for layer, output in zip(asked, outputs, strict=True):
                for i, found in zip(rows, self._rows(layer, output, len(rows), feeds[self._tokens]), strict=True):
                    vectors[i][layer] = np.ascontiguousarray(found[: len(batch[i])])
        return vectors

    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; `Speech.frames` are the model's own durations, where it tells them.

        Beside layers, `vectors` may hold "frames", (n, 1) whole numbers from 0: how long each token lasts, in the place
        of what the model finds; and, where `sets_pitch`, "pitch", (n, 1): how many semitones higher each is said.

        A voice whose graph draws its noise itself is opened anew for each sentence with noise (about a second).
        """
        if seed < 0:
            raise ValueError(f"seed is {seed}, but a number of at least 0 is needed; choose another.")
        known, kind = self.description, self.description.output[0]
        feeds = self._feeds([tokens])
        asked = dict(vectors or {})
        wanted = None if "frames" not in asked else self._checked_frames(tokens, asked.pop("frames"))
        higher = None if "pitch" not in asked else self._checked_pitch(tokens, asked.pop("pitch"))
        self.check_layers(tuple(asked))
        feeds |= find_deltas(
            tokens,
            asked,
            self.layers,
            self._axes,
            lambda layer, deltas: self._session.run([self._tensors[layer]], {**feeds, **deltas})[0],
        )
        if wanted is not None:
            own = self._opened(seed).run([known.frames], feeds)[0]
            feeds["delta.frames"] = (wanted.reshape(own.shape) - own).astype(own.dtype)
        if higher is not None and higher.any():
            feeds["delta.pitch"] = self._pitch_delta(higher, wanted, feeds, seed)
        *made, told = self._opened(seed).run([*self._made, known.frames or self._made[0]], feeds)
        hop = known.hop or (_MEL_HOP if kind == "mel" else None)
        audio = np.clip(self._audio(made, hop, seed), -1, 1)  # 8 bits overshoot by some thousandths
        frames = wanted if wanted is not None or known.frames is None else self._whole_frames(told)
        if frames is not None and len(frames) != len(tokens):
            raise VoiceFileError(
                f"{self.path.name}'s tensor {known.frames!r} has {len(frames)} values for {len(tokens)} tokens: "
                "it holds no durations; name another as frames in its .json, or none."
            )
        if hop is None:
            hop = 1 if frames is None or not frames.sum() else round(len(audio) / int(frames.sum()))
        mel = np.asarray(made[0][0], np.float32) if kind == "mel" else None
        return Speech(audio, self.sample_rate, hop, frames=frames, mel=mel)

    def _audio(self, made: Sequence[np.ndarray], hop: int | None, seed: int) -> np.ndarray:
        """The samples of what the graph gave."""
        kind = self.description.output[0]
        if kind == "audio":
            return np.asarray(made[0], np.float32).reshape(-1)
        if kind == "mel":
            return audio_of_mel(made[0][0], self.sample_rate, hop or _MEL_HOP, self._vocoder)
        harmonic, angle, noise, rest, phase, pitch = (part[0] for part in made)
        generator = np.random.default_rng(seed)
        return audio_of_spectra(harmonic, angle, noise, rest, phase, pitch, self.sample_rate, generator)

    def _whole_frames(self, told: np.ndarray) -> np.ndarray:
        """Durations of tokens in whole frames; rounded so that their sums are, where they are not whole."""
        known, values = self.description, np.asarray(told, np.float64).reshape(-1)
        if known.frames_unit == "log frames":
            values = np.exp(values)
        elif known.frames_unit in ("samples", "seconds"):
            values = values * (self.sample_rate if known.frames_unit == "seconds" else 1) / (known.hop or 1)
        return np.diff(np.round(np.cumsum(values)).astype(np.int64), prepend=0)

    def _opened(self, seed: int) -> Any:
        """A session that draws the noise of this seed: a new one, where any is drawn."""
        seeded = seed_randomness(self._exposed, seed) if self.noise or self.duration_noise else None
        return self._session if seeded is None else open_graph(seeded, self.path)

    def durations(self, batch: Sequence[Tokens], *, seed: int = 0) -> list[np.ndarray] | None:
        """Say durations as `Voice.durations` says, by the part of the graph that decides them."""
        known = self.description
        if known.frames is None or not batch:
            return None if known.frames is None else []
        graph = open_graph(upstream_part(seed_randomness(self.model, seed) or self.model, [known.frames]), self.path)
        takes = {given.name for given in graph.get_inputs()}
        lasting = []
        for tokens in batch:
            feeds = self._feeds([tokens])
            (told,) = graph.run([known.frames], {name: feeds[name] for name in takes})
            lasting.append(self._whole_frames(told))
        return lasting

    def _feeds(self, batch: Sequence[Tokens]) -> dict[str, np.ndarray]:
        """What each input of the graph takes, in its own type and shape."""
        longest = self.description.longest
        for tokens in batch:
            if longest and len(tokens) > longest:
                raise ValueError(
                    f"The sentence has {len(tokens)} symbols, and {self.name} takes {longest} at most: split it at a "
                    "comma, and speak the parts."
                )
        ids, lengths = pad_ids(batch)
        values = {"tokens": ids, "lengths": lengths, "mask": np.ones_like(ids), "length": self.length,
                  "speed": 1 / self.length, "noise": self.noise, "duration_noise": self.duration_noise,
                  "speaker": np.full(len(batch), self.speaker)}  # fmt: skip
        if self._style is not None:
            ends = (self.description.begin is not None) + (self.description.end is not None)
            row = min(max(len(batch[0]) - ends, 1), len(self._style)) - 1
            values["style"] = self._style[row : row + 1]
        feeds = {}
        for given in graph_ends(self.model)[0]:
            kind = self.description.inputs[given.name]
            parts = [values.get(one, one) if isinstance(one, str) else one for one in _listed(kind)]
            feeds[given.name] = _as_input(given, parts if isinstance(kind, list) else parts[0])
        return feeds

    def _rows(self, layer: str, output: np.ndarray, n: int, ids: np.ndarray) -> np.ndarray:
        """A layer's vectors as (sentences, tokens, units); refused where its axes are not what the description says."""
        axes = self._axes[layer]
        rows = vectors_of(output, axes) if output.ndim == 3 else output
        if rows.ndim != 3 or rows.shape[:2] != (n, ids.shape[1]):
            raise VoiceFileError(
                f"{self.path.name} gives the layer {layer!r} in shape {output.shape} for {n} sentences of "
                f"{ids.shape[1]} tokens, which does not fit its axes {axes!r}: correct them in its .json."
            )
        return rows

    @property
    def sets_pitch(self) -> bool:
        """Whether its pitch can be set itself, as its durations can: the graph tells both."""
        return self.description.pitch is not None and self.description.frames is not None

    def _pitch_delta(
        self, higher: np.ndarray, frames: np.ndarray | None, feeds: Mapping[str, np.ndarray], seed: int
    ) -> np.ndarray:
        """What to add to the pitch along time for each token to be said so many semitones higher."""
        known = self.description
        own, told = self._opened(seed).run([known.pitch, known.frames], dict(feeds))
        if frames is None:
            frames = self._whole_frames(told)
        along = np.repeat(higher, frames)
        n = own.shape[-1]
        places = ((np.arange(n) + 0.5) * len(along) / n).astype(np.int64)
        return np.asarray(np.maximum(own, 0) * (2 ** (along[places] / 12) - 1), own.dtype)

    def _checked_pitch(self, tokens: Tokens, given: np.ndarray) -> np.ndarray:
        """Changes of pitch that were asked for: (n,) semitones."""
        if not self.sets_pitch:
            raise LookupError(f"{self.name} tells no pitch of its tokens, so it cannot be set; leave it out.")
        accepted = f"semitones from -{_LARGEST_STEP:g} to {_LARGEST_STEP:g}"
        return _one_each(tokens, given, "pitch has", -_LARGEST_STEP, _LARGEST_STEP, accepted)

    def _checked_frames(self, tokens: Tokens, given: np.ndarray) -> np.ndarray:
        """Durations that were asked for: (n,) whole numbers."""
        if self.description.frames is None or self.description.frames_unit != "frames":
            raise LookupError(
                f"{self.name} tells no whole frames of its tokens, so they cannot be set; leave them out."
            )
        accepted = "whole numbers from 0, at least one above it"
        return np.round(_one_each(tokens, given, "frames have", 0, np.inf, accepted, least_sum=1)).astype(np.int64)

    def _size_of(self, name: str) -> int:
        """The last axis of an input of the graph."""
        given = next(value for value in graph_ends(self.model)[0] if value.name == name)
        return int(given.type.tensor_type.shape.dim[-1].dim_value) or 256


def _one_each(
    tokens: Tokens, given: np.ndarray, name: str, low: float, high: float, accepted: str, least_sum: float = -np.inf
) -> np.ndarray:
    """Numbers that were asked for, one of each token, (n,), checked."""
    values = np.asarray(given, np.float64).reshape(-1)
    within = np.isfinite(values).all() and (values >= low).all() and (values <= high).all()
    if len(values) != len(tokens) or not within or values.sum() < least_sum:
        raise ValueError(
            f"{name} shape {np.shape(given)}, but the sentence has {len(tokens)} tokens; give one of each, (n, 1) "
            f"{accepted}."
        )
    return values


def _reader(known: Description, name: str, language: str | None) -> Reader:
    """What reads text for the voice."""
    table = SymbolTable(name, known.symbols, known.begin, known.end, known.blank, known.blank_outside)
    if known.reads == "characters":
        return CharacterReader(table)
    if known.reads == "kana" or (language == "ja" and known.reads == "ipa"):
        return KanaReader(table)
    replaced = dict(known.replace or {})
    if any(isinstance(value, dict) for value in replaced.values()):
        replaced = replaced.get(language or "", replaced.get("", {}))
    return IpaReader(table, language or "en-us", as_written=known.reads == "phonemes", replaced=replaced)


def _scales(known: Description, noise: float, duration_noise: float, length: float) -> tuple[float, float, float]:
    """Check each, and that the graph takes it: what has no effect is refused."""
    checked = check_scales(noise, duration_noise, length)
    for name, value, usual in zip(("noise", "duration_noise", "length"), checked, (0, 0, 1), strict=True):
        taken = known.input_of(name) or (name == "length" and known.input_of("speed"))
        if value != usual and not taken:
            raise ValueError(f"{name} is {value}, but the graph of {known.name} does not take it; leave it out.")
    return checked


def _encodes_batches(model: Any, known: Description) -> bool:
    """Whether sentences can be padded: the graph takes their lengths, any number of them, and scales none by others."""
    tokens = next(value for value in graph_ends(model)[0] if value.name == known.input_of("tokens"))
    in_8_bits = any(node.op_type.startswith("Dynamic") for node in model.graph.node)
    one = tokens.type.tensor_type.shape.dim[0].dim_value == 1 if tokens.type.tensor_type.shape.dim else False
    return known.input_of("lengths") is not None and known.input_of("style") is None and not in_8_bits and not one


def _listed(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else [kind]


def _as_input(given: Any, value: Any) -> np.ndarray:
    """A value in the type and the number of axes that an input of the graph has."""
    from onnx import helper

    tensor = given.type.tensor_type
    array = np.asarray(value, dtype=helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    axes = len(tensor.shape.dim) if tensor.HasField("shape") else max(array.ndim, 1)
    while array.ndim > axes and array.shape[0] == 1:
        array = array[0]
    return array.reshape((1,) * (axes - array.ndim) + array.shape) if array.ndim < axes else array
