"""Settings of the jobs of this room, apart from them: the command line reads its options here without loading torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = [
    "EXPLORE_METHODS",
    "MOST_SEGMENTED",
    "CausalSettings",
    "DetectorSettings",
    "DissectSettings",
    "ExploreSettings",
    "GateSettings",
    "RareObjective",
    "RareSearch",
    "RareSettings",
    "TrainSettings",
]

EXPLORE_METHODS = ("auto", "bouncing", "hit-and-run", "tree")
MOST_SEGMENTED = 1_200  # images that a causal test segments for a concept


@dataclass(frozen=True)
class DetectorSettings:
    """What a detector is fitted with where none is given; the fields of `gans.ArtifactDetector`."""

    extractor: str = field(
        default="efficientnet-lite0-layers",
        metadata={"help": "efficientnet-lite0-layers, efficientnet-lite0, clip-vit-b16, or module:callable."},
    )
    rate: float | None = None
    n_statistics: int = field(default=10_000, metadata={"help": "Own samples behind the activation rates.", "min": 2})
    n_reference: int = field(default=2_000, metadata={"help": "Own samples behind the normal manifold.", "min": 10})
    flagged_share: float | None = field(
        default=None,
        metadata={"help": "Share of the model's own samples to flag, e.g. 0.05; by default as many as look broken."},
    )
    seed: int = field(
        default=1_000_003, metadata={"help": "Of the model's own samples that the detector learns from.", "min": 0}
    )

    def __post_init__(self) -> None:
        if self.flagged_share is not None and not 0 <= self.flagged_share < 1:
            raise ValueError(f"flagged_share is {self.flagged_share}; give a share in [0, 1), e.g. 0.05.")

    def facts(self) -> dict[str, Any]:
        """The fields, as the keys of kept work have them: without the share where it is what it was when none was set.

        So that work which was kept before is found again.
        """
        facts = asdict(self)
        if self.flagged_share == 0.05:
            del facts["flagged_share"]
        return facts


@dataclass(frozen=True)
class TrainSettings:
    """How a detector is trained on labels.

    Attributes
    ----------
    false_alarms : float in [0, 1)
        Share of the samples labelled normal that may be flagged, each scored by a model that did not see it.
    n_folds : int
        Of the cross-validation.
    detector : DetectorSettings
        The extractor, and of the generator's own samples, which images alone don't have.
    """

    false_alarms: float = field(
        default=0.03, metadata={"help": "Share of the samples labelled normal that may be flagged.", "min": 0.0}
    )
    n_folds: int = field(default=5, metadata={"help": "Folds of the cross-validation.", "min": 2})
    detector: DetectorSettings = field(default_factory=DetectorSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.false_alarms < 1:
            raise ValueError(f"false_alarms is {self.false_alarms}; give a share in [0, 1), e.g. 0.03.")
        if self.n_folds < 2:
            raise ValueError(f"n_folds is {self.n_folds}; give at least 2.")


@dataclass(frozen=True)
class CausalSettings:
    """How a concept's units are tried.

    `alpha_steps` of the search for causal units follow the gradient; with 0 the units of highest IoU are taken.
    """

    n_units: int = field(default=20, metadata={"help": "Units that a causal test switches off.", "min": 1})
    n_segmented: int = MOST_SEGMENTED
    alpha_steps: int = field(default=0, metadata={"help": "Steps of the search for causal units; 0: by IoU.", "min": 0})
    alpha_batch: int = 4


@dataclass(frozen=True)
class DissectSettings:
    """How a generator is dissected.

    `n_images` samples are segmented by every segmenter but ``classical``, which sees all `n_statistics`; these are also
    behind the fixed thresholds and the galleries. `rule` says which units are detectors (`detects`), of those that
    agree with a concept more than with the masks of `n_shuffles` other samples for each.
    `artifact_units` names the extractor in whose features units are ranked by how far from normal the images are that
    excite them, among `n_images` samples; not done where empty.
    """

    segmenters: tuple[str, ...] = field(
        default=("classical",),
        metadata={
            "help": "classical, face-parser, segformer:FOLDER, upernet:FOLDER, clipseg:FOLDER:WORD,WORD or "
            "module:callable; again for more.",
            "option": "--segmenter",
        },
    )
    n_images: int = field(
        default=2_000, metadata={"help": "Samples to segment; classical sees --n-statistics.", "min": 8}
    )
    n_statistics: int = field(default=10_000, metadata={"help": "Samples behind the units' statistics.", "min": 8})
    thresholds: Literal["iqr", "fixed"] = field(
        default="iqr", metadata={"help": "iqr: the best for each concept; fixed: the top 0.5 %."}
    )
    rule: Literal["paper", "code"] = field(
        default="code",
        metadata={"help": "Which units detect: code (IoU, information) or paper (IoU, pixel accuracy)."},
    )
    n_shuffles: int = field(
        default=5,
        metadata={"help": "Other samples whose masks tell, for each sample, what agreement chance gives.", "min": 2},
    )
    tail: float = 0.005
    n_top: int = 8
    causal: tuple[str, ...] = field(
        default=(), metadata={"help": "CONCEPT or CONCEPT@LAYER: test whether its units cause it."}
    )
    causal_settings: CausalSettings = field(default_factory=CausalSettings)
    artifact_units: str = field(
        default="",
        metadata={"help": "An extractor: rank units by how far from normal in it the images are that excite them."},
    )
    seed: int = field(default=0, metadata={"help": "Of the samples; seed + 1 chooses thresholds.", "min": 0})

    def __post_init__(self) -> None:
        if self.thresholds not in ("iqr", "fixed"):
            raise ValueError(f"thresholds is {self.thresholds!r}; accepted are 'iqr' and 'fixed'.")
        if self.rule not in ("paper", "code"):
            raise ValueError(f"rule is {self.rule!r}; accepted are 'paper' and 'code'.")
        if self.n_shuffles < 2:
            raise ValueError(f"n_shuffles is {self.n_shuffles}; give at least 2.")
        if min(self.n_images, self.n_statistics) < 8:
            raise ValueError(f"{self.n_images} and {self.n_statistics} samples are too few; give at least 8 of each.")
        if len(set(self.segmenters)) < len(self.segmenters) or not self.segmenters:
            raise ValueError(f"segmenters is {list(self.segmenters)}; name at least one, and each once.")


@dataclass(frozen=True)
class RareObjective:
    """Weights of the terms beside the log-density per dimension, whose own weight is 1.

    Attributes
    ----------
    similarity : float
        lambda_1, of the squared distance beyond d*.
    diversity : float
        lambda_2, of the summed squared distance to the other versions of the same reference, which is subtracted.
    prior : float
        Of the squared difference between the latent's norm and a standard normal latent's.
    artifact : float
        Of the squared artifact score beyond the limit, in standard deviations of the own samples' scores.
    manifold : float
        Of the squared distance beyond the nearest ball of the normal manifold, in that ball's radii. The paper selects
        only (0).
    anchor : "reference" or "own_start"
        What distance and d* refer to: the features of the reference (the paper), or those of each version's own noisy
        start (the paper's code).
    all_pairs : bool
        Charge every version with the distances of all pairs, as the paper's code does: n_versions / 2 times the
        paper's diversity.
    """

    similarity: float = 30.0
    diversity: float = 0.02
    prior: float = 20.0
    artifact: float = 1.0
    manifold: float = 1.0
    anchor: Literal["reference", "own_start"] = "reference"
    all_pairs: bool = False

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(one.default, float) and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{one.name} is {value}; give a weight of at least 0.")
        if self.anchor not in ("reference", "own_start"):
            raise ValueError(f"anchor is {self.anchor!r}; give 'reference' or 'own_start'.")


@dataclass(frozen=True)
class RareSearch:
    """How the search goes.

    Attributes
    ----------
    n_versions, n_steps : int
        Versions of each reference; Adam steps. The start and every iterate are candidates.
    learning_rate : float
        Multiplied by 0.9 every 50 steps.
    noise : float
        Standard deviation of what is added to the reference latent to start each version.
    k_reference : int
        d* is the distance from the reference to its k_reference-th nearest neighbour among the generated samples.
    objective : RareObjective
    """

    n_versions: int = field(default=5, metadata={"help": "Rare versions of each reference.", "min": 1})
    n_steps: int = field(default=60, metadata={"help": "Steps of the search.", "option": "--search-steps", "min": 0})
    learning_rate: float = 0.05
    noise: float = field(
        default=0.1,
        metadata={"help": "Noise on the reference latent that each version starts from.", "option": "--start-noise"},
    )
    k_reference: int = field(
        default=100,
        metadata={"help": "A version stays within the reference's distance to its K-th nearest own sample.", "min": 1},
    )
    objective: RareObjective = field(default_factory=RareObjective)

    def __post_init__(self) -> None:
        if self.n_versions < 1 or self.n_steps < 0 or self.k_reference < 1:
            raise ValueError(
                f"n_versions={self.n_versions}, n_steps={self.n_steps}, k_reference={self.k_reference}: give at least "
                "1, 0 and 1."
            )
        if not (self.learning_rate > 0 and self.noise >= 0):
            raise ValueError(
                f"learning_rate={self.learning_rate}, noise={self.noise}: give a positive rate and noise of at least 0."
            )


def _rare_detector() -> DetectorSettings:
    """Few samples left out: what is rare but not broken has to lie inside the normal manifold."""
    return DetectorSettings("efficientnet-lite0", 0.1, n_reference=5_000, flagged_share=0.05)


@dataclass(frozen=True)
class RareSettings:
    """What the space is made of and how the search goes.

    Attributes
    ----------
    detector : DetectorSettings
        Of the own samples; ``seed + 2`` of theirs draws references, ``seed + 3`` the search's noise.
    density : "gmm" or "flow"
    artifact_limit : bool
        Whether versions have to stay below a limit at all; where False no artifact score is learnt.
    max_artifact_score : float, optional
        Log-odds; None: the limit that a share `artifact_quantile` of the own normal samples is below.
    artifact_quantile : float
        In (0, 1].
    search : RareSearch
    """

    detector: DetectorSettings = field(default_factory=lambda: _rare_detector())
    density: Literal["gmm", "flow"] = field(default="gmm", metadata={"help": "gmm, or flow (needs the extra flows)."})
    artifact_limit: bool = field(
        default=True, metadata={"help": "Accept only versions that look no more broken than normal samples."}
    )
    max_artifact_score: float | None = field(
        default=None,
        metadata={"help": "In log-odds; by default 80 % of own normal samples lie below the limit."},
    )
    artifact_quantile: float = 0.8
    search: RareSearch = field(default_factory=RareSearch)

    def __post_init__(self) -> None:
        if self.density not in ("gmm", "flow"):
            raise ValueError(f"density is {self.density!r}; give one of gmm, flow.")
        if self.max_artifact_score is not None and not math.isfinite(self.max_artifact_score):
            raise ValueError(f"max_artifact_score is {self.max_artifact_score}; give a finite number of log-odds.")
        if self.max_artifact_score is not None and not self.artifact_limit:
            raise ValueError("An artifact limit was given and ruled out; leave out one of the two.")


@dataclass(frozen=True)
class GateSettings:
    """How the gates are learnt.

    Attributes
    ----------
    n_rounds : int
        Prices of an open gate that are tried.
    n_steps : int
        Steps of Adam for each.
    n_draws : int
        Samples of the gates a step.
    learning_rate : float
        Of log_alpha.
    seed : int
        Of the gates' noise.
    """

    n_rounds: int = 10
    n_steps: int = 50
    n_draws: int = 4
    learning_rate: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_rounds, self.n_steps, self.n_draws) < 1 or not self.learning_rate > 0:
            raise ValueError(f"{self} has a count below 1 or a learning rate of 0 or less; give positive numbers.")


@dataclass(frozen=True)
class ExploreSettings:
    """How boundaries are found and their region is explored.

    Attributes
    ----------
    tolerance : float
        RMSE in 0..1 that the supporting set alone has to stay within.
    granularity : "neuron" or "unit"
    method : "auto", "bouncing", "hit-and-run" or "tree"
        ``auto`` is bouncing where the layer is affine in the latent, which alone it can do, and else hit-and-run.
    n : int
        Latents to explore, 2 or more.
    n_moves : int, optional
        Of each walk; 100 of bouncing and 1000 of hit-and-run where None.
    extractor : str
        Its features tell how alike images are; empty: pixels alone.
    seed : int
        Of the queries, where they are drawn; query i is explored with ``seed + i``.
    gates : GateSettings
        How the supporting set is learnt.
    """

    tolerance: float = field(
        default=0.05, metadata={"help": "RMSE (0..1) that the boundaries alone may miss the image by."}
    )
    granularity: Literal["neuron", "unit"] = field(
        default="neuron", metadata={"help": "neuron, or unit for whole feature maps: looser regions."}
    )
    method: Literal["auto", "bouncing", "hit-and-run", "tree"] = field(
        default="auto",
        metadata={"help": "bouncing (layers affine in the latent), hit-and-run, tree; auto: one of the first two."},
    )
    n: int = field(default=32, metadata={"help": "Latents to explore round each query.", "min": 2})
    n_moves: int | None = field(
        default=None,
        metadata={"help": "Moves of each walk; by default 100 of bouncing, 1000 of hit-and-run.", "min": 1},
    )
    extractor: str = field(
        default="efficientnet-lite0",
        metadata={"help": "Its features tell how alike images are; '' for pixels alone."},
    )
    seed: int = field(default=0, metadata={"help": "Of the queries; query i is explored with seed + i.", "min": 0})
    gates: GateSettings = field(default_factory=GateSettings)

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}; give an RMSE above 0 in the image's 0..1 range.")
        if self.granularity not in ("neuron", "unit"):
            raise ValueError(f"granularity is {self.granularity!r}; give 'neuron' or 'unit'.")
        if self.method not in EXPLORE_METHODS:
            raise ValueError(f"method is {self.method!r}; accepted are {', '.join(EXPLORE_METHODS)}.")
        if self.n < 2 or (self.n_moves is not None and self.n_moves < 1):
            raise ValueError(f"n={self.n}, n_moves={self.n_moves}: give at least 2 latents and 1 move.")
