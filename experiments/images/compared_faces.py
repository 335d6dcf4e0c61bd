"""Three sets of the face generator on one page: plain, corrected, and truncated.

    python -m experiments.images.compared_faces

What an evaluator of checkpoints sees: the reference is kept in a file, the three sets are scored against it and
compared. The reference is own-normal: unedited samples of other seeds, those that the detector flags left out, so all
is relative to the model's own normal samples, not to photographs. The sets are of the same latents, row by row;
truncated ones are drawn nearer to the mean. MobileNetV2, which had no part in the correction, makes the features.
Writes results/compared_faces/results.json and the page; the images and the report go to a work folder that git ignores.
Needs the weights `faces`, `efficientnet-lite0` and `mobilenet-v2` (genmend fetch).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from experiments.faces.scores import QUERY_SEED, normal_images, write_images_of
from experiments.pages import write_page
from genmend.gans import corrected, fit_correction
from genmend.gans.detection.detect import fit_detector
from genmend.gans.families.pretrained import load_faces
from genmend.gans.settings import DetectorSettings
from genmend.manifold.comparison.compare import N_SUBSAMPLES
from genmend.storage.atomic import whole_file
from genmend.storage.pieces import Work

RESULTS = Path(__file__).with_name("results") / "compared_faces"
EXTRACTOR = "mobilenet-v2"
NAMES = ("plain", "corrected", "truncated")
PSI = 0.7  # of truncation: latents shrunk towards their mean, 0


def main() -> None:
    options = _options()
    counts = write_sets(options)
    kept = options.work / "reference.safetensors"
    genmend("features", options.work / "reference", "--out", kept, "--extractor", EXTRACTOR)
    sets = [options.work / name for name in NAMES]
    genmend("score", kept, *sets, "--out", options.work / "compared", "--bootstrap", options.bootstrap)
    result = json.loads((options.work / "compared" / "summary.json").read_text(encoding="utf-8"))
    kept_keys = ("differences", "difference_method", "ranks", "not_ranked", "warnings")
    found: dict[str, Any] = {
        "n": options.n,
        "n_reference": result["reference"]["n"],
        "extractor": EXTRACTOR,
        "psi": PSI,
        "bootstrap": options.bootstrap,
        "seed": QUERY_SEED,
        **counts,
        "models": {
            name: {key: model[key] for key in ("k", "intervals", "kid", "kid_std")}
            for name, model in result["models"].items()
        },
        **{key: result[key] for key in kept_keys},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    photograph(options.work / "compared" / "report.html", options.out / "page.png")
    print(json.dumps({key: found[key] for key in ("ranks", "n_changed", "n_given_up")}), flush=True)
    write_page("images/compared_faces")


def genmend(*arguments: object) -> None:
    """Run a command as one types it."""
    subprocess.run([sys.executable, "-m", "genmend", *map(str, arguments), "--quiet"], check=True)


def photograph(page: Path, path: Path) -> None:
    """The upper part of a page as Chromium shows it; an older picture stays where there is no Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "page.png"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
        size = ("--window-size=1200,2000", "--virtual-time-budget=8000")
        subprocess.run([browser, *flags, *size, f"--screenshot={taken}", page.resolve().as_uri()],
                       check=True, capture_output=True)  # fmt: skip
        with whole_file(path) as temporary:
            shrunk = Image.open(taken).convert("RGB").resize((900, 1500), Image.Resampling.LANCZOS)
            shrunk.quantize(256, Image.Quantize.MAXCOVERAGE).save(temporary, format="PNG", optimize=True)


def write_sets(options: argparse.Namespace) -> dict[str, int]:
    """Folders of PNGs: reference, and `NAMES`; those of an earlier run with the same numbers are taken."""
    done = options.work / f"sets-{options.n}-{options.n_own}.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    generator = load_faces()
    settings = DetectorSettings(n_statistics=options.n_own, n_reference=options.n_own)
    detector = fit_detector(generator, settings, Work(options.work, progress=False))
    write_images_of(options.work / "reference", normal_images(generator, detector, options.n))
    latents = generator.latents(options.n, QUERY_SEED)
    result = corrected(generator, fit_correction(generator, detector, progress=False))(latents, progress=False)
    sets = (generator.generate(latents), result.images, generator.generate(PSI * latents))
    for name, images in zip(NAMES, sets, strict=True):
        write_images_of(options.work / name, images)
    counts = {"n_changed": int(result.changed.sum()), "n_given_up": int(result.given_up.sum())}
    done.write_text(json.dumps(counts), encoding="utf-8")
    return counts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=RESULTS / "cache")
    parser.add_argument("--n", type=int, default=200, help="Samples of each set, and of the reference.")
    parser.add_argument("--n-own", type=int, default=300, help="Own samples behind the detector.")
    parser.add_argument("--bootstrap", type=int, default=N_SUBSAMPLES)
    return parser.parse_args()


if __name__ == "__main__":
    main()
