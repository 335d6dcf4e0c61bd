"""``genmend amplify``: the same seeds with and without amplified low frequencies, and what that does to the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmend.activations import Edit
from genmend.activations.digests import weights_digest
from genmend.diffusion import Novelty, SigmaWindow, amplified, draw, search_gains
from genmend.diffusion.amplification.plug_in import read_amplification, write_amplification
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import denoiser_of
from genmend.diffusion.search.comparison import (
    AmplifyRun,
    AmplifySettings,
    _control,
    _cutoff,
    _edits,
    _no_novelty,
    _plain,
    _scores,
    _usability,
)
from genmend.diffusion.search.scorers import Scorer
from genmend.diffusion.search.trials import Scores, compared, described
from genmend.manifold.features import load_extractor
from genmend.manifold.features.resizing import resize
from genmend.manifold.features.sources import samples_of
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.pieces import Work, checkpointed
from genmend.storage.tables import write_csv, write_json
from genmend.workbench.pages.amplify import write_amplify_report
from genmend.workbench.pages.page import need_packages
from genmend.workbench.pages.pictures import image_grid, png, to_pixels

__all__ = ["read_real_images", "run_amplify"]

CLOUD_SEED, SEARCH_SEED = 100_000, 50_000  # added to the seed: no sample is drawn twice

SHOWN = 8  # images of a prompt in the picture


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
            key += "-" + sha256_of_array(real)[:16]
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
            work=Work(work / "search", resume, progress),
            scorers_key=key,
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


def read_real_images(folder: Path, height: int, width: int) -> Tensor:
    """All images of a folder and of those in it, ``[n, 3, height, width]`` in 0..1.

    Each is resized so that it covers the frame, and its middle is kept.

    Raises
    ------
    ValueError
        If the folder holds no images, or one can't be read.
    """
    samples = samples_of(folder)
    if samples.kind != "images":
        raise ValueError(f"{folder} holds {samples.kind}; give a folder of real images of what is prompted.")
    return torch.stack([_covering(samples.load(i)[1], height, width) for i in range(len(samples.names))])


def _covering(image: Tensor, height: int, width: int) -> Tensor:
    scale = max(height / image.shape[1], width / image.shape[2])
    size = max(height, round(image.shape[1] * scale)), max(width, round(image.shape[2] * scale))
    resized = resize(image[None], size, "bilinear", antialias=True)[0]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return resized[:, top : top + height, left : left + width].clamp(0, 1)
