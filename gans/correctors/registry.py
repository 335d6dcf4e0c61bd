"""What ``genmend correct --method`` offers: every corrector, and what can be set of each."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genmend.gans.correctors.corrector import Corrector
from genmend.gans.correctors.defective_units import DefectiveUnits
from genmend.gans.correctors.ladder import OWN_QUANTILE, fit_correction
from genmend.gans.correctors.latent_optimisation import LatentOptimisation
from genmend.gans.correctors.locally_active_units import LocallyActiveUnits
from genmend.gans.correctors.manifold_guided import ManifoldGuided
from genmend.gans.correctors.matched_control import RandomNeurons, RandomUnits
from genmend.gans.correctors.rare_neurons import RareNeurons
from genmend.gans.correctors.truncation import Truncation
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.detection.defect_masks import MaskMaker
from genmend.gans.detection.labelled_samples import LabelledSamples
from genmend.gans.settings import DetectorSettings
from genmend.storage.plug_ins import PlugInError, find_plug_in

__all__ = ["DESCENT", "LADDER", "LOOK_AT_MASKS", "METHODS", "OWN_METHODS", "MethodSettings", "parse_parameters"]

DESCENT = "contrast-descent"
LADDER = "ladder"
_OWN = (DESCENT, LADDER)  # which fit_correction makes, without a corrector
LOOK_AT_MASKS = ("defective-units", "random-units")
_MOST_NEIGHBOURHOODS = 2_000  # own samples behind the usual local activities: each costs its neighbours too
_NO_PARAMETERS = ("corrector", "classifier", "extractor", "extractors")


def _defective_units(settings: DetectorSettings) -> Corrector:
    return DefectiveUnits(classifier=DefectClassifier(settings.extractor))


def _rare_neurons(settings: DetectorSettings) -> Corrector:
    return RareNeurons(n_samples=settings.n_statistics, seed=settings.seed)


def _locally_active_units(settings: DetectorSettings) -> Corrector:
    return LocallyActiveUnits(n_samples=min(_MOST_NEIGHBOURHOODS, settings.n_statistics), seed=settings.seed)


# The random ones are the controls of defective-units and of rare-neurons: as many and as strong edits elsewhere.
METHODS: Mapping[str, Callable[[DetectorSettings], Corrector]] = {
    "defective-units": _defective_units,
    "rare-neurons": _rare_neurons,
    "locally-active-units": _locally_active_units,
    "manifold-guided": lambda settings: ManifoldGuided(settings.extractor),
    "truncation": lambda settings: Truncation(n_samples=settings.n_statistics, seed=settings.seed),
    "latent-optimisation": lambda settings: LatentOptimisation(settings.extractor),
    "random-units": lambda settings: RandomUnits(_defective_units(settings)),
    "random-neurons": lambda settings: RandomNeurons(_rare_neurons(settings)),
}


OWN_METHODS = (*_OWN, *METHODS)


def _new_corrector(method: str, settings: DetectorSettings) -> Corrector:
    """An unfitted corrector, by its key of `METHODS` or the name of a plug-in.

    Raises
    ------
    ValueError
        If there is none of the name.
    PlugInError
        If the plug-in fails, or gives something else.
    """
    if method in METHODS:
        return METHODS[method](settings)
    plug_in = find_plug_in("corrector", method, OWN_METHODS)
    if plug_in is None:
        raise ValueError(
            f"method is {method!r}; give one of {', '.join(OWN_METHODS)}, or a plug-in (`genmend list` names them)."
        )
    made = plug_in.made(settings)
    if not isinstance(made, Corrector):
        raise PlugInError(
            f"The corrector {method!r} of the package {plug_in.source} gives a {type(made).__name__}, but a "
            "genmend.gans.correctors.corrector.Corrector is needed: update that package, or uninstall it."
        )
    return made


@dataclass(frozen=True)
class MethodSettings:
    """Which correction, and what it learns from beside the generator's own samples.

    Attributes
    ----------
    method : str
        ``contrast-descent``: latents moved, the ladder for what that does not mend; ``ladder``: its rungs alone; a key
        of `METHODS`; or the name of a plug-in.
    parameters : mapping
        In place of the method's own (its constructor's), or of the gate's quantiles (`gans.fit_correction`).
    labels : LabelledSamples, optional
        In place of the samples that the detector finds broken or normal.
    masks : MaskMaker, optional
        Says where they are broken, by what makes the gate call them so; in place of drawn masks. E.g.
        ``genmend.concepts.ExplanationMasks("dga")``.
    """

    method: str = DESCENT
    parameters: Mapping[str, Any] = field(default_factory=dict)
    labels: LabelledSamples | None = None
    masks: MaskMaker | None = None

    def __post_init__(self) -> None:
        _checked_parameters(self.method, self.parameters)
        self.check_masks(self.masks)

    @property
    def is_own(self) -> bool:
        """Whether `gans.fit_correction` makes it, without a corrector."""
        return self.method in _OWN

    def check_masks(self, masks: object) -> None:
        """Raise if there are masks and the method would not look at them."""
        if masks is not None and self.method not in LOOK_AT_MASKS:
            raise ValueError(
                f"{self.method} looks at no masks, {' and '.join(LOOK_AT_MASKS)} do; take --method {LOOK_AT_MASKS[0]}, "
                "or leave --masks out."
            )

    @property
    def marks(self) -> bool:
        """Whether it learns from masks that were given or asked for."""
        drawn = self.labels is not None and self.labels.masks is not None
        return self.method in LOOK_AT_MASKS and (drawn or self.masks is not None)

    def facts(self) -> dict[str, Any]:
        """For reports and for the key of kept work."""
        labels = "" if self.labels is None else self.labels.digest
        facts = {"method": self.method, "parameters": dict(self.parameters), "labels": labels}
        # Not where there is none: work that was kept before is found again.
        return facts | ({} if self.masks is None else {"masks": self.masks.name})

    def corrector(self, settings: DetectorSettings) -> Corrector:
        """The method's corrector, unfitted."""
        corrector = _new_corrector(self.method, settings)
        known = _parameters_of(corrector)
        chosen = {known[name]: value for name, value in self.parameters.items() if name in known}
        return corrector.set_params(**chosen)

    def gate_quantiles(self) -> dict[str, float]:
        """The parameters that are the gate's."""
        return {name: value for name, value in self.parameters.items() if name in _gate_parameters()}


def parse_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """Values by name of ``NAME=VALUE`` texts, each value JSON or else a plain word."""
    parsed = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"--set is {pair!r}; write NAME=VALUE, e.g. --set share=0.3.")
        try:
            parsed[name.strip()] = json.loads(text)
        except ValueError:
            parsed[name.strip()] = text.strip()
    return parsed


def _parameters_of(corrector: Corrector) -> dict[str, str]:
    """Parameters that can be set, by the name to use: a control has those of its corrector too, its own first."""
    names = sorted(corrector.get_params(), key=lambda name: -name.count("__"))
    known = {name.removeprefix("corrector__"): name for name in names if "classifier__" not in name}
    return {name: full for name, full in known.items() if name not in _NO_PARAMETERS}


def _gate_parameters() -> dict[str, float]:
    """The quantiles of gate and stop rule, with their defaults."""
    parameters = inspect.signature(fit_correction).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name.endswith("_quantile")}
    return {name: OWN_QUANTILE if default is None else default for name, default in defaults.items()}


def _checked_parameters(method: str, chosen: Mapping[str, Any]) -> None:
    defaults: dict[str, Any] = dict(_gate_parameters())
    if method not in _OWN:
        corrector = _new_corrector(method, DetectorSettings())
        values = corrector.get_params()
        defaults |= {name: values[full] for name, full in _parameters_of(corrector).items()}
    for name, value in chosen.items():
        if name not in defaults:
            known = ", ".join(f"{known}={default!r}" for known, default in defaults.items())
            raise ValueError(f"{method} has no parameter {name!r}; it has {known}.")
        default = defaults[name]
        if default is not None and not _alike(value, default):
            raise ValueError(f"{name} of {method} is {value!r}; give a {type(default).__name__}, e.g. {default!r}.")


def _alike(value: Any, default: Any) -> bool:
    """Whether the value is of the default's type; a whole number does for a float, true and false for no number."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)
