"""Is what is mended plausible, is it still the same face, and are the mended as diverse as clean samples are?

    python -m experiments.faces.plausible
    python -m experiments.faces.plausible --sheets FOLDER     draws sheets for blind ratings of the faces, no more

Each consensus artifact of the labelled faces, and each clear artifact of the portraits, is mended by the ladder, by
contrast descent (the default of `genmend correct`), and by controls: without labels, and without the gate, so that
every method has its try. Judges that steered nothing say what is still flagged (at 5 % false alarms on labelled
normals) and what is plausible (below the score that as many samples are below as the raters call normal); each sample
is judged by what was trained on the labels of the other folds. Writes results/plausible/: results.json, mended.png.
Blind ratings of the same faces stand in experiments/data/plausible_ratings.csv. Needs the weights `faces`, `portraits`,
`efficientnet-lite0`, `mobilenet-v2` and `clip-vit-b16`. About eight minutes on two free cores; interrupted, it goes on
from what its cache holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from experiments.faces.feature_cache import CachedExtractor
from experiments.faces.labelled import LabelledFaces, load_labelled_faces, load_labelled_portraits
from experiments.faces.plausibility.judged import judged_rows, spread
from experiments.faces.plausibility.mended import Mended, dial, mended_samples
from experiments.faces.plausibility.rating_sheets import draw_sheets, load_ratings, rating_rows
from experiments.pages import write_page
from genmend.gans import ArtifactDetector, Generator, fit_correction, load_detector, save_detector
from genmend.gans.families.pretrained import load_faces, load_portraits
from genmend.manifold.figures.image_grid import image_grid

RESULTS = Path(__file__).with_name("results") / "plausible"
STEERING = "efficientnet-lite0-layers"
RATED = ("uncorrected", "ladder", "contrast descent", "nearest normal sample")
# Set -> judge -> what it looks at; None: everything. CLIP costs half a second an image.
CLIP, FAST = "clip-vit-b16", "mobilenet-v2"
JUDGES = {"faces": {CLIP: (*RATED, "random turn of the same angle"), FAST: None}, "portraits": {FAST: None}}
N_SHOWN = 16
N_REFERENCE = 2_000


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    loaders = {"faces": (load_labelled_faces, load_faces), "portraits": (load_labelled_portraits, load_portraits)}
    for name in options.sets:
        load_samples, load_generator = loaders[name]
        samples, generator = load_samples(), load_generator()
        judges = {judge: seen for judge, seen in JUDGES[name].items() if judge in options.judges}
        if not judges:
            continue
        wanted = RATED if options.sheets else None if None in judges.values() else judges[CLIP]
        methods = _mended(samples, generator, wanted, options)
        if options.sheets or name == "faces":
            strips = {method: methods[method].images for method in RATED}
            (options.out / "mended.png").write_bytes(image_grid([images[:N_SHOWN] for images in strips.values()]))
        if options.sheets:
            draw_sheets(strips, options.sheets, options.seed)
            return
        judged = _judged(judges, methods, samples, generator, options)
        print(json.dumps(judged, indent=1), flush=True)
        facts = {"n": int(samples.artifact.sum()), "normal_share": float(np.mean(samples.normal))}
        _keep(options.out, {name: facts | {"judges": judged}})
    _keep(options.out, {"ratings": rating_rows(load_ratings(), options.seed)})
    if options.out == RESULTS:
        write_page("faces/plausible")


def _keep(folder: Path, results: dict) -> None:
    """Put these in the place of what earlier runs found of the same; of a set the judges that were asked."""
    path = folder / "results.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    for name, found in results.items():
        if name in JUDGES and name in kept:
            found["judges"] = kept[name]["judges"] | found["judges"]
        kept[name] = found
    path.write_text(json.dumps(kept, indent=1))


def _mended(
    samples: LabelledFaces, generator: Generator, wanted: tuple[str, ...] | None, options: argparse.Namespace
) -> dict[str, Mended]:
    """What every wanted method makes of the broken samples; where None also what every target of the descent does."""
    extractor = CachedExtractor(STEERING, options.cache)
    file = options.cache / f"{generator.name}.detector.safetensors"
    if file.is_file():
        detector = load_detector(file)
    else:
        detector = ArtifactDetector(STEERING, n_reference=N_REFERENCE).fit(generator)
        save_detector(file, detector)
    correction = fit_correction(generator, detector)
    broken = samples.latents[samples.artifact]
    made = mended_samples(generator, detector, correction, extractor, broken, options.seed)
    mended = {name: make() for name, make in made.items() if wanted is None or name in wanted}
    if wanted is None:
        mended |= dict(dial(generator, detector, correction, broken))
    extractor.save()
    return mended


def _judged(
    judges: Mapping[str, tuple[str, ...] | None],
    mended: Mapping[str, Mended],
    samples: LabelledFaces,
    generator: Generator,
    options: argparse.Namespace,
) -> dict:
    labelled = generator.generate(samples.latents)
    steering = CachedExtractor(STEERING, options.cache)
    clean = spread(steering(labelled[torch.from_numpy(samples.normal)]).numpy())
    diversity = {method: spread(steering(done.images).numpy()) / clean for method, done in mended.items()}
    steering.save()
    found = {}
    for judge, wanted in judges.items():
        extractor = CachedExtractor(judge, options.cache, save_every=64)
        features = extractor(labelled).numpy()
        seen = {method: done for method, done in mended.items() if wanted is None or method in wanted}
        found[judge] = judged_rows(seen, samples, features, extractor, options.seed, diversity)
        extractor.save()
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache")
    parser.add_argument("--sets", nargs="+", choices=tuple(JUDGES), default=list(JUDGES))
    parser.add_argument("--judges", nargs="+", choices=(CLIP, FAST), default=[CLIP, FAST])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheets", type=Path, help="a folder: draw sheets for blind ratings there, and stop")
    return parser.parse_args()


if __name__ == "__main__":
    main()
