"""``genmend amplify``: the same seeds with and without amplified low frequencies, and what that does to the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from activations import Edit
from activations.digests import weights_digest
from diffusion import (
    AmplifyBand,
    AmplifyLowFrequencies,
    Comparison,
    GainSearch,
    Novelty,
    Scores,
    SigmaWindow,
    amplification_edits,
    amplified,
    compared,
    draw,
    search_gains,
)
from diffusion.blocks import denoiser_of
from diffusion.choice import edits_by_slot
from diffusion.plug_in import read_amplification, write_amplification
from diffusion.scorers import Scorer, clip_score
from diffusion.trials import described
from manifold.features import load_extractor
from workbench.amplify_report import write_amplify_report
from workbench.checkpoints import checkpointed, settings_key, tensor_digest
from workbench.diffusion_models import TextToImage
from workbench.pictures import image_grid, png, to_pixels
from workbench.real_images import read_real_images
from workbench.report import need_packages
from workbench.tables import without_nan, write_csv, write_json

__all__ = ["AmplifyRun", "AmplifySettings", "run_amplify"]

CLOUD_SEED, SEARCH_SEED = 100_000, 50_000  # added to the seed: no sample is drawn twice
SHOWN = 8  # images of a prompt in the picture


@dataclass(frozen=True)
class AmplifySettings:
    """What to amplify by how much, and how to measure it.

    `gains`: slot -> gain. `n`: images of each prompt, seeds from `seed` on. `n_cloud`: unamplified images of each
    prompt that novelty is measured from; 0 measures none. `usability`: "" for the model's own scorer, "none", or
    "clip:MODEL". `features`: an extractor's name for novelty; "" for the model's own. `control`: "" or a band of
    `AmplifyBand`, drawn with the same gains beside the amplified images. `real`: a folder of real images of what is
    prompted; novelty counts only inside their manifold, and `keep_inside` is what a search keeps of the share there.
    """

    prompts: tuple[str, ...]
    gains: Mapping[str, float] | None = None
    preset: str = ""
    correction: Path | None = None
    search: bool = False
    blocks: Mapping[int, float] | None = None
    cutoff: float | None = None
    cutoff_unit: str = ""
    n: int = 8
    n_cloud: int = 64
    n_search: int = 16
    n_trials: int = 24
    tau: float = 0.95
    usability: str = ""
    features: str = ""
    control: str = ""
    real: Path | None = None
    keep_inside: float = 0.0
    seed: int = 0
    call: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        ways = [self.gains is not None, bool(self.preset), self.correction is not None, self.search, bool(self.blocks)]
        if sum(ways) != 1:
            raise ValueError("Give exactly one of --gains, --preset, --search, --correction, --blocks.")
        if not self.prompts or any(not prompt.strip() for prompt in self.prompts):
            raise ValueError(f"The prompts are {list(self.prompts)}; give --prompt with words, again for more.")
        if self.n < 1 or (0 < self.n_cloud <= 5):
            raise ValueError(f"--n is {self.n} and --n-cloud {self.n_cloud}; give at least 1, and 0 or at least 6.")
        if self.real is not None and not self.n_cloud:
            raise ValueError("--real says where novelty counts, and --n-cloud 0 measures none; leave one of them out.")
        if self.keep_inside and (self.real is None or not self.search):
            raise ValueError("--keep-inside is of a --search, and inside is among --real images; give both.")


@dataclass(frozen=True)
class AmplifyRun:
    """Result of ``genmend amplify``; ratios are amplified / original over the same prompts and seeds."""

    model: str
    edits: tuple[Edit, ...]
    comparison: Comparison
    control: Comparison | None
    pixel_change: float
    search: GainSearch | None
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "model": self.model,
            "gains": {edit.layer: getattr(edit, "gain", None) for edit in self.edits},
            "cutoffs": {edit.layer: getattr(edit, "cutoff", None) for edit in self.edits},
            **_plain(self.comparison),
            "pixel_change": self.pixel_change,
            "control": None if self.control is None else _plain(self.control),
            "search": None if self.search is None else without_nan(self.search.to_dict()),
            "settings": self.settings,
        }


def run_amplify(
    name: str,
    model: TextToImage,
    out: Path,
    settings: AmplifySettings,
    *,
    batch_size: int = 8,
    resume: bool = True,
    progress: bool = True,
) -> AmplifyRun:
    """Draw, measure, and write everything to `out`.

    Files: ``original/`` and ``amplified/`` with a PNG for each prompt and seed, ``pairs.png``, ``samples.csv``,
    ``summary.json``, ``report.html``, ``amplification.safetensors``; ``work/`` holds what an interrupted run goes on
    from.
    """
    need_packages()
    work, call = out / "work", {**model.settings, **(settings.call or {})}
    usability = _usability(model, settings)
    window: SigmaWindow | None = None  # that of a correction file
    facts = {"weights": weights_digest(denoiser_of(model.pipe)), "call": {key: repr(call[key]) for key in sorted(call)}}

    def images(edits: Sequence[Edit], prompt: str, seeds: range) -> Tensor:
        """Kept as uint8, and rounded so at once: a resumed run sees what the first one saw."""
        about = {"edits": [described(edit) for edit in edits], "window": repr(window) if edits else ""}
        key = settings_key(facts | about | {"prompt": prompt, "seeds": [seeds.start, seeds.stop]})

        def drawn() -> dict[str, Any]:
            options = {"batch_size": batch_size, "progress": progress, **call}
            with amplified(model.pipe, edits=edits, schedule=window if edits else None):
                return {"images": to_pixels(draw(model.pipe, prompt, seeds, **options))}

        pixels = checkpointed(work, f"images-{key}", resume, drawn)["images"]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255

    def seeds_from(start: int, n: int) -> range:
        return range(settings.seed + start, settings.seed + start + n)

    novelty: Scorer = _no_novelty
    real: Tensor | None = None
    if settings.n_cloud:
        cloud = seeds_from(CLOUD_SEED, settings.n_cloud)
        extractor = load_extractor(settings.features) if settings.features else model.extractor
        clouds = {prompt: images((), prompt, cloud) for prompt in settings.prompts}
        if settings.real is not None:
            real = read_real_images(settings.real, *clouds[settings.prompts[0]].shape[2:])
        novelty = Novelty(extractor or load_extractor("efficientnet-lite0")).fit(
            clouds, None if real is None else dict.fromkeys(clouds, real)
        )
    search = None
    if settings.search:
        if not usability or not settings.n_cloud:
            raise ValueError("A search needs a usability scorer and a novelty cloud; give --usability and --n-cloud.")
        key = settings_key(facts | {"features": settings.features, "cloud": settings.n_cloud, "seed": settings.seed})
        if real is not None:
            key += "-" + tensor_digest(real)[:16]
        search = search_gains(
            model.pipe,
            settings.prompts,
            usability,
            novelty,
            seeds_from(SEARCH_SEED, settings.n_search),
            tau=settings.tau,
            keep_inside=settings.keep_inside,
            n_trials=settings.n_trials,
            n_refined=settings.n_trials // 2,
            search_seed=settings.seed,
            cache=work / "search" if resume else None,
            scorers_key=key,
            progress=progress,
            batch_size=batch_size,
            **_cutoff(settings),
            **call,
        )
    if search is not None:
        edits = search.edits
    elif settings.correction is not None:
        edits, window = read_amplification(denoiser_of(model.pipe), settings.correction)
    else:
        edits = _edits(denoiser_of(model.pipe), settings)
    seeds = seeds_from(0, settings.n)
    before = [images((), prompt, seeds) for prompt in settings.prompts]
    after = [images(edits, prompt, seeds) for prompt in settings.prompts]
    scores = [_scores(found, settings.prompts, usability, novelty) for found in (before, after)]
    control, control_images = None, None
    if settings.control:
        others = _control(edits, settings.control, settings.seed)
        control_images = [images(others, prompt, seeds) for prompt in settings.prompts]
        control = compared(_scores(control_images, settings.prompts, usability, novelty), scores[0], seed=settings.seed)
    run = AmplifyRun(
        name,
        edits,
        compared(scores[1], scores[0], seed=settings.seed),
        control,
        round(float((torch.cat(after) - torch.cat(before)).abs().double().mean()), 8),
        search,
        _settings_in_words(settings, call),
    )
    out.mkdir(parents=True, exist_ok=True)
    pairs = _write_images(out, before, after, control_images)
    _write_samples(out / "samples.csv", settings, seeds, scores)
    if edits:
        info = {"figures": _plain(run.comparison), "prompts": list(settings.prompts)}
        write_amplification(out / "amplification.safetensors", model.pipe, edits, window, info=info)
    else:  # of an earlier run with other gains
        (out / "amplification.safetensors").unlink(missing_ok=True)
    write_json(out / "summary.json", run.to_dict())
    write_amplify_report(out / "report.html", run, settings, pairs, scores)
    return run


def _edits(denoiser: nn.Module, settings: AmplifySettings) -> tuple[Edit, ...]:
    chosen = _cutoff(settings)
    chosen |= chosen.pop("edit_options", {})
    if settings.blocks:
        return amplification_edits(denoiser, blocks=settings.blocks, **chosen)
    if settings.preset:
        return amplification_edits(denoiser, settings.preset, **chosen)
    return edits_by_slot(denoiser, settings.gains or {}, **chosen)


def _cutoff(settings: AmplifySettings) -> dict[str, Any]:
    found: dict[str, Any] = {} if settings.cutoff is None else {"cutoff": settings.cutoff}
    return found | ({"edit_options": {"cutoff_unit": settings.cutoff_unit}} if settings.cutoff_unit else {})


def _control(edits: Sequence[Edit], band: str, seed: int) -> tuple[Edit, ...]:
    if not all(isinstance(edit, AmplifyLowFrequencies) for edit in edits):
        raise ValueError("A control needs amplified maps of a U-Net; leave --control out.")
    return tuple(
        AmplifyBand(edit.layer, edit.gain, edit.cutoff, band, edit.cutoff_unit, seed)  # type: ignore[attr-defined, arg-type]
        for edit in edits
    )


def _usability(model: TextToImage, settings: AmplifySettings) -> Mapping[str, Scorer]:
    if settings.usability.startswith("clip:"):
        return {settings.usability: clip_score(settings.usability.removeprefix("clip:"))}
    if settings.usability not in ("", "none"):
        raise ValueError(f"--usability is {settings.usability!r}; give none, or clip:MODEL with a hub name or folder.")
    return model.usability() if model.usability is not None and not settings.usability else {}


def _no_novelty(images: Tensor, prompt: str) -> Any:
    return np.full(len(images), np.nan)


def _scores(
    images: Sequence[Tensor], prompts: Sequence[str], usability: Mapping[str, Scorer], novelty: Scorer
) -> Scores:
    pairs = list(zip(images, prompts, strict=True))
    return Scores(
        {name: np.concatenate([scorer(x, prompt) for x, prompt in pairs]) for name, scorer in usability.items()},
        np.concatenate([novelty(x, prompt) for x, prompt in pairs]),
    )


def _write_images(
    out: Path, before: Sequence[Tensor], after: Sequence[Tensor], control: Sequence[Tensor] | None
) -> list[bytes]:
    """The images one by one, and a picture for each prompt: original, amplified, and the control under each other."""
    sets = {"original": before, "amplified": after} | ({"control": control} if control is not None else {})
    for name, images in sets.items():
        (out / name).mkdir(exist_ok=True)
        for number, found in enumerate(images):
            for row, pixels in enumerate(to_pixels(found)):
                (out / name / f"prompt{number:02d}_{row:03d}.png").write_bytes(png(pixels))
    scale = max(1, 96 // before[0].shape[-1])
    pairs = [image_grid([images[i][:SHOWN] for images in sets.values()], scale) for i in range(len(before))]
    stacked = [images[i][:SHOWN] for i in range(len(before)) for images in sets.values()]
    (out / "pairs.png").write_bytes(image_grid(stacked, scale))
    return pairs


def _write_samples(path: Path, settings: AmplifySettings, seeds: range, scores: Sequence[Scores]) -> None:
    columns: dict[str, Any] = {
        "prompt": np.repeat(np.array(settings.prompts, dtype=object), len(seeds)),
        "seed": np.tile(np.array(seeds), len(settings.prompts)),
    }
    for name, found in zip(("original", "amplified"), scores, strict=True):
        columns |= {f"{key}_{name}": values for key, values in found.usability.items()}
        columns[f"novelty_{name}"] = found.novelty
    write_csv(path, columns)


def _settings_in_words(settings: AmplifySettings, call: Mapping[str, Any]) -> dict[str, Any]:
    found = asdict(settings) | {"call": dict(call), "prompts": list(settings.prompts)}
    found["correction"] = None if settings.correction is None else settings.correction.name
    found["real"] = None if settings.real is None else settings.real.name
    found["blocks"] = None if settings.blocks is None else {str(k): v for k, v in settings.blocks.items()}
    return found


def _plain(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = without_nan(asdict(comparison))
    return found
