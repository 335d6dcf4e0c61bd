"""Every saved format, as written before the modules moved, loads and does what it did (see make_old_files.py)."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import old_toys
import pytest
import torch
from old_toys import EXTRACTOR, numbers, toy_generator, toy_latents

from genmend.activations import Edit, attach, edited, load_correction
from genmend.activations.contract import edit_name, field_names
from genmend.activations.digests import weights_digest
from genmend.diffusion import AmplifyLowFrequencies, SigmaWindow, amplified
from genmend.diffusion.amplification.plug_in import read_amplification
from genmend.diffusion.reference import load_reference as load_pipeline
from genmend.diffusion.reference import networks
from genmend.diffusion.search.trials import make_measure
from genmend.gans import corrected, load_detector
from genmend.gans.boundaries.explore import explore
from genmend.gans.conversion.folder import load_converted, read_options
from genmend.gans.detection.detect import measure_samples
from genmend.gans.detection.labelled_samples import load_labelled
from genmend.gans.dissection.causal_study import causal_study
from genmend.gans.dissection.mask_store import MaskStore
from genmend.gans.dissection.stages import Stages
from genmend.gans.rare import load_density
from genmend.gans.rare.find import fit_space, search_references
from genmend.gans.settings import CausalSettings, DetectorSettings, ExploreSettings, RareSearch, RareSettings
from genmend.manifold import ShardedManifold, open_features
from genmend.manifold.features import ImageExtractor, extract, features_of, load_extractor
from genmend.manifold.features.extractors.clip_vision import _ImageEmbedding
from genmend.manifold.features.extractors.efficientnet_lite import PooledStages
from genmend.manifold.features.feature_arrays import read_features
from genmend.manifold.features.feature_cache import cached_rows, folder_of
from genmend.manifold.regions.normal_region_file import load_normal_region
from genmend.storage import Work, cache_folder
from genmend.storage.digests import settings_key
from genmend.tts import diagnose
from genmend.tts.mending.combination import apply_repairs
from genmend.tts.mending.combination_file import load_repairs
from genmend.tts.mending.reference_file import load_reference, voice_digest
from genmend.tts.prosody.probe_moves import ProbeMoves
from genmend.tts.voices.tacotron import TacotronVoice

DATA = Path(__file__).parent / "data"
# Names of what is computed by convolutions, matrix products or FFTs, whose sums another processor rounds otherwise.
# Everything else, all that is loaded included, has to be the same bits.
CLOSE = "~"
TIGHT = {"rtol": 1e-5, "atol": 5e-5}
RARE = RareSettings(
    DetectorSettings(extractor=EXTRACTOR, rate=0.1, n_statistics=40, n_reference=64, flagged_share=0.05),
    artifact_limit=False,
    search=RareSearch(n_versions=2, n_steps=3, k_reference=5),
)
EXPLORE = ExploreSettings(tolerance=0.1, granularity="unit", n=3, n_moves=5, extractor="")


def flat(value, path=""):
    """Leaves by path: arrays, and plain values that JSON holds; of mappings and sequences also how long they are."""
    if isinstance(value, Edit):
        value = {"type": edit_name(value)} | {name: getattr(value, name) for name in field_names(type(value))}
    if isinstance(value, torch.Tensor):
        value = value.float().numpy() if value.dtype == torch.bfloat16 else value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return {path: np.array(value)}
    if isinstance(value, slice):
        value = [value.start, value.stop]
    if isinstance(value, tuple | list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    leaves = {f"{path}#": len(value)}
    for name, inner in value.items():
        leaves |= flat(inner, f"{path}/{name}")
    return leaves


def in_correction(correction):
    """All of it; of the layout the digest, which loading has compared with the layout."""
    rule = correction.stop_rule
    normal = {} if rule is None else {"normal_features": rule.features, "normal_radii": rule.radii}
    return {
        "ladder": correction.ladder,
        "gate": correction.gate and vars(correction.gate),
        "tensors": normal | correction.tensors,
        "info": correction.facts,
        "weights_digests": correction.weights_digests,
        "digest": correction.layout_digest,
    }


def corrections(folder):
    """Every edit of activations and gans; a ladder that fit_correction made; one that fits any weights."""
    load_extractor(EXTRACTOR)
    generator, z, found = toy_generator(), toy_latents(4), {}
    for path in sorted(folder.glob("*.safetensors")):
        correction = load_correction(path)
        images = []
        for rung, edits in enumerate(correction.ladder):
            with edited(generator.module, *edits):
                images.append(generator.generate(z))
            handle = attach(generator.module, correction, rung=rung)
            assert torch.equal(generator.generate(z), images[-1])
            handle.remove()
        found[path.stem] = in_correction(correction) | {"images": images}
        if path.stem == "ladder":  # its means are no short numbers
            found[path.stem][f"{CLOSE}images"] = [part[:2] for part in found[path.stem].pop("images")]
    done = corrected(generator, load_correction(folder / "ladder.safetensors"))(toy_latents(60))
    chosen = {"rung": done.rung, "given_up": done.given_up, "latents": done.latents}
    return found | {
        "chosen": chosen,
        f"{CLOSE}treated": done.columns(),
        f"{CLOSE}mended": done.images[done.changed][:2],
    }


def amplifications(folder):
    """The edits of diffusion, presets, sigma windows."""
    unet, maps, found = old_toys.toy_unet(), numbers((2, 4, 6, 6), 5), {}
    tokens = maps.flatten(2).transpose(1, 2)
    for path in sorted(folder.glob("*.safetensors")):
        edits, window = read_amplification(unet, path)
        assert window is None or isinstance(window, SigmaWindow)
        given = {"diffusion.amplify_token_update": tokens}
        with amplified(unet, edits=[e for e in edits if edit_name(e) not in given]), torch.no_grad():
            drawn = unet(numbers((2, 4, 8, 8), 6), 5, numbers((2, 3, 4), 7)).sample
        found[path.stem] = in_correction(load_correction(path)) | {
            "window": window and [window.low, window.high],
            f"{CLOSE}maps": [edit.apply(given.get(edit_name(edit), maps)) for edit in edits],
            f"{CLOSE}drawn": drawn,
        }
    return found


def detectors(folder):
    load_extractor(EXTRACTOR)
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        detector = load_detector(path)
        scores = detector.score(toy_generator(), toy_latents(20, 1))
        found[path.stem] = {
            "params": detector.get_params(),
            "loaded": {
                name: getattr(detector, name) for name in ("threshold_", "scale_", "own_features_", "own_counts_")
            },
            "normal": [detector.own_normal_, detector.manifold_.radii_, detector.manifold_.reference_],
            "rare": vars(detector.rare_),
            "supervised": detector.supervised_ and vars(detector.supervised_),
            "flagged": scores.flagged,
            CLOSE: scores.columns() | {"rarity": scores.rarity, "inside": scores.inside},
        }
    return found


def regions(folder):
    """With strings, with integers, and without groups; open and closed balls, cut radii."""
    found, queries = {}, numbers((30, 3), 8, step=1 / 2).numpy()
    for path in sorted(folder.glob("*.safetensors")):
        region = load_normal_region(path)
        names = [*region.groups_, {str: "unknown", int: 99, type(None): None}[type(next(iter(region.groups_)))]]
        groups = None if None in region.groups_ else [names[i % len(names)] for i in range(len(queries))]
        found[path.stem] = {
            "groups": [[group, part] for group, part in region.groups_.items()],
            "loaded": [region.vectors_, region.rows_, region.radii_, region.settings_, list(region.without_reference_)],
            "cut": [manifold.radii_ for manifold in region.manifolds_.values()],
            "contains": region.contains(queries, groups),
            "scores": region.score_samples(queries, groups),
            "nearest": list(vars(region.nearest(queries, groups, n=2)).values()),
            "moved": list(vars(region.move_inside(queries, groups)).values()),
            "refitted": region.refit().radii_,
        }
    return found


def densities(folder):
    features, found = numbers((20, 12), 9), {}
    for path in sorted(folder.glob("*.safetensors")):
        density = load_density(path)
        held = {name: value for name, value in vars(density).items() if name not in ("whitening_", "flow_")}
        found[path.stem] = held | {
            "whitening": vars(density.whitening_),
            "flow": dict(density.flow_.state_dict()) if hasattr(density, "flow_") else {},
            f"{CLOSE}log_prob": density.log_prob(features),
        }
    return found


def generators(folder):
    """A folder of each family."""
    found = {}
    for path in sorted(folder.iterdir()):
        generator = load_converted(path)
        z = numbers((1, *generator.latent_shape), 10)
        found[path.name] = {
            "facts": [generator.name, generator.layers, generator.latent_shape, dict(generator.settings)],
            "options": read_options(path),
            "weights": weights_digest(generator.module),
            f"{CLOSE}images": generator.generate(z),
        }
    return found


def voices(folder):
    """Reference, repairs of combinations, moves along probes, replaced vectors, a Tacotron 2 of our own."""
    voice = old_toys.toy_voice()
    reference = load_reference(folder / "reference", voice)
    sentences = old_toys.toy_sentences(voice, n=6, seed=5)
    repairs = load_repairs(folder / "repairs.safetensors", voice)
    moves = ProbeMoves.load(folder / "moves.safetensors")
    own = TacotronVoice.from_files(folder / "own.safetensors")
    spoken = load_correction(folder / "spoken.safetensors")
    spoken.check(voice.model)
    vectors = numbers((len(sentences[0]), 8), 11).numpy()
    asked = [list(symbol) for symbol in zip(*[sentence.symbols for sentence in sentences], strict=False)][1]
    region = reference.regions["lstm"]
    judged = diagnose(voice, reference, sentences, layer="lstm", n_nearest=2)
    mended = [apply_repairs(voice, reference, sentence, repairs) for sentence in sentences]
    where = np.ones(len(vectors), dtype=bool)
    assert reference.lengths == {}  # measured only later
    return {
        "reference": {name: value for name, value in vars(reference).items() if name not in ("regions", "lengths")},
        "regions": {layer: [r.vectors_, r.rows_, r.radii_] for layer, r in reference.regions.items()},
        "asked": [region.contains(vectors[: len(asked)], asked), region.move_inside(vectors[: len(asked)], asked).rows],
        "states": [list(diagnosis.states) for diagnosis in judged],
        f"{CLOSE}scores": [diagnosis.scores["lstm"] for diagnosis in judged],
        "repairs": [vars(repair) for repair in repairs],
        "positions": [repair.positions(sentence) for repair in repairs for sentence in sentences],
        f"{CLOSE}mended": [repair.vectors for repair in mended],
        "moves": vars(moves),
        "moved": [moves.move(sentences[0], vectors, where, name, 0.5) for name in moves.symbols],
        "own": [voice_digest(own), own.name, own.layers, own.mel.to_dict(), own.mel_mean, own.mel_deviation],
        "transcripts": own.transcripts.read_text(encoding="utf-8"),
        "spoken": in_correction(spoken),
        "replaced": [edit.apply(torch.from_numpy(vectors)[None]) for rung in spoken.ladder for edit in rung],
    }


def features(folder):
    """Arrays that a user brings, and rows in the cache: found there without one call of the extractor."""
    images, extractor = numbers((5, 3, 8, 8), 12).abs(), old_toys.Keyed()
    shutil.copytree(folder / "cache", cache_folder(), dirs_exist_ok=True)
    kept = features_of(images, extractor)
    (rows,) = [path for path in (cache_folder() / "features").iterdir() if path.is_dir()]
    keys = [bytes.fromhex(key) for key in json.loads((folder / "keys.json").read_text())]
    found = cached_rows(rows, keys)
    return {
        "read": {path.name: read_features(path) for path in sorted(folder.glob("array.*"))},
        "opened": {path.name: np.asarray(open_features(path)) for path in sorted((folder / "shards").iterdir())},
        "shards": np.asarray(open_features(folder / "shards")[2:9]),
        "cached": kept.values,
        "calls": extractor.n_calls,
        "extracted": extract(old_toys.toy_features, images),
        "rows": [found[key] for key in keys],
        "place": folder_of("0123456789abcdef" * 4).relative_to(cache_folder()).as_posix(),
    }


def refuse(*given):
    raise AssertionError("What was kept is not computed again.")


def pieces(folder):
    """Pieces of long work, by hand and of a sharded manifold."""
    reference, queries = [numbers((n, 3), n).numpy() for n in (12, 9)], numbers((7, 3), 13).numpy()
    sharded = ShardedManifold(k=2, piece_size=8).fit(reference, folder=folder / "radii")
    scores = sharded.evaluate(queries, folder=folder / "scores")
    return {
        "read": Work(folder / "plain").pieces(refuse, 10, 4, inputs=(queries, "text", 1), description="old"),
        "radii": sharded.radii_,
        "scores": vars(scores),
    }


def checkpoints(folder):
    """What interrupted commands go on from."""
    load_extractor(EXTRACTOR)
    generator, work = toy_generator(), Work(folder / "rare")
    store = MaskStore(generator, "old", old_toys.Colours(), Work(folder / "dissect"))
    stages = Stages(generator, ("widen_act",), 0, Work(folder / "dissect"))
    agreements, n = stages.agreement(store, 48, "iqr", {})
    causal = causal_study(stages, "is red", store, agreements, 48, CausalSettings(n_units=1, n_segmented=40))
    space = fit_space(generator, RARE, work)
    rare = search_references(generator, toy_latents(2, 3), space, RARE, work)
    detector = load_detector(next((folder / "rare").glob("detector-*.safetensors")))
    explored = explore(generator, toy_latents(1), settings=EXPLORE, work=Work(folder / "explore"))
    return {
        "plain": Work(folder / "plain").kept("kept", None, refuse),
        "key": settings_key(asdict(RARE) | {"detector": RARE.detector.facts(), "text": "é"}),
        "masks": store.chunk(0, 48, 0),
        "agreement": [
            n,
            {name: values for name, values in vars(agreements["widen_act"]).items() if values is not None},
        ],
        "causal": [vars(causal.effect), causal.ranking, causal.rows],
        "rare": rare.arrays(),
        "measured": list(measure_samples(generator, detector, toy_latents(6, 2), work)),
        "explored": [[q.query, q.mask, q.latents, q.rotated, q.facts] for q in explored.queries],
    }


def trials(folder):
    """Scores that a search for gains has kept."""
    measure = make_measure(
        old_toys.ToyPipe(), ["a", "b"], {"usable": refuse}, refuse, work=Work(folder), scorers_key="old",
        num_inference_steps=2,
    )  # fmt: skip
    edits = [AmplifyLowFrequencies("mid_block", 2.0, 1, where=torch.ones(2, 2))]
    found = [measure(chosen, [0, 1, 2]) for chosen in ([], edits)]
    return {"scores": [[scores.usability, scores.novelty] for scores in found]}


def labels(folder):
    found = {}
    for name in (None, "masks.npy"):
        samples = load_labelled(folder, toy_generator(), name and folder / name)
        found[str(name)] = vars(samples) | {"digest": samples.digest}
    return found


def packaged(folder):
    """The weights that come with the package, as they are read."""
    names = {"judge": "judge", "guide": "guide", "novelty": "autoencoder"}  # as it was called -> as it is
    loaded = {old: weights_digest(networks.load_network(name)) for old, name in names.items()}
    return loaded | {"voice": voice_digest(TacotronVoice.reference()), "unet": weights_digest(load_pipeline().unet)}


def feature_keys(folder):
    """Names of our classes in the keys of the user's cache: under other names, kept features are not found again."""
    made = [PooledStages(torch.nn.Linear(2, 2)), _ImageEmbedding(torch.nn.Identity())]
    extractors = [ImageExtractor("x", network, 4, (0, 0, 0), (1, 1, 1)) for network in made]
    filled = [old_toys.filled(extractor, 4) for extractor in extractors]
    return {"keys": [[extractor.pipeline()[name] for name in ("network", "weights")] for extractor in filled]}


FORMATS = (corrections, amplifications, detectors, regions, densities, generators, voices, features, pieces,
           checkpoints, trials, labels, packaged, feature_keys)  # fmt: skip


def used(use, folder):
    """What a format gives: arrays to be met closely, and everything else as text, of arrays a digest of their bits."""
    leaves = flat(use(folder))
    close = {name: leaf for name, leaf in leaves.items() if CLOSE in name and np.asarray(leaf).dtype.kind == "f"}
    return close, {name: in_words(leaf) for name, leaf in leaves.items() if name not in close}


def in_words(leaf):
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype} {leaf.shape} {hashlib.sha256(leaf.tobytes()).hexdigest()[:16]}"
    return repr(leaf)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("use", FORMATS, ids=lambda use: use.__name__)
def test_an_old_file_loads_and_does_what_it_did(use, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "user"))
    folder, name = tmp_path / "old", use.__name__
    if (DATA / name).exists():
        shutil.copytree(DATA / name, folder)
    before = stamps(folder)
    close, words = used(use, folder)
    assert stamps(folder) == before  # what was found damaged, or by another key, would have been made anew
    assert words == json.loads((DATA / "expected.json").read_text(encoding="utf-8"))[name]
    with np.load(DATA / "expected.npz", allow_pickle=False) as stored:
        then = {key.partition(":")[2]: stored[key] for key in stored if key.startswith(f"{name}:")}
    assert close.keys() == then.keys()
    for key, values in close.items():
        assert (values.dtype, values.shape) == (then[key].dtype, then[key].shape), key
        np.testing.assert_allclose(values, then[key], **TIGHT, err_msg=key)
