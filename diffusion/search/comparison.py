"""A pipeline with and without amplification on equal seeds: what ``genmend amplify`` measures.

run = compare_amplification(load_text_to_image("reference"), AmplifySettings(("a dress",), gains={"mid": 1.5}))
run.comparison.novelty, run.images, run.images_before
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genmend.activations import Edit
from genmend.diffusion.amplification.gains import stronger
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import SigmaWindow
from genmend.diffusion.search.default_gains import settled
from genmend.diffusion.search.gain_search import GainSearch, search_gains
from genmend.diffusion.search.keepers import Keepers
from genmend.diffusion.search.kept_images import image_source
from genmend.diffusion.search.novelty import Novelty
from genmend.diffusion.search.plan import Plan, control_edits, planned
from genmend.diffusion.search.real_images import read_real_images
from genmend.diffusion.search.scorers import Scorer, clip_score
from genmend.diffusion.search.settings import AmplifySettings
from genmend.diffusion.search.trials import Comparison, Scores, compare_scores, with_keepers
from genmend.diffusion.search.verdict import verdict
from genmend.storage.digests import settings_key, sha256_of_array
from genmend.storage.notebook import NotebookResult
from genmend.storage.pieces import Work
from genmend.storage.progress import counted
from genmend.storage.tables import without_nan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AmplifyRun", "compare_amplification"]

CADS_SCALE = 0.3  # what was measured on the reference pipeline, docs/results/garments-creativity.md
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
    because : str
        Where the gains are from, in a sentence, if none were given; else "".
    strengths : dict
        Strength -> images ``(n, 3, height, width)`` of the first prompt's first seeds, with edits as strong as that.
    keepers : dict
        "original", "amplified" and, with a control, "control" -> whether each image is worth keeping ``(n,)``; see
        `search.keepers`.
    lora : str
        The LoRA that was attached; "" for none.
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
    because: str = ""
    strengths: Mapping[float, Tensor] = field(default_factory=dict, repr=False)
    keepers: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict, repr=False)
    lora: str = ""

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
            "n_keepers": {kind: int(found.sum()) for kind, found in self.keepers.items()},
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
            if name in self.keepers:
                found[f"keeper_{name}"] = self.keepers[name]
        return found


def compare_amplification(
    model: TextToImage,
    settings: AmplifySettings,
    *,
    name: str = "",
    batch_size: int | None = None,
    work: Work | None = None,
    say: Callable[[str], None] | None = None,
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
        Images a call; by default `TextToImage.batch_size`.
    work
        Keeps the images, batch by batch, and the scores of a search, so that an interrupted run goes on; nothing is
        kept without it.
    say
        Told, before anything is drawn, which gains were taken where none were given, and how many images it will be.

    Raises
    ------
    TypeError, ValueError
        Of what `settled` and `planned` refuse, before anything is drawn.
    """
    work, say = work or Work(), say or (lambda told: None)
    settings, because = settled(model, settings)
    plan = planned(model, settings, _usability)
    usability = plan.usability
    batch_size = batch_size or model.batch_size(plan.call)
    say(" ".join([because, _to_draw(settings, plan)]).strip())
    of_cloud = settings.n_cloud * len(settings.prompts)
    counters: list[Callable[..., None]] = []
    with ExitStack() as counting:

        def count(total: int) -> None:
            counting.close()
            counters.append(counting.enter_context(counted("images", total, unit="image", show=work.progress)))

        images = image_source(
            model.pipe, plan.call, batch_size, work, lambda more, before: counters[-1](more, before=before)
        )
        count(of_cloud if settings.search else _n_images(settings))
        novelty: Scorer = _no_novelty
        real: Mapping[str, Tensor | NDArray[Any]] = plan.real
        keepers = None
        if plan.extractor is not None:
            cloud = settings.seeds_from(CLOUD_SEED, settings.n_cloud)
            clouds = {prompt: images((), None, prompt, cloud) for prompt in settings.prompts}
            if settings.real is not None:
                read = read_real_images(settings.real, *clouds[settings.prompts[0]].shape[2:])
                real = dict.fromkeys(clouds, read)
            novelty = fitted = Novelty(plan.extractor).fit(clouds, real)
            keepers = Keepers().fit(clouds, fitted, usability)
        search, window = None, None
        if settings.search:
            counting.close()
            search = _search(model, settings, plan, novelty, keepers, real, batch_size, work)
            edits, window = search.edits, search.window
            count(_n_images(settings) - of_cloud)
        else:
            edits, window = plan.edits, plan.window
        before = tuple(images((), None, prompt, settings.seeds) for prompt in settings.prompts)
        after = tuple(images(edits, window, prompt, settings.seeds) for prompt in settings.prompts)
        control_images = None
        if settings.control:
            by_cads = settings.control == "cads"
            others = () if by_cads else control_edits(edits, settings.control, settings.seed)
            noise = CADS_SCALE if by_cads else 0.0
            control_images = tuple(images(others, window, prompt, settings.seeds, noise) for prompt in settings.prompts)
        shown = settings.seeds[: settings.n_shown]
        strengths = {
            strength: images([stronger(edit, strength) for edit in edits], window, settings.prompts[0], shown)
            for strength in (settings.strengths if edits else ())
        }
    plain, changed = (_scores(found, settings.prompts, usability, novelty, keepers) for found in (before, after))
    control, control_scores = None, None
    if control_images is not None:
        control_scores = _scores(control_images, settings.prompts, usability, novelty, keepers)
        control = compare_scores(control_scores, plain, seed=settings.seed)
    kept = {"original": plain, "amplified": changed, "control": control_scores}
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
        _settings_in_words(settings, plan.call),
        bool(real),
        control_scores,
        because,
        strengths,
        {kind: found.keepers for kind, found in kept.items() if found is not None and found.keepers is not None},
        model.lora,
    )


def _n_images(settings: AmplifySettings) -> int:
    """Of a run, beside those of a search; where a search finds nothing, those of the slider are not drawn."""
    of_each = settings.n_cloud + settings.n * (3 if settings.control else 2)
    return len(settings.prompts) * of_each + len(settings.strengths) * min(settings.n, settings.n_shown)


def _to_draw(settings: AmplifySettings, plan: Plan) -> str:
    steps, sides = plan.call.get("num_inference_steps"), (plan.call.get("height"), plan.call.get("width"))
    size = f", {sides[1]} x {sides[0]} pixels" if all(sides) else ""
    of = "" if steps is None else f", {steps} step{'s' * (steps != 1)} each"
    searched = ", and those of the search" if settings.search else ""
    return f"{_n_images(settings)} images are to be drawn{searched}{of}{size}."


def _search(
    model: TextToImage,
    settings: AmplifySettings,
    plan: Plan,
    novelty: Scorer,
    keepers: Keepers | None,
    real: Mapping[str, Tensor | NDArray[Any]],
    batch_size: int,
    work: Work,
) -> GainSearch:
    scorers = {
        "features": settings.features,
        "cloud": settings.n_cloud,
        "seed": settings.seed,
    }
    digests = sorted({sha256_of_array(values)[:16] for values in real.values()})
    key = "-".join([settings_key(scorers), *digests])
    return search_gains(
        model.pipe,
        settings.prompts,
        plan.usability,
        novelty,
        settings.seeds_from(SEARCH_SEED, settings.n_search),
        objective="keepers",
        keepers=keepers,
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
    images: Sequence[Tensor],
    prompts: Sequence[str],
    usability: Mapping[str, Scorer],
    novelty: Scorer,
    keepers: Keepers | None,
) -> Scores:
    pairs = list(zip(images, prompts, strict=True))
    scores = Scores(
        {name: np.concatenate([scorer(x, prompt) for x, prompt in pairs]) for name, scorer in usability.items()},
        np.concatenate([novelty(x, prompt) for x, prompt in pairs]),
    )
    return with_keepers(scores, prompts, keepers)


def _settings_in_words(settings: AmplifySettings, call: Mapping[str, Any]) -> dict[str, Any]:
    found = asdict(settings) | {"call": dict(call), "prompts": list(settings.prompts)}
    found["correction"] = None if settings.correction is None else settings.correction.name
    found["real"] = None if settings.real is None else settings.real.name
    if settings.gains is not None and not isinstance(settings.gains, Mapping):
        found["gains"] = list(settings.gains)
    found["strengths"] = list(settings.strengths)
    found["blocks"] = None if settings.blocks is None else {str(k): v for k, v in settings.blocks.items()}
    return found


def _mean_change(after: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    return round(float((torch.cat(tuple(after)) - torch.cat(tuple(before))).abs().double().mean()), 8)
