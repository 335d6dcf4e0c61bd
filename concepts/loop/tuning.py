"""Settings of a method by Optuna: chosen on some images, judged on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student
from torch import Tensor

from genmend.concepts.loop.measure import Attribute, Case
from genmend.concepts.loop.pixel_flipping import measures

__all__ = ["Space", "Tuned", "half_width", "halves", "tune"]

Space = Mapping[str, tuple[Any, ...]]
"""Setting -> the lowest and the highest number, both whole or neither, or the words to choose from."""


@dataclass(frozen=True)
class Tuned:
    """What tuning one method gave.

    Attributes
    ----------
    settings : dict
        Those that stand in the place of the defaults: of the largest AbPC on the images that were tuned on.
    gain : float
        How much larger AbPC is by them than by the defaults, a mean over the held-out images.
    half_width : float
        Of its 95 % interval.
    gain_on_tuned : float
        The same over the images that were tuned on: what it says too much of the settings is the gap.
    n_trials, n_tuned_on, n_held_out : int
    """

    settings: dict[str, Any]
    gain: float
    half_width: float
    gain_on_tuned: float
    n_trials: int
    n_tuned_on: int
    n_held_out: int

    @property
    def used(self) -> bool:
        """Whether they serve better than the defaults on images that they were not chosen on."""
        return self.gain > 0

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {**asdict(self), "used": self.used}


def halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the images to tune on and of the held-out ones, drawn at random.

    Raises
    ------
    ValueError
        If there are fewer than 4, so that one of the halves has no two.
    """
    if n < 4:
        raise ValueError(f"There are {n} images, but tuning needs at least 4: two to choose on and two held out.")
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def half_width(values: np.ndarray) -> float:
    """Of the 95 % interval of the mean, by Student's t; NaN for one value."""
    if len(values) < 2:
        return float("nan")
    return float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def tune(
    build: Callable[[dict[str, Any]], Attribute],
    defaults: Mapping[str, Any],
    space: Space,
    case: Callable[[np.ndarray, Attribute], Case],
    n: int,
    *,
    n_trials: int,
    seed: int = 0,
) -> Tuned:
    """Choose settings on half of the images, and compare them with the defaults on the other half.

    Parameters
    ----------
    build
        From settings to a method.
    defaults
        The first trial, so that on the images that are tuned on nothing is lost.
    space
        Which settings vary, and within what.
    case
        From numbers of images and a method to what is measured; its explanations are made here.
    n
        Images.
    n_trials
        Settings that are tried, at least 1.
    seed
        Of the halves and of the trials.

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    ValueError
        If there are fewer than 4 images.
    """
    try:
        import optuna
    except ImportError:
        raise ModuleNotFoundError(
            "Tuning needs the package optuna, which is not installed: pip install 'genmend[explain]'.", name="optuna"
        ) from None
    if n_trials < 1:
        raise ValueError(f"n_trials is {n_trials}, but at least 1 is needed.")
    tuned_on, held_out = halves(n, seed)
    between = next(each for each in measures() if each.name == "AbPC")

    def scores(settings: dict[str, Any], numbers: np.ndarray) -> np.ndarray:
        values: Tensor = between.evaluate(case(numbers, build({**defaults, **settings})))
        return values.double().cpu().numpy()

    tried: list[float] = []

    def objective(trial: Any) -> float:
        settings = {name: _suggested(trial, name, choices) for name, choices in space.items()}
        tried.append(float(scores(settings, tuned_on).mean()))
        return tried[-1]

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.enqueue_trial({name: defaults[name] for name in space})
        study.optimize(objective, n_trials=n_trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    best = dict(study.best_params)
    gains = scores(best, held_out) - scores({}, held_out)
    return Tuned(
        best,
        float(gains.mean()),
        half_width(gains),
        max(tried) - tried[0],
        n_trials,
        len(tuned_on),
        len(held_out),
    )


def _suggested(trial: Any, name: str, choices: tuple[Any, ...]) -> Any:
    if isinstance(choices[0], str):
        return trial.suggest_categorical(name, choices)
    if isinstance(choices[0], int):
        return trial.suggest_int(name, *choices)
    return trial.suggest_float(name, *choices)
