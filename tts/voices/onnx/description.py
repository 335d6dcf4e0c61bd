"""What a voice's graph takes and gives: from the .json beside it, from sherpa-onnx' metadata, and from its kind."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from genmend.tts.voices.onnx.beside import read_beside
from genmend.tts.voices.onnx.graph import VoiceFileError, graph_ends
from genmend.tts.voices.onnx.kinds import KINDS, graph_kind, layout_of
from genmend.tts.voices.onnx.metadata import read_metadata, read_tokens
from genmend.tts.voices.onnx.styles import find_styles

__all__ = ["AXES", "MEANINGS", "READS", "UNITS", "Description", "describe"]

MEANINGS = ("tokens", "lengths", "mask", "style", "speed", "length", "noise", "duration_noise", "speaker")
READS = ("ipa", "characters", "kana", "phonemes")
UNITS = ("frames", "samples", "seconds", "log frames")
AXES = ("bnd", "bdn", "nbd")
_OUTPUTS = ("audio", "mel", "spectra")
_FIELDS = {
    "name", "sample_rate", "inputs", "symbols", "begin", "end", "blank", "blank_outside", "reads", "language",
    "replace", "layers", "frames", "frames_unit", "pitch", "hop", *_OUTPUTS, "vocoder", "styles",
    "style_names", "speakers", "longest", "batch",
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """A voice's graph, described.

    Attributes
    ----------
    inputs : dict
        Name of a graph's input -> one of `MEANINGS`, a list of them for one input of several numbers, or a number.
    symbols : dict
        Symbol -> its numbers.
    begin, end : str or None
        Symbols around every sentence.
    blank : tuple of int
        Numbers between all symbols.
    blank_outside : bool
    reads : str
        One of `READS`.
    language : str or None
    replace : dict
        Symbol -> those in its place, or such a table for each language.
    layers : dict
        Name -> (tensor, one of `AXES`: batch, tokens, units).
    frames : str or None
        Tensor of how long each token lasts.
    frames_unit : str
        One of `UNITS`.
    pitch : str or None
        Tensor of the pitch along time, in Hz, 0 where there is no voice; whatever number of them a frame has.
    hop : int or None
        Samples of a frame; None where they are counted.
    output : tuple
        One of audio, mel and spectra, and the tensors.
    vocoder : Path or None
    styles : Path or None
    style_names : tuple of str
        Of a file of numbers alone.
    speakers : dict
        Name -> number.
    longest : int or None
        Tokens of a sentence at most.
    batch : int or None
        1 where sentences must be encoded one by one.
    """

    name: str
    sample_rate: int
    inputs: Mapping[str, Any]
    symbols: Mapping[str, tuple[int, ...]]
    output: tuple[str, tuple[str, ...]]
    begin: str | None = None
    end: str | None = None
    blank: tuple[int, ...] = ()
    blank_outside: bool = False
    reads: str = "ipa"
    language: str | None = None
    replace: Mapping[str, Any] | None = None
    layers: Mapping[str, tuple[str, str]] | None = None
    frames: str | None = None
    frames_unit: str = "frames"
    pitch: str | None = None
    hop: int | None = None
    vocoder: Path | None = None
    styles: Path | None = None
    style_names: tuple[str, ...] = ()
    speakers: Mapping[str, int] | None = None
    longest: int | None = None
    batch: int | None = None

    def input_of(self, meaning: str) -> str | None:
        """The graph's input of a meaning, alone or among others; None where there is none."""
        held = (name for name, kind in self.inputs.items() if meaning in (kind if isinstance(kind, list) else [kind]))
        return next(held, None)


def describe(path: Path, model: Any) -> Description:
    """Describe a voice's graph by all that is known of it; the .json's own words come first.

    Raises
    ------
    VoiceFileError
        If the .json says something that cannot be, or too little is known; the message says what to add.
    """
    source, own = _read_own(path)
    kind = graph_kind(model)
    if kind == "vocoder":
        raise VoiceFileError(
            f"{path} looks like {KINDS[kind]}: give the voice's own .onnx, and name this as its vocoder."
        )
    found = layout_of(kind, model) | read_metadata(model)
    for table in ("vocab.json", "tokens.txt"):
        if path.with_name(table).is_file():
            found["symbols"] = str(path.with_name(table))
    found |= own
    unknown = sorted(set(found) - _FIELDS)
    if unknown:
        near = get_close_matches(unknown[0], _FIELDS, n=1)
        meant = f" did you mean {near[0]}?" if near else f" accepted are {', '.join(sorted(_FIELDS))}."
        raise VoiceFileError(f"{source} has a field {unknown[0]!r} that no description has:{meant}")
    missing = [field for field in ("inputs", "symbols", "sample_rate") if found.get(field) is None]
    missing += [] if any(found.get(name) for name in _OUTPUTS) else ["audio"]
    if missing:
        raise VoiceFileError(_says_too_little(path, model, kind, missing))
    return _Reader(source, path, model).description(found)


def _read_own(path: Path) -> tuple[Path, dict[str, Any]]:
    """The .json beside a voice, NAME.onnx.json or NAME.json; an empty one where there is none."""
    for source in (path.with_name(path.name + ".json"), path.with_suffix(".json")):
        if not source.is_file():
            continue
        own = read_beside(source)
        if "phoneme_id_map" in own and "inputs" not in own:
            raise VoiceFileError(
                f"{source} is the description of a Piper voice, and {path.name} is not one: the two files do not "
                "belong together; get both again."
            )
        return source, own
    return path, {}


def _says_too_little(path: Path, model: Any, kind: str, missing: list[str]) -> str:
    inputs, outputs = (", ".join(value.name for value in found) or "none" for found in graph_ends(model))
    looks = (
        f"looks like {KINDS[kind]}"
        if kind
        else f"is no kind of voice that genmend knows (it takes {inputs}, gives {outputs})"
    )
    tokens = "tokens.txt of sherpa-onnx beside it, or " if "symbols" in missing and kind else ""
    return (
        f"{path} {looks}, and nothing says its {', '.join(missing)}: put {tokens}a {path.name}.json beside it "
        "that does, as the docs of voices show; accepted without one are Piper voices with their .onnx.json, Kokoro, "
        "hibari, and sherpa-onnx' exports with tokens.txt."
    )


@dataclass(frozen=True)
class _Reader:
    """Reads one field after the other; every error names the file and what it should say."""

    source: Path
    path: Path
    model: Any

    def description(self, found: Mapping[str, Any]) -> Description:
        symbols = self.symbols(found["symbols"], nfd=found.get("reads", "ipa") != "characters")
        begin, symbols = self.edge("begin", found.get("begin"), symbols, "^")
        end, symbols = self.edge("end", found.get("end"), symbols, "$")
        reads = self.one_of("reads", found.get("reads", "ipa"), READS)
        language = found.get("language")
        if reads == "ipa" and not (isinstance(language, str) and re.fullmatch(r"[A-Za-z]{2,}[\w+-]*", language)):
            raise self.wrong("language", language, 'the name of a language of espeak-ng, such as "en-us",')
        output = next(name for name in _OUTPUTS if found.get(name))
        names = found[output] if isinstance(found[output], list) else [found[output]]
        if output == "spectra" and len(names) != 6:
            raise self.wrong("spectra", names, "six outputs (harmonic, angle, noise, rest, phase, pitch)")
        layers = {name: self.layer(name, given) for name, given in dict(found.get("layers") or {}).items()}
        tensors = [
            *names,
            *(tensor for tensor, _ in layers.values()),
            *(found[name] for name in ("frames", "pitch") if found.get(name)),
        ]
        self.check_tensors(tensors)
        styles = self.file("styles", found.get("styles")) or find_styles(self.path.parent)
        inputs = self.inputs(found["inputs"])
        if any(kind == "style" for kind in inputs.values()) and styles is None:
            raise VoiceFileError(
                f"{self.path} takes a style vector, and none is beside it: put a file of them there "
                "(voices*.npz or voices*.bin), or name it in styles of its .json."
            )
        return Description(
            name=str(found.get("name") or self.path.stem),
            sample_rate=self.whole("sample_rate", found["sample_rate"], 1_000, 384_000),
            inputs=inputs,
            symbols=symbols,
            output=(output, tuple(names)),
            begin=begin,
            end=end,
            blank=() if found.get("blank") is None else tuple(self.numbers("blank", found["blank"])),
            blank_outside=bool(found.get("blank_outside")),
            reads=reads,
            language=language,
            replace=found.get("replace") or {},
            layers=layers,
            frames=found.get("frames"),
            frames_unit=self.one_of("frames_unit", found.get("frames_unit", "frames"), UNITS),
            pitch=found.get("pitch"),
            hop=None if found.get("hop") is None else self.whole("hop", found["hop"], 1, 100_000),
            vocoder=self.file("vocoder", found.get("vocoder")),
            styles=styles,
            style_names=tuple(found.get("style_names") or ()),
            speakers=self.speakers(found.get("speakers"), "speaker" in inputs.values()),
            longest=None if found.get("longest") is None else self.whole("longest", found["longest"], 1, 1_000_000),
            batch=None if found.get("batch") is None else self.whole("batch", found["batch"], 1, 1),
        )

    def wrong(self, field: str, value: Any, accepted: str) -> VoiceFileError:
        shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
        return VoiceFileError(f"{self.source} has {field} = {shown}, where {accepted} is needed: correct it there.")

    def one_of(self, field: str, value: Any, accepted: tuple[str, ...]) -> str:
        if value not in accepted:
            raise self.wrong(field, value, f"one of {', '.join(accepted)}")
        return str(value)

    def whole(self, field: str, value: Any, lowest: int, highest: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
            raise self.wrong(field, value, f"a whole number from {lowest} to {highest}")
        if value != int(value):
            raise self.wrong(field, value, f"a whole number from {lowest} to {highest}")
        return int(value)

    def numbers(self, field: str, value: Any) -> list[int]:
        return [self.whole(field, one, 0, 10_000_000) for one in (value if isinstance(value, list) else [value])]

    def file(self, field: str, value: Any) -> Path | None:
        if value is None:
            return None
        found = self.source.parent / str(value)
        if not found.exists():
            raise VoiceFileError(
                f"{self.source} names {value!r} as its {field}, and there is no {found}: put it there."
            )
        return found

    def symbols(self, given: Any, *, nfd: bool) -> dict[str, tuple[int, ...]]:
        """The table, given in full or as a file; symbols of phonemes in the form that the front end has (NFD)."""
        where = self.source
        if isinstance(given, str):
            where = self.file("symbols", given) or where
            given = read_tokens(where)
        if isinstance(given, Mapping) and isinstance(given.get("vocab"), Mapping):
            given = given["vocab"]
        if not isinstance(given, Mapping) or not given:
            raise VoiceFileError(f"{where} has no table of symbols with their numbers in it: get it again.")
        table = {}
        for symbol, number in given.items():
            wholes = number if isinstance(number, list) else [number]
            if not symbol or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in wholes):
                raise VoiceFileError(
                    f"{where} gives the symbol {symbol!r} the number {str(number)[:40]}, where a whole number from 0 "
                    "is needed: get it again."
                )
            table[unicodedata.normalize("NFD", symbol) if nfd else symbol] = tuple(wholes)
        return table

    def edge(
        self, field: str, given: Any, symbols: dict[str, tuple[int, ...]], sign: str
    ) -> tuple[str | None, dict[str, tuple[int, ...]]]:
        """The symbol at an end of every sentence, given itself or as its number; the table with it."""
        if given is None:
            return None, symbols
        if isinstance(given, str):
            if given not in symbols:
                raise self.wrong(field, given, "a symbol of the table")
            return given, symbols
        numbers = tuple(self.numbers(field, given))
        same = next((symbol for symbol, own in symbols.items() if own == numbers), None)
        if same is not None:
            return same, symbols
        while sign in symbols:
            sign += sign[0]
        return sign, {**symbols, sign: numbers}

    def inputs(self, given: Any) -> dict[str, Any]:
        """What each input of the graph takes; all of them must be known, and the tokens among them."""
        if not isinstance(given, Mapping):
            raise self.wrong("inputs", given, "a table of the graph's inputs with what each takes")
        takes = [value.name for value in graph_ends(self.model)[0]]
        for name, kind in given.items():
            if name not in takes:
                raise self.wrong(f"inputs.{name}", kind, f"an input of the graph ({', '.join(takes)})")
            for one in kind if isinstance(kind, list) else [kind]:
                if one not in MEANINGS and (isinstance(one, bool) or not isinstance(one, int | float)):
                    raise self.wrong(f"inputs.{name}", one, f"a number or one of {', '.join(MEANINGS)}")
        left = [name for name in takes if name not in given]
        if left:
            raise self.wrong("inputs", dict(given), f"also what {left[0]!r} takes ({', '.join(MEANINGS)}, or a number)")
        if "tokens" not in given.values():
            raise self.wrong("inputs", dict(given), 'the input that takes the "tokens"')
        return dict(given)

    def layer(self, name: str, given: Any) -> tuple[str, str]:
        tensor, axes = given if isinstance(given, list) and len(given) == 2 else (given, "bdn")
        if not isinstance(tensor, str) or axes not in AXES:
            raise self.wrong(f"layers.{name}", given, f"a tensor, or a tensor and its axes ({', '.join(AXES)}),")
        return tensor, axes

    def check_tensors(self, tensors: list[Any]) -> None:
        known = {name for node in self.model.graph.node for name in node.output}
        for tensor in tensors:
            if tensor not in known:
                near = ", ".join(get_close_matches(str(tensor), known, n=3)) or "none"
                raise VoiceFileError(
                    f"{self.source} names the tensor {tensor!r}, which {self.path.name} does not have; the nearest are "
                    f"{near}: correct it there."
                )

    def speakers(self, given: Any, is_read: bool) -> dict[str, int]:
        """Names with their numbers; a number alone says how many there are."""
        if isinstance(given, Mapping):
            names = {str(name): self.whole(f"speakers.{name}", n, 0, 1_000_000) for name, n in given.items()}
        else:
            n = 1 if given is None else self.whole("speakers", given, 0, 1_000_000)
            names = {str(i): i for i in range(n)}
        if is_read and not names:
            raise VoiceFileError(
                f"{self.source} says that the voice has 0 speakers, but its graph takes one "
                "(the input of speaker): give their number, or their names with numbers, in speakers."
            )
        return names
