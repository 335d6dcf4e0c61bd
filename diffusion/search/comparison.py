"""A pipeline with and without amplification on equal seeds: what ``genmend amplify`` measures.

run = compare_amplification(load_text_to_image("reference"), AmplifySettings(("a dress",), gains={"mid": 1.5}))
run.comparison.novelty, run.images, run.images_before
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Edit
from genmend.activations.digests import weights_digest
from genmend.diffusion.amplification.plug_in import amplified
from genmend.diffusion.drawing import draw
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import SigmaWindow, denoiser_of
from genmend.diffusion.search.gain_search import GainSearch, search_gains
from genmend.diffusion.search.novelty import Novelty
from genmend.diffusion.search.plan import Plan, control_edits, planned
from genmend.diffusion.search.real_images import read_real_images
from genmend.diffusion.search.scorers import Scorer, clip_score
from genmend.diffusion.search.settings import AmplifySettings
from genmend.diffusion.search.trials import Comparison, Scores, compare_scores, describe_edit
from genmend.diffusion.search.verdict import verdict
from genmend.manifold.figures.image_grid import to_pixels
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work
from genmend.storage.tables import without_nan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AmplifyRun", "compare_amplification"]

CLOUD_SEED, SEARCH_SEED = 100_000, 50_000  # added to the seed: no sample is drawn twice


@dataclass(frozen=True, repr=False)
class AmplifyRun(NotebookResult):
    """Result of `compare_amplification`; ratios are amplified / original over the same prompts and seeds.

    Attributes
    ----------
    model : str
    edits : tuple of Edit
        What was attached; empty where a search found nothing better.
    window : SigmaWindow or None
        Noise levels at which the edits act, where a correction file has such a window.
    comparison, control : Comparison
        Of the amplified images, and of the control's where there is one.
    scores : tuple of 2 Scores
        Of the originals and the amplified images.
    images_before, images, control_images : tuple of Tensor
        For each prompt ``(n, 3, height, width)`` in 0..1.
    pixel_change : float
        Mean absolute change of a value in 0..1.
    search : GainSearch or None
    settings : dict
    inside_measured : bool
        Whether real images say which samples are inside their manifold.
    control_scores : Scores or None
        Of the control's images.
    """

    model: str
    edits: tuple[Edit, ...]
    window: SigmaWindow | None
    comparison: Comparison
    control: Comparison | None
    scores: tuple[Scores, Scores]
    images_before: tuple[Tensor, ...] = field(repr=False)
    images: tuple[Tensor, ...] = field(repr=False)
    control_images: tuple[Tensor, ...] | None = field(repr=False)
    pixel_change: float
    search: GainSearch | None
    settings: dict[str, Any]
    inside_measured: bool = False
    control_scores: Scores | None = None

    @property
    def verdict(self) -> str:
        """What the comparison says, in words; the rule is that of `search.verdict`."""
        return verdict(self.comparison, inside_measured=self.inside_measured)

    @property
    def control_pixel_change(self) -> float | None:
        """`pixel_change` of the control's images; None where there are none."""
        if self.control_images is None:
            return None
        return _mean_change(self.control_images, self.images_before)

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, as in ``summary.json``."""
        return {
            "model": self.model,
            "verdict": self.verdict,
            "gains": {edit.layer: getattr(edit, "gain", None) for edit in self.edits},
            "cutoffs": {edit.layer: getattr(edit, "cutoff", None) for edit in self.edits},
            **self.figures(),
            "pixel_change": self.pixel_change,
            "control": None if self.control is None else without_nan(asdict(self.control)),
            "search": None if self.search is None else without_nan(self.search.to_dict()),
            "settings": self.settings,
        }

    def figures(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        found: dict[str, Any] = without_nan(asdict(self.comparison))
        return found

    def plot(self) -> Figure | None:
        """Draw histograms of novelty, originals and amplified; None where it was not measured."""
        from genmend.manifold.figures.series_histogram import series_histogram

        values = [scores.novelty[np.isfinite(scores.novelty)] for scores in self.scores]
        if not all(len(found) for found in values):
            return None
        label = "novelty: distance to the 5th nearest unamplified sample"
        return series_histogram(dict(zip(("original", "amplified"), values, strict=True)), label)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Prompt, seed and scores of every pair of images, as in ``samples.csv``."""
        prompts, first = self.settings["prompts"], self.settings["seed"]
        n = len(self.images[0])
        found: dict[str, NDArray[Any]] = {
            "prompt": np.repeat(np.array(prompts, dtype=object), n),
            "seed": np.tile(np.arange(first, first + n), len(prompts)),
        }
        for name, scores in zip(("original", "amplified", "control"), (*self.scores, self.control_scores), strict=True):
            if scores is None:
                continue
            found |= {f"{key}_{name}": values for key, values in scores.usability.items()}
            found[f"novelty_{name}"] = scores.novelty
        return found


def compare_amplification(
    model: TextToImage, settings: AmplifySettings, *, name: str = "", batch_size: int = 8, work: Work | None = None
) -> AmplifyRun:
    """Draw the same seeds with and without amplification, and measure both.

    Parameters
    ----------
    model
        A pipeline, from `load_text_to_image`.
    settings
        What is amplified, and what is measured.
    name
        Of the model, for the result.
    batch_size
        Images a call.
    work
        Keeps the images and the scores of a search, so that an interrupted run goes on; nothing is kept without it.

    Raises
    ------
    TypeError, ValueError
        Of what `planned` refuses, before anything is drawn.
    """
    work, plan = work or Work(), planned(model, settings, _usability)
    usability, call = plan.usability, plan.call
    facts = {"weights": weights_digest(denoiser_of(model.pipe)), "call": {key: repr(call[key]) for key in sorted(call)}}

    def images(edits: Sequence[Edit], window: SigmaWindow | None, prompt: str, seeds: range) -> Tensor:
        """Kept as uint8, and rounded so at once: a resumed run sees what the first one saw."""
        about = {"edits": [describe_edit(edit) for edit in edits], "window": repr(window) if edits else ""}

        def compute() -> dict[str, Any]:
            options = {"batch_size": batch_size, "progress": work.progress, **call}
            with amplified(model.pipe, edits=edits, schedule=window if edits else None):
                drawn = draw(model.pipe, prompt, seeds, **options)
            return {"images": to_pixels(drawn)}

        kept = facts | about | {"prompt": prompt, "seeds": [seeds.start, seeds.stop]}
        pixels = work.kept("images", kept, compute)["images"]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255

    novelty: Scorer = _no_novelty
    real: Mapping[str, Tensor | NDArray[Any]] = plan.real
    if plan.extractor is not None:
        cloud = settings.seeds_from(CLOUD_SEED, settings.n_cloud)
        clouds = {prompt: images((), None, prompt, cloud) for prompt in settings.prompts}
        if settings.real is not None:
            read = read_real_images(settings.real, *clouds[settings.prompts[0]].shape[2:])
            real = dict.fromkeys(clouds, read)
        novelty = Novelty(plan.extractor).fit(clouds, real)
    search, window = None, None
    if settings.search:
        search = _search(model, settings, plan, novelty, real, facts, batch_size, work)
        edits = search.edits
    else:
        edits, window = plan.edits, plan.window
    before = tuple(images((), None, prompt, settings.seeds) for prompt in settings.prompts)
    after = tuple(images(edits, window, prompt, settings.seeds) for prompt in settings.prompts)
    plain, changed = (_scores(found, settings.prompts, usability, novelty) for found in (before, after))
    control, control_images, control_scores = None, None, None
    if settings.control:
        others = control_edits(edits, settings.control, settings.seed)
        control_images = tuple(images(others, window, prompt, settings.seeds) for prompt in settings.prompts)
        control_scores = _scores(control_images, settings.prompts, usability, novelty)
        control = compare_scores(control_scores, plain, seed=settings.seed)
    return AmplifyRun(
        name,
        edits,
        window,
        compare_scores(changed, plain, seed=settings.seed),
        control,
        (plain, changed),
        before,
        after,
        control_images,
        _mean_change(after, before),
        search,
        _settings_in_words(settings, call),
        bool(real),
        control_scores,
    )


def _search(
    model: TextToImage,
    settings: AmplifySettings,
    plan: Plan,
    novelty: Scorer,
    real: Mapping[str, Tensor | NDArray[Any]],
    facts: Mapping[str, Any],
    batch_size: int,
    work: Work,
) -> GainSearch:
    scorers = {**facts, "features": settings.features, "cloud": settings.n_cloud, "seed": settings.seed}
    digests = sorted({sha256_of_array(values)[:16] for values in real.values()})
    key = "-".join([settings_key(scorers), *digests])
    return search_gains(
        model.pipe,
        settings.prompts,
        plan.usability,
        novelty,
        settings.seeds_from(SEARCH_SEED, settings.n_search),
        cutoff=5.0 if settings.cutoff is None else settings.cutoff,
        tau=settings.tau,
        keep_inside=plan.keep_inside,
        n_trials=settings.n_trials,
        n_refined=settings.n_trials // 2,
        search_seed=settings.seed,
        work=work.inside("search"),
        scorers_key=key,
        edit_options=settings.edit_options(),
        batch_size=batch_size,
        **plan.call,
    )


def _usability(model: TextToImage, settings: AmplifySettings) -> Mapping[str, Scorer]:
    if settings.usability.startswith("clip:"):
        place: dict[str, Any] = {} if model.device == "cpu" else {"device": model.device}
        return {settings.usability: clip_score(settings.usability.removeprefix("clip:"), **place)}
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


def _settings_in_words(settings: AmplifySettings, call: Mapping[str, Any]) -> dict[str, Any]:
    found = asdict(settings) | {"call": dict(call), "prompts": list(settings.prompts)}
    found["correction"] = None if settings.correction is None else settings.correction.name
    found["real"] = None if settings.real is None else settings.real.name
    if settings.gains is not None and not isinstance(settings.gains, Mapping):
        found["gains"] = list(settings.gains)
    found["blocks"] = None if settings.blocks is None else {str(k): v for k, v in settings.blocks.items()}
    return found


def _mean_change(after: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    return round(float((torch.cat(tuple(after)) - torch.cat(tuple(before))).abs().double().mean()), 8)
