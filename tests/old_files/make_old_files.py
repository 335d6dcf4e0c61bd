"""Writes data/: a file of every saved format, and what it does. Run once, with the code before the modules moved:

cd tests/old_files && PYTHONPATH=../gans python make_old_files.py

It never runs again (its imports are those of commit 7fb5eed): what it wrote is what users of that time have.
"""

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import old_toys
import test_gans_families_others as families
import test_old_files as tests
import torch
from diffusion.plug_in import write_amplification
from gans.sample_edits import ReplaceUnits, ScaleEachSample
from manifold.pieces import in_pieces
from old_toys import EXTRACTOR, SYMBOLS, filled, numbers, toy_generator, toy_latents
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors
from stylegan2_toys import nvidia_state, rosinality_checkpoint
from workbench.checkpoints import checkpointed

from activations import (
    AblateNeurons,
    CapNeurons,
    Correction,
    Gate,
    PullToMean,
    ScaleUnits,
    save_correction,
)
from diffusion import (
    AmplifyBand,
    AmplifyLowFrequencies,
    AmplifyTokenUpdate,
    SigmaWindow,
    enable_amplification,
    measure_of,
    save_amplification,
)
from gans import DCGAN, ArtifactDetector, convert, fit_correction, save_detector
from gans.rare import FlowDensity, GaussianMixtureDensity, save_density
from manifold import NormalRegion, ShardedManifold, save_normal_region
from manifold.features import features_of, load_extractor
from tts import CombinationRepair, ProbeMoves, ReplaceVectors, fit_reference, save_reference, save_repairs

NO_STOP_RULE = {"figures": {"recall": 0.5, "n": 3, "none": None, "words": ["é", "x"]}, "seed": 7}


def bits(shape, seed):
    return numbers(shape, seed) > 0


def corrections(folder):
    load_extractor(EXTRACTOR)
    generator = toy_generator()
    stem, widen = (6, 4, 4), (5, 8, 8)
    ladder = [
        [ScaleUnits("stem_act", (0, 3), 0.5), ScaleUnits("widen_act", [1, 2], numbers((2,), 21), strength=0.75)],
        [AblateNeurons("stem_act", bits(stem, 22)), AblateNeurons("widen_act", bits(widen, 23), False, 0.5)],
        [CapNeurons("stem_act", numbers(stem, 24).abs(), bits(stem, 25), strength=0.25)],
        [PullToMean("stem_act", numbers(stem, 26), strength=0.5), PullToMean("widen_act", numbers(widen, 27))],
        [
            ScaleEachSample("stem_act", numbers((4, 6), 28)),
            ScaleEachSample("widen_act", numbers((4, 5, 8, 1), 29), 0.5),
        ],
        [ReplaceUnits("widen_act", torch.tensor([[0, 3], [1, -1], [4, 2], [-1, -1]]), numbers((4, 2, 8, 8), 30), 0.5)],
        [],
    ]
    extra = {"half": numbers((3, 2), 31).half(), "double": numbers((2,), 32).double(), "whole": torch.arange(4)}
    gate = Gate(EXTRACTOR, numbers((12,), 33).double(), -0.5, 0.25)
    made = Correction.of(generator.module, ladder, gate=gate, tensors=extra, info=NO_STOP_RULE)
    save_correction(folder / "every_edit.safetensors", made)
    made = Correction.of(generator.module, [[ScaleUnits("stem_act", [2], 0)]], preset=True)
    save_correction(folder / "any_weights.safetensors", made)
    detector = ArtifactDetector(EXTRACTOR, n_statistics=200, n_reference=150, seed=5).fit(generator)
    made = fit_correction(generator, detector)
    save_correction(folder / "ladder.safetensors", replace(made, ladder=made.ladder[::3]))


def amplifications(folder):
    unet = old_toys.toy_unet()
    where = numbers((3, 3), 41).abs()
    mid = "mid_block"
    low = [
        AmplifyLowFrequencies(mid, 2.0, 1.5, where=where, keep_energy=True, strength=0.5),
        AmplifyLowFrequencies(mid, 1.5, 0.6, "nyquist", 0.2, mean_gain=1.0, rows="conditional"),
        AmplifyLowFrequencies(mid, 3, 2, rows="unconditional", as_published=True),
    ]
    bands = [AmplifyBand(mid, 2.0, 1, band, seed=3, strength=0.5) for band in ("full", "high", "random", "noise")]
    tokens = [AmplifyTokenUpdate(mid, 1.25, 0.5), AmplifyTokenUpdate(mid, 2.0, 1, 4, 9, 1, "bins", 0.5)]
    write_amplification(folder / "low.safetensors", unet, low, SigmaWindow(0.5, 4.0), info={"share": 0.25})
    write_amplification(folder / "others.safetensors", unet, bands + tokens, SigmaWindow(0.5), any_weights=True)
    enable_amplification(unet, "sdxl-turbo").set(strength=0.5)
    save_amplification(folder / "preset.safetensors", unet, info={"preset": "sdxl-turbo"})


def detectors(folder):
    load_extractor(EXTRACTOR)
    generator = toy_generator()
    detector = ArtifactDetector(EXTRACTOR, n_statistics=60, n_reference=40, seed=3).fit(generator)
    save_detector(folder / "free.safetensors", detector)
    given = detector.measure(generator, torch.cat([toy_latents(20), toy_latents(20, 1) * 2]))
    detector.fit_supervised(*given, np.repeat([0.0, 1.0], 20))
    save_detector(folder / "supervised.safetensors", detector)


def regions(folder):
    vectors = numbers((60, 3), 51, step=1 / 4).numpy()
    names = ["a", "ɐ", "few"]
    strings = [names[min(i % 4, 1)] if i > 2 else names[2] for i in range(60)]
    fitted = NormalRegion(4, quantile=0.9, closed=False, min_size=6).fit(vectors, groups=strings)
    save_normal_region(folder / "strings.safetensors", fitted)
    fitted = NormalRegion(2, block_size=16).fit(vectors.astype(np.float64), groups=[7 - i % 3 for i in range(60)])
    save_normal_region(folder / "integers.safetensors", fitted)
    save_normal_region(folder / "one.safetensors", NormalRegion(3, quantile=0.75).fit(vectors))


def densities(folder):
    features = (numbers((150, 12), 61) + numbers((150, 1), 62) * numbers((1, 12), 63)).numpy()
    small = {"n_transforms": 2, "hidden": (6,), "n_epochs": 3, "max_dims": 3, "seed": 1}
    save_density(folder / "mixture.safetensors", GaussianMixtureDensity((1, 2), max_dims=4).fit(features))
    for kind in ("nsf", "maf"):
        save_density(folder / f"{kind}.safetensors", FlowDensity(kind, **small).fit(features))


def dissection_state():
    state, before = {}, 5
    for number, (after, side) in enumerate([(6, 4), (6, 3), (4, 3), (4, 3), (3, 3), (3, 3)], 1):
        state[f"layer{number}.conv.weight"] = numbers((after, before, side, side), 64 + number)
        state[f"layer{number}.wscale.b"] = numbers((after,), 74 + number)
        before = after
    return state | {"output_16x16.conv.weight": numbers((3, 3, 1, 1), 64), "output_16x16.wscale.b": numbers((3,), 65)}


def generators(folder):
    families.BASE = 4  # smaller still
    families.BLOCKS = [(False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4)]
    states = {
        "dcgan": filled(DCGAN(5, (4, 3)), 68).state_dict(),
        "classes": filled(DCGAN(5, (4, 3), n_classes=3, dropout=0.2), 69).state_dict(),
        "nvidia": nvidia_state(),
        "rosinality": rosinality_checkpoint(nvidia_state()),
        "zoo": families.zoo_state(),
        "dissection": dissection_state(),
        "biggan": families.biggan_state(),
    }
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # the name of the source stands in the file
        for name, state in states.items():
            torch.save(state, f"{name}.pt")
            convert(f"{name}.pt", folder / name, trusted=True, n_classes=3 * (name == "classes"))


def voices(folder):
    voice = old_toys.toy_voice()
    sentences = old_toys.toy_sentences(voice)
    save_reference(folder / "reference", fit_reference(voice, sentences, k=2, most=6), voice)
    tokens = old_toys.toy_sentences(voice, n=6, seed=5)
    repairs = [
        CombinationRepair("lstm", s.ids[a:b], s.symbols[a:b], s.kinds[a:b], at, numbers((8,), 70 + a).numpy())
        for s, a, b, at in ((tokens[0], 0, 4, 2), (tokens[1], 5, 8, 0))
    ]
    save_repairs(folder / "repairs.safetensors", voice, repairs)
    moves = {side: {name: numbers((8,), 75 + i).numpy() for i, name in enumerate(("pitch", "energy"))} for side in "sb"}
    ProbeMoves("lstm", moves["s"], moves["b"]).save(folder / "moves.safetensors")
    edits = [
        ReplaceVectors("encoder", (3, 1), numbers((2, 8), 78), 0.5),
        ReplaceVectors("encoder", [], numbers((0, 8), 0)),
    ]
    save_correction(folder / "spoken.safetensors", Correction.of(voice.model, [edits], info={"text": "ˈsɐ"}))
    # As experiments/voices/train_tacotron.py writes it: weights in half precision.
    state = {
        name: values.half() if values.is_floating_point() else values
        for name, values in voice.model.state_dict().items()
    }
    save_file({name: values.numpy() for name, values in state.items()}, folder / "own.safetensors")
    described = {
        "widths": {"n_symbol": len(SYMBOLS), "decoder_max_step": 8} | old_toys.TACOTRON,
        "mel": old_toys.MEL,
        "symbols": SYMBOLS,
        "mel_mean": -5.5,
        "mel_deviation": 2.0,
    }
    (folder / "own.json").write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")
    (folder / "own.tsv").write_text("a sentence\tˈsɐ ˈdɔ\n", encoding="utf-8")


def features(folder):
    values = numbers((6, 4), 81).numpy()
    np.save(folder / "array.npy", values.astype(np.float16))
    np.savez(folder / "array.npz", features=values.astype(np.float64), other=np.arange(3))
    save_file({"features": values, "labels": np.arange(6)}, folder / "array.safetensors")
    (folder / "shards").mkdir()
    for i in range(2):
        save_tensors({"features": numbers((6, 4), 82 + i).bfloat16()}, folder / "shards" / f"{i}.safetensors")
    os.environ["GENMEND_CACHE"] = str(folder / "cache")
    images = numbers((5, 3, 8, 8), 12).abs()
    features_of(images, old_toys.Keyed())
    (shard,) = (folder / "cache").rglob("*.safetensors")
    (folder / "keys.json").write_text(json.dumps([bytes(key).hex() for key in load_file(shard)["keys"]]))


def pieces(folder):
    reference, queries = [numbers((n, 3), n).numpy() for n in (12, 9)], numbers((7, 3), 13).numpy()
    made = {"rows": np.arange(10), "squares": np.arange(10)[:, None] ** 2.0}
    in_pieces(lambda a, b: {name: values[a:b] for name, values in made.items()}, 10, folder / "plain", 4,
              inputs=(queries, "text", 1), description="old")  # fmt: skip
    sharded = ShardedManifold(k=2, piece_size=8).fit(reference, folder=folder / "radii")
    sharded.evaluate(queries, folder=folder / "scores")


def checkpoints(folder):
    checkpointed(folder / "plain", "kept", True, lambda: {"a": np.arange(3), "b": np.eye(2) > 0})
    tests.refuse, kept = (lambda: None), tests.refuse  # the rest is what the test itself asks for
    tests.checkpoints(folder)
    tests.refuse = kept


def trials(folder):
    pipe = old_toys.ToyPipe()
    type(pipe).__call__, kept = _drawn, type(pipe).__call__
    measure = measure_of(pipe, ["a", "b"], {"usable": lambda x, p: x.mean((1, 2, 3)).numpy()},
                         lambda x, p: np.where(np.arange(len(x)) == 1, np.nan, x.amax((1, 2, 3)).numpy()),
                         cache=folder, scorers_key="old", num_inference_steps=2)  # fmt: skip
    for edits in ([], [AmplifyLowFrequencies("mid_block", 2.0, 1, where=torch.ones(2, 2))]):
        measure(edits, [0, 1, 2])
    type(pipe).__call__ = kept


def _drawn(pipe, prompt, generator, output_type, num_inference_steps):
    noise = numbers((len(prompt), 4, 8, 8), 91)
    images = pipe.unet(noise, 5, numbers((len(prompt), 3, 4), 92)).sample[:, :3]
    return type("Drawn", (), {"images": images})


def labels(folder):
    np.save(folder / "latents.npy", toy_latents(5).numpy())
    np.save(folder / "masks.npy", bits((5, 8, 8), 95).numpy())
    rows = ["index,rater_a,rater_b,x0,y0,x1,y1", "0,0,0,,,,", "1,2,2,1,2,5,7", "2,1,0,,,,", "3,2,2,,,,", "4,0,0,,,,"]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def main():
    arrays, plain = {}, {}
    shutil.rmtree(tests.DATA, ignore_errors=True)
    for use in tests.FORMATS:
        name = use.__name__
        folder = tests.DATA.resolve() / name
        if name in globals():
            folder.mkdir(parents=True)
            globals()[name](folder)
        with tempfile.TemporaryDirectory() as place:
            os.environ["GENMEND_CACHE"] = str(Path(place) / "user")
            if folder.exists():
                shutil.copytree(folder, Path(place) / "old")
            found, plain[name] = tests.used(use, Path(place) / "old")
        arrays |= {f"{name}:{key}": values for key, values in found.items()}
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{name}: {size / 1000:.1f} kB; compared exactly {len(plain[name])}, closely {len(found)}", flush=True)
    np.savez_compressed(tests.DATA / "expected.npz", **arrays)
    text = json.dumps(plain, ensure_ascii=False, indent=0)
    (tests.DATA / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
