"""Feed damaged files to our own parsers: each is read, or refused by an error of the kinds that we promise.

``python tests/reliability/fuzz_parsers.py --seconds 600`` works on each parser for that long and prints one row for
each. It begins with whole files (tests/old_files/data and small ones made here), and damages them at random: bits and
bytes changed, runs removed, repeated or swapped, numbers replaced by awkward ones, values of JSON replaced. A file that
brought up anything but an accepted error, took more than five seconds of the processor, or left 300 MB behind, is kept
in tests/reliability/corpus/PARSER, where ``test_corpus.py`` tries it again for ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kept_counts import keep

CORPUS, OLD = Path(__file__).with_name("corpus"), Path(__file__).parents[1] / "old_files" / "data"
ACCEPTED = (ValueError, LookupError, OSError)  # a sentence and exit code 2 on the command line
SLOW, LEFT = 5.0, 300e6
AWKWARD = [
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"9" * 400,
    b"[[[[[[[[",
    b"\x00",
    b"\xff",
]
JSON_VALUES = [None, [], {}, "", "x" * 5000, True, -1, 0, 2**80, 1e308, -0.5, "NaN", ["a"], {"a": 1}, [[[]]]]

Parser = Callable[[Path], Any]


def parsers() -> dict[str, tuple[Parser, list[Path], str]]:
    """Name -> (reads one file, whole files, name the file has to have)."""
    import numpy as np
    import torch
    from torch import nn

    from genmend.activations import load_correction
    from genmend.concepts import Region
    from genmend.concepts.regions.region_file import load_region, save_region
    from genmend.gans import Generator
    from genmend.gans.conversion.child import read_arrays
    from genmend.gans.conversion.folder import load_converted
    from genmend.gans.detection.detect import load_latents
    from genmend.gans.detection.detector_file import load_detector
    from genmend.gans.detection.labelled_samples import load_labelled
    from genmend.gans.rare.density_file import load_density
    from genmend.manifold.features import load_extractor
    from genmend.manifold.features.feature_arrays import read_features
    from genmend.manifold.regions.normal_region_file import load_normal_region
    from genmend.storage.hub.kinds import describe
    from genmend.storage.hub.shelf import read_index, write_shelf
    from genmend.tts.mending.combination_file import load_repairs
    from genmend.tts.mending.reference_file import load_reference
    from genmend.tts.prosody.edit_requests import parse_edit
    from genmend.tts.prosody.probe_moves import ProbeMoves
    from genmend.tts.text.corpus import read_sentences
    from genmend.tts.voices.piper import read_config

    sys.path.insert(0, str(OLD.parent))
    import old_toys

    voice = old_toys.toy_voice()
    load_extractor("old_toys:toy_extractor")  # which the old detectors name, and which is trusted by that
    whole = Path(tempfile.mkdtemp())
    np.save(whole / "latents.npy", np.zeros((4, 3), np.float32))
    np.savez(whole / "features.npz", features=np.zeros((4, 3), np.float32))
    (whole / "features.csv").write_text("index,f0,f1\n0,0.5,-1e-3\n1,2,3\n")
    rows = ("index,rater_a,rater_b,x0,y0,x1,y1", "0,0,0,,,,", "1,2,2,0,0,2,2", "2,2,2,,,,", "3,0,0,,,,")
    (whole / "labels.csv").write_text("\n".join(rows) + "\n")
    state = {"w": torch.zeros(2, 3), "n": np.float64(1.5), "deep": {"list": [torch.ones(2, dtype=torch.int64)]}}
    torch.save(state, whole / "zip.pth")
    torch.save(state, whole / "legacy.pth", _use_new_zipfile_serialization=False)
    (whole / "array.pkl").write_bytes(pickle.dumps({"w": np.zeros((2, 3), np.float32), "s": {1, 2}}))
    rule = Region("act", (0, 2), (True, False), 1, (0.5, 0.0))
    save_region(whole / "region.safetensors", rule & ~rule)
    write_shelf(whole / "region.safetensors", whole / "shelf", source="x", licence="mit")
    (whole / "edit.txt").write_text("home#2:duration=1.5,pitch=+2st")
    (whole / "sentences.tsv").write_text("One sentence.\twˈʌn sˈɛntəns.\nTwo.\n")
    config = {
        "audio": {"sample_rate": 22050},
        "espeak": {"voice": "en-us"},
        "num_speakers": 2,
        "speaker_id_map": {"ann": 1},
        "phoneme_map": {"a": ["b"]},
        "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [3]},
    }
    (whole / "voice.onnx.json").write_text(json.dumps(config))
    module = nn.Sequential(nn.Linear(3, 48), nn.Unflatten(1, (3, 4, 4))).eval()
    generator = Generator(module, (3,), layers=("0",))

    def labels(path: Path) -> Any:
        np.save(path.with_name("latents.npy"), np.zeros((4, 3), np.float32))
        return load_labelled(path.parent, generator)

    def converted(family: str) -> tuple[Parser, list[Path], str]:
        folder = OLD / "generators" / family

        def parse(path: Path) -> Any:
            shutil.copy(folder / "generator.safetensors", path.parent)
            return load_converted(path.parent)

        return parse, [folder / "generator.json"], "generator.json"

    def reference(path: Path) -> Any:
        for regions in (OLD / "voices" / "reference").glob("*.safetensors"):
            shutil.copy(regions, path.parent)
        return load_reference(path.parent, voice)

    def old(folder: str, ending: str) -> list[Path]:
        found = sorted((OLD / folder).rglob(f"*{ending}"))
        if not found:
            raise SystemExit(f"tests/old_files/data/{folder} has no *{ending} to begin with")
        return found

    return {
        "correction": (load_correction, old("corrections", ".safetensors"), "a.safetensors"),
        "amplification": (load_correction, old("amplifications", ".safetensors"), "a.safetensors"),
        "detector": (load_detector, old("detectors", ".safetensors"), "a.safetensors"),
        "density": (load_density, old("densities", ".safetensors"), "a.safetensors"),
        "normal region": (load_normal_region, old("regions", ".safetensors"), "a.safetensors"),
        "region": (load_region, [whole / "region.safetensors"], "a.safetensors"),
        "genmend.json": (lambda path: read_index(path, "x"), [whole / "shelf" / "genmend.json"], "genmend.json"),
        "what a file says": (
            describe,
            [whole / "region.safetensors", OLD / "voices" / "repairs.safetensors"]
            + [
                path
                for kind in ("corrections", "amplifications", "detectors", "regions")
                for path in old(kind, ".safetensors")
            ],
            "a.safetensors",
        ),
        **{f"generator.json of {family}": converted(family) for family in ("dcgan", "nvidia", "biggan")},
        "checkpoint": (read_arrays, [whole / name for name in ("zip.pth", "legacy.pth", "array.pkl")], "a.pth"),
        "latents .npy": (lambda path: load_latents(path, generator), [whole / "latents.npy"], "a.npy"),
        "features .npz": (read_features, [whole / "features.npz"], "a.npz"),
        "labels.csv": (labels, [whole / "labels.csv"], "labels.csv"),
        "voice .onnx.json": (
            lambda path: read_config(path.with_name("voice.onnx")),
            [whole / "voice.onnx.json"],
            "voice.onnx.json",
        ),
        "voice reference": (reference, [OLD / "voices" / "reference" / "reference.json"], "reference.json"),
        "voice repairs": (
            lambda path: load_repairs(path, voice),
            [OLD / "voices" / "repairs.safetensors"],
            "a.safetensors",
        ),
        "voice moves": (ProbeMoves.load, [OLD / "voices" / "moves.safetensors"], "a.safetensors"),
        "features .csv": (read_features, [whole / "features.csv"], "a.csv"),
        "sentences": (read_sentences, [whole / "sentences.tsv"], "a.tsv"),
        "edit": (lambda path: parse_edit(path.read_text("utf-8", "replace")), [whole / "edit.txt"], "a.txt"),
    }


def damage(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """One damaged copy."""
    if rng.random() < 0.35:
        replaced = _replace_json(content, rng)
        if replaced is not None:
            return replaced
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 4, 8, 64))
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 100))
        elif kind == 4:
            data[at : at + rng.choice((0, 1, 4))] = rng.choice(AWKWARD)
        elif kind == 5:
            data = data[:at]
        else:
            data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)


def _replace_json(content: bytes, rng: random.Random) -> bytes | None:
    """The JSON in a file with one of its values replaced; the header's length is made right where it has one."""
    begins = content[8:9] == b"{" and len(content) > 8
    try:
        length = int.from_bytes(content[:8], "little") if begins else len(content)
        tree = json.loads(content[8 * begins : 8 * begins + length])
    except (ValueError, RecursionError):
        return None
    texts = []  # JSON within JSON, as the metadata of a container has it

    def places(node: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
            if isinstance(value, str) and value[:1] == "{":
                inner = json.loads(value)
                texts.append((node, key, inner))
                places(inner, found)
            found.append((node, key))
            places(value, found)
        return found

    try:
        node, key = rng.choice(places(tree, []))
    except (ValueError, IndexError):
        return None
    if isinstance(node, dict) and rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(JSON_VALUES)
    for outer, name, inner in texts:
        if name in outer if isinstance(outer, dict) else name < len(outer):
            outer[name] = json.dumps(inner)
    header = json.dumps(tree).encode()
    if not begins:
        return header
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def complaint(parser: Parser, content: bytes, name: str) -> str:
    """What is wrong with how the parser takes a file; empty where it is read or refused as promised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        before, began = memory(), time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parser(path)
        except ACCEPTED as error:
            if not str(error):
                return f"{type(error).__name__} without a word"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        if time.process_time() - began > SLOW:
            return f"took {time.process_time() - began:.0f} s"
        if memory() - before > LEFT:
            return f"left {(memory() - before) / 1e6:.0f} MB behind"
    return ""


def memory() -> int:
    """Bytes in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fuzz(name: str, parser: Parser, seeds: list[bytes], called: str, seconds: float, seed: int) -> tuple[int, dict]:
    """Damage the files for so long; how many were tried, and complaint -> one file for each."""
    rng, tried, found = random.Random(f"{seed}-{name}"), 0, {}
    end = time.monotonic() + seconds
    pool = list(seeds)
    while time.monotonic() < end:
        content = damage(rng.choice(pool), rng.choice(pool), rng)
        tried += 1
        wrong = complaint(parser, content, called)
        kind = wrong.split(":")[0]
        if wrong and kind not in found:
            found[kind] = content, wrong
        if not wrong and rng.random() < 0.02 and len(pool) < 300:
            pool.append(content)  # damage of damage
    return tried, found


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--seconds", type=float, default=600, help="on each parser")
    given.add_argument("--only", nargs="*", default=[])
    given.add_argument("--seed", type=int, default=0)
    given.add_argument(
        "--save", action="store_true", help="keep the counts, and write the table of docs/reliability.md"
    )
    chosen = given.parse_args()
    failed = 0
    for name, (parser, files, called) in parsers().items():
        if chosen.only and name not in chosen.only:
            continue
        seeds = [file.read_bytes() for file in files]
        for file, content in zip(files, seeds, strict=True):
            wrong = complaint(parser, content, called)
            if wrong:
                print(f"{name}: the whole file {file.name} is not read: {wrong}", file=sys.stderr)
        tried, found = fuzz(name, parser, seeds, called, chosen.seconds, chosen.seed)
        for content, _ in found.values():
            kept = CORPUS / name.replace(" ", "_") / hashlib.sha256(content).hexdigest()[:16]
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(content)
        failed += len(found)
        complaints = [wrong for _, wrong in found.values()]
        print(f"{name} | {tried} | {'; '.join(complaints) or 'none'}", flush=True)
        if chosen.save:
            keep("fuzz", name, {"tried": tried, "seconds": chosen.seconds, "complaints": complaints})
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
