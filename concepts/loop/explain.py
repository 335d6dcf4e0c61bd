"""Explain decisions by all methods that apply, measure the explanations, and rank the methods."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from genmend.concepts.loop import mu_fidelity, pixel_flipping, robustness
from genmend.concepts.loop.measure import Attribute, Case, Measure, pooled
from genmend.concepts.loop.methods import METHODS, method_name, why_not
from genmend.concepts.loop.operations import ModelFacts, trace_model
from genmend.concepts.loop.ranking import SAME, Explained, checked_weights, pareto, ranked
from genmend.concepts.loop.tuning import Tuned, halves
from genmend.concepts.loop.tuning import tune as tune_settings
from genmend.concepts.scalar_target import as_module, check_inputs, chosen_scores, classes_of, scores_of, warn_of_spread
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work
from genmend.storage.progress import with_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanations", "explain"]


def all_measures(attribute_by: Any, last_linear: str | None, *, thorough: bool = True) -> list[Measure]:
    """Every measure that the model allows; `attribute_by(model)` builds the method for another model."""
    return [
        *pixel_flipping.measures(),
        mu_fidelity.measure(150 if thorough else 40),
        robustness.sensitivity(8 if thorough else 2),
        robustness.complexity(),
        robustness.target_sensitivity(),
        robustness.weight_sensitivity(attribute_by),
        *([robustness.label_sensitivity(attribute_by, last_linear)] if last_linear is not None else []),
    ]


def _described(last_linear: str | None, thorough: bool) -> tuple[Measure, ...]:
    """As they are, without a method of their own: what they ask, which way is better, what they cost."""
    return tuple(all_measures(lambda model: lambda inputs, targets: inputs, last_linear, thorough=thorough))


@dataclass(frozen=True)
class Explanations:
    """The result of `explain`: a method each, the best first.

    Attributes
    ----------
    explained : tuple of Explained
        In order of rank; the control 'random' stands last.
    targets : ndarray
        Classes, shape ``(n,)``.
    logits, probabilities : ndarray
        Of them, shape ``(n,)``.
    refused : dict of str to str
        Method -> why it does not serve this model.
    pareto : tuple of str
        Methods than which none is better in every property.
    measures : tuple of Measure
    facts : ModelFacts
    weights : dict of str to float
    seed : int
    """

    explained: tuple[Explained, ...]
    targets: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    refused: dict[str, str]
    pareto: tuple[str, ...]
    measures: tuple[Measure, ...]
    facts: ModelFacts
    weights: dict[str, float]
    seed: int

    def __getitem__(self, method: str) -> Explained:
        for each in self.explained:
            if each.method == method:
                return each
        known = [each.method for each in self.explained]
        raise KeyError(f"{method!r} was not run: {self.refused.get(method, f'the methods are {known}')}")

    def to_dict(self) -> dict[str, Any]:
        """JSON's view, without the attributions."""
        return {
            "targets": self.targets.tolist(),
            "logits": self.logits.tolist(),
            "probabilities": self.probabilities.tolist(),
            "methods": [
                {
                    "method": each.method,
                    "settings": each.settings,
                    "source": METHODS[each.method].source,
                    "seconds": each.seconds,
                    "passes": each.passes,
                    "pareto": each.method in self.pareto,
                    "warnings": list(each.warnings),
                    "tuned": None if each.tuned is None else each.tuned.to_dict(),
                    "scores": {
                        name: {
                            "mean": each.mean(name)[0],
                            "half_width": each.mean(name)[1] if len(values) > 1 else None,
                            "each": values.tolist(),
                        }
                        for name, values in each.scores.items()
                    },
                }
                for each in self.explained
            ],
            "refused": self.refused,
            "measures": {
                measure.name: {
                    "asks": measure.asks,
                    "higher_is_better": measure.higher_is_better,
                    "property": measure.property,
                }
                for measure in self.measures
            },
            "operations": sorted(self.facts.families),
            "spread": self.facts.spread,
            "weights": self.weights,
            "seed": self.seed,
        }

    def plot(self, images: np.ndarray, *, n_methods: int = 5, names: Sequence[str] = ()) -> Figure:
        """The images beside the maps of the best methods, see `plot_explanations`."""
        from genmend.concepts.loop.figures import plot_explanations

        return plot_explanations(self, images, n_methods=n_methods, names=names)


def explain(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | Sequence[int] | int | None = None,
    *,
    methods: Sequence[str] | Literal["all"] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    weights: Mapping[str, float] | None = None,
    fill: Tensor | float = 0.0,
    thorough: bool = False,
    tune: int = 0,
    seed: int = 0,
    batch_size: int = 8,
    progress: bool = False,
    work: Work | None = None,
    key: str = "",
) -> Explanations:
    """Explain why the model gives images their classes, by every method that serves it, and say which to trust.

    One pass is traced to see what the model does; each method that fits is run, its explanations are measured, and the
    methods are ranked by the mean of their ranks in each property, weighted; those that
    explain another class or random weights alike stand last. Uniform noise is measured beside them.

    Parameters
    ----------
    model
        In evaluation mode; gives ``(n, classes)``, logits.
    inputs
        Images as the model takes them, shape ``(n, c, h, w)``.
    targets
        Classes; default the ones that the model finds.
    methods
        Names out of `METHODS`, or 'all' that serve the model; default those that serve it in little time.
    settings
        Method -> settings in place of its defaults.
    weights
        Of 'faithful', 'stable', 'compact' and 'cheap'; default `DEFAULT_WEIGHTS`.
    fill
        What stands in the place of removed pixels; 0 is the mean colour after the usual normalisation.
    thorough
        Measure stability by 8 further explanations of each image and muFidelity by 150 sets, as published, in place
        of 2 and 40.
    tune
        Trials of settings for each method that has something to tune, by Optuna: the largest AbPC on half of the
        images, drawn at random, chooses. They are used where on the other half they gain over the defaults; that gain
        and its interval stand in `Explained.tuned`. 0 keeps the defaults.
    seed
        Of everything random.
    batch_size
        Images that a method explains together.
    progress
        Whether it is said how far it is.
    work
        Keeps what each method gave, so that a stopped run goes on; see `Work`.
    key
        What tells this model and these inputs from others, e.g. digests; needed with `work`.

    Raises
    ------
    TypeError, ValueError
        If the model or the inputs can't be explained, a target is out of range, a method or a weight is unknown, a
        method that was asked for does not serve the model, or fewer than 4 images are to be tuned on.
    """
    module, inputs = as_module(model), check_inputs(inputs).detach()
    if inputs.ndim != 4:
        raise ValueError(f"inputs has shape {tuple(inputs.shape)}, but images (n, c, h, w) are needed.")
    chosen_weights = checked_weights(weights)
    work = work or Work()
    if work.folder is not None and not key:
        raise ValueError("With a folder of work give key=, which tells this model and these inputs from others.")
    facts = trace_model(module, inputs[:2])
    warn_of_spread(lambda some: scores_of(module(some)), inputs)
    began = time.perf_counter()
    with torch.no_grad():
        logits = torch.cat([scores_of(module(some)) for some in inputs.split(batch_size)])
    forward = time.perf_counter() - began
    classes = _classes(logits, targets)
    names, refused = _chosen(methods, facts)
    chosen_settings = {name: {**METHODS[name].settings, **(settings or {}).get(name, {})} for name in names}
    measures = _described(facts.last_linear, thorough)
    costs = [forward * _forwards(name, chosen_settings[name], measures, tune) for name in names]
    if tune:
        halves(len(inputs), seed)  # refuses too few before anything long
    found = []
    for name in with_progress(names, "explaining", len(names), costs=costs, show=progress):
        own = chosen_settings[name]
        about = {"key": key, "method": name, "classes": classes.tolist(), "seed": seed}
        about["fill"] = sha256_of_array(torch.as_tensor(fill))
        tuned = None
        if tune and METHODS[name].space:
            compute_tuned = partial(_tuned, module, facts, name, own, inputs, classes, fill, seed, batch_size, tune)
            facts_of_tuning = {**about, "settings": own, "trials": tune}
            tuned = Tuned(**work.entries(facts_of_tuning, ["tuned"], compute_tuned)["tuned"])
            own = {**own, **tuned.settings} if tuned.used else own
        given = {**about, "settings": own, "thorough": thorough, "measures": [each.name for each in measures]}
        compute = partial(_measured, module, facts, name, own, inputs, classes, fill, seed, batch_size, thorough)
        kept = work.kept(f"explained-{name}", given, compute)
        found.append(_explained(name, own, measures, kept, tuned))
    in_order = ranked(found, chosen_weights)
    return Explanations(
        tuple(in_order),
        classes.cpu().numpy(),
        chosen_scores(logits, classes, len(inputs)).cpu().numpy(),
        chosen_scores(logits.softmax(1), classes, len(inputs)).cpu().numpy(),
        refused,
        tuple(pareto([each for each in in_order if each.method != "random"])),
        measures,
        facts,
        chosen_weights,
        seed,
    )


def _measured(
    model: nn.Module,
    facts: ModelFacts,
    name: str,
    settings: dict[str, Any],
    inputs: Tensor,
    classes: Tensor,
    fill: Tensor | float,
    seed: int,
    batch_size: int,
    thorough: bool,
) -> dict[str, np.ndarray]:
    """One method's attributions, its seconds, and its score by every measure."""
    attribute_by = partial(_attribute, facts=facts, name=name, settings=settings, batch_size=batch_size)
    attribute = attribute_by(model)
    began = time.process_time()
    attributions = attribute(inputs, classes)
    seconds = (time.process_time() - began) / len(inputs)
    if not bool(torch.isfinite(attributions).all()):
        raise ValueError(f"{name} gave NaN or infinity for this model: leave it out of methods=.")
    case = Case(model, inputs, classes, attributions, attribute, fill, seed, batch_size)
    measures = all_measures(attribute_by, facts.last_linear, thorough=thorough)
    scores = {f"score {each.name}": each.evaluate(case).double().cpu().numpy() for each in measures}
    return {"attributions": pooled(attributions).float().cpu().numpy(), "seconds": np.array([seconds]), **scores}


def _attribute(
    model: nn.Module, facts: ModelFacts, name: str, settings: Mapping[str, Any], batch_size: int
) -> Attribute:
    return partial(_in_batches, METHODS[name].build(model, facts, **settings), batch_size)


def _tuned(
    model: nn.Module,
    facts: ModelFacts,
    name: str,
    settings: dict[str, Any],
    inputs: Tensor,
    classes: Tensor,
    fill: Tensor | float,
    seed: int,
    batch_size: int,
    n_trials: int,
    missing: list[str],
) -> list[dict[str, Any]]:
    """What tuning one method gives, as JSON holds it."""

    def build(chosen: dict[str, Any]) -> Attribute:
        return _attribute(model, facts, name, chosen, batch_size)

    def case(numbers: np.ndarray, attribute: Attribute) -> Case:
        rows = torch.as_tensor(numbers, device=inputs.device)
        some, theirs = inputs[rows], classes[rows]
        filled = fill[rows] if isinstance(fill, Tensor) and fill.ndim == 4 and len(fill) == len(inputs) else fill
        return Case(model, some, theirs, attribute(some, theirs), attribute, filled, seed, batch_size)

    found = tune_settings(build, settings, METHODS[name].space, case, len(inputs), n_trials=n_trials, seed=seed)
    return [asdict(found) for _ in missing]


def _forwards(name: str, settings: dict[str, Any], measures: Sequence[Measure], tune: int) -> float:
    """About how many times as long as one forward pass a method and its measures take."""
    method = METHODS[name]
    # A backward pass takes about twice as long as the forward one.
    explanation = method.passes(settings) * (3 if method.gradient else 1)
    tuning = tune / 2 * (explanation + measures[0].forwards + measures[1].forwards) if method.space else 0
    explanations = 1 + sum(each.explanations for each in measures)
    return tuning + explanations * explanation + sum(each.forwards for each in measures)


def _explained(
    name: str,
    settings: dict[str, Any],
    measures: Sequence[Measure],
    found: Mapping[str, np.ndarray],
    tuned: Tuned | None,
) -> Explained:
    scores = {each.name: found[f"score {each.name}"] for each in measures}
    seconds, passes = float(found["seconds"][0]), METHODS[name].passes(settings)
    return Explained(name, settings, found["attributions"], scores, seconds, passes, _warnings(name, scores), tuned)


def _in_batches(attribute: Attribute, batch_size: int, inputs: Tensor, targets: Any) -> Tensor:
    parts = zip(inputs.split(batch_size), targets.split(batch_size), strict=True)
    return torch.cat([attribute(some, classes).detach() for some, classes in parts])


def _warnings(name: str, scores: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    if name == "random":
        return ()
    found = []
    if scores["random weights"].mean() > SAME:
        found.append("It explains a model of random weights alike: it shows the image, not what was learnt.")
    if "random labels" in scores and scores["random labels"].mean() > SAME:
        found.append("It explains a last layer that was fitted to wrong classes alike.")
    if scores["other class"].mean() > SAME:
        found.append("It explains another class alike: it shows what is there, not why this class.")
    return tuple(found)


def _classes(logits: Tensor, targets: Any) -> Tensor:
    """The class of each image: the best one, or those given."""
    if targets is None:
        return logits.argmax(1)
    chosen_scores(logits, targets, len(logits))  # refuses what is no class
    return classes_of(targets, len(logits)).to(logits.device)


def _chosen(methods: Sequence[str] | Literal["all"] | None, facts: ModelFacts) -> tuple[list[str], dict[str, str]]:
    named = methods is not None and methods != "all"
    wanted = methods if methods is not None and methods != "all" else METHODS
    asked = list(dict.fromkeys(method_name(name) for name in wanted))
    reasons = {name: why_not(METHODS[name], facts) for name in asked}
    refused = {name: reason for name, reason in reasons.items() if reason is not None}
    if named and refused:
        name, reason = next(iter(refused.items()))
        raise ValueError(f"{name} does not serve this model. {reason}")
    if methods is None:
        slow = {name for name in asked if name not in refused and not METHODS[name].by_default}
        refused |= dict.fromkeys(slow, "It takes longer than the others: name it in methods, or ask for all.")
    serving = [name for name in asked if name not in refused]
    return [*(name for name in serving if name != "random"), "random"], refused
